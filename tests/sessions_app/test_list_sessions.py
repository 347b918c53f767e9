"""GET /sessions: pages by number and by cursor, and who sees what in them. The filters have a file of their own."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestrator.actors import Actor, Identity
from tests import seeding
from tests.api import Api, errors, token
from tests.sessions_app.session_calls import UNKNOWN_ID, path, session_in

pytestmark = pytest.mark.django_db(transaction=True)

Page = dict[str, Any]

NO_NUMBERS = ("", "one", "1.0", "1e1", "0x1", "1_0", "%2B1", "-", "--1", "%201", "1%20", "NaN", "٣", "1%00", "null")


def listed(caller: Api, query: str = "") -> Page:
    answer = caller.get(f"/sessions{query}")
    assert answer.status_code == 200, f"{query}: {answer.content}"
    page: Page = answer.json()
    return page


def refused(caller: Api, query: str, *fields: str) -> None:
    answer = caller.get(f"/sessions{query}")
    assert answer.status_code == 400, f"{query}: {answer.content}"
    assert answer.json()["type"] == "/problems/invalid-request"
    assert list(errors(answer)) == list(fields)


def ids(page: Page) -> list[str]:
    return [session["session_id"] for session in page["sessions"]]


def newest_first(rows: list[Any]) -> list[str]:
    return [str(row.id) for row in sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)]


def walk(caller: Api, query: str = "", start: str | None = "") -> Iterator[Page]:
    """All pages by cursor, from one on."""
    cursor = start
    while cursor is not None:
        page = listed(caller, f"?cursor={cursor}{query}")
        yield page
        cursor = page["next_cursor"]


def walked(caller: Api, query: str = "", start: str | None = "") -> list[str]:
    return [pk for page in walk(caller, query, start) for pk in ids(page)]


# Pages by number.


def test_answers_a_page_as_the_contract_has_it(agent: Api) -> None:
    older, newer = session_in("active"), session_in("pending")
    answer = agent.get("/sessions")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert "ETag" not in answer.headers
    assert answer.json() == {
        "sessions": [agent.get(path(newer)).json(), agent.get(path(older)).json()],
        "total": 2,
        "page": 1,
        "page_size": 20,
        "next_cursor": None,
    }


def test_an_empty_list_is_a_page_too(agent: Api) -> None:
    empty = {"sessions": [], "total": 0, "page": 1, "page_size": 20, "next_cursor": None}
    assert listed(agent) == empty
    assert listed(agent, "?cursor=") == {"sessions": [], "page_size": 20, "next_cursor": None}


def test_pages_go_newest_first(agent: Api) -> None:
    rows = seeding.sessions(5)
    expected = newest_first(rows)
    pages = [listed(agent, f"?page={number}&page_size=2") for number in (1, 2, 3)]
    assert [ids(page) for page in pages] == [expected[:2], expected[2:4], expected[4:]]
    assert [(page["total"], page["page"], page["page_size"]) for page in pages] == [(5, 1, 2), (5, 2, 2), (5, 3, 2)]
    assert [page["next_cursor"] is None for page in pages] == [False, False, True]


def test_a_page_has_twenty_unless_told_otherwise(agent: Api) -> None:
    rows = seeding.sessions(21)
    assert ids(listed(agent)) == newest_first(rows)[:20]
    assert ids(listed(agent, "?cursor=")) == newest_first(rows)[:20]


def test_a_page_below_the_first_is_the_first(agent: Api) -> None:
    rows = newest_first(seeding.sessions(2))
    for asked, number in (("1", 1), ("0", 1), ("-1", 1), (f"-{10**25}", 1), ("-0", 1), ("002", 2)):
        page = listed(agent, f"?page_size=1&page={asked}")
        assert (page["page"], ids(page)) == (number, [rows[number - 1]]), asked


def test_a_page_size_is_clamped_and_told(agent: Api) -> None:
    rows = newest_first(seeding.sessions(103))
    for asked, size in (("1", 1), ("0", 1), ("-7", 1), ("100", 100), ("101", 100), (f"{10**25}", 100)):
        for query in ("?", "?cursor=&"):
            page = listed(agent, f"{query}page_size={asked}")
            assert (page["page_size"], ids(page)) == (size, rows[:size]), asked


def test_refuses_what_is_no_whole_number(agent: Api) -> None:
    for text in NO_NUMBERS:
        refused(agent, f"?page={text}", "page")
        refused(agent, f"?page_size={text}", "page_size")
        refused(agent, f"?cursor=&page_size={text}", "page_size")


def test_a_page_beyond_the_end_is_empty(agent: Api) -> None:
    seeding.sessions(3)
    assert ids(listed(agent, "?page_size=2&page=2"))
    for number in (3, 4, 2**31, 2**63 - 1, 2**63, 10**28):
        empty = {"sessions": [], "total": 3, "page": number, "page_size": 2, "next_cursor": None}
        assert listed(agent, f"?page_size=2&page={number}") == empty


def test_no_number_is_too_large_for_a_page_beyond_the_end(agent: Api) -> None:
    seeding.sessions(3)
    for number in (10**60, 10**3000):
        page = listed(agent, f"?page={number}")
        assert (page["sessions"], page["total"], page["page"]) == ([], 3, number)
        assert listed(agent, f"?page_size={number}")["page_size"] == 100


# Pages by cursor.


def test_a_cursor_page_has_no_total_and_no_number(agent: Api) -> None:
    rows = newest_first(seeding.sessions(3))
    first = listed(agent, "?cursor=&page_size=2")
    assert set(first) == {"sessions", "page_size", "next_cursor"}
    assert (ids(first), first["page_size"]) == (rows[:2], 2)
    second = listed(agent, f"?cursor={first['next_cursor']}&page_size=2")
    assert second == {"sessions": [agent.get(f"/sessions/{rows[2]}").json()], "page_size": 2, "next_cursor": None}


def test_a_cursor_walks_past_every_row_once(agent: Api) -> None:
    rows = newest_first(seeding.sessions(6))
    for size, count in ((1, 6), (2, 3), (3, 2), (4, 2), (6, 1), (7, 1)):
        pages = list(walk(agent, f"&page_size={size}"))
        assert [pk for page in pages for pk in ids(page)] == rows
        assert len(pages) == count


def test_rows_of_one_moment_are_walked_by_their_ids(agent: Api) -> None:
    rows = seeding.sessions(7, apart=timedelta(0))
    assert len({row.created_at for row in rows}) == 1
    expected = newest_first(rows)
    for size in (1, 2, 4):
        assert walked(agent, f"&page_size={size}") == expected
    assert [pk for n in range(1, 8) for pk in ids(listed(agent, f"?page_size=1&page={n}"))] == expected


def test_rows_a_microsecond_apart_are_told_apart(agent: Api) -> None:
    rows = seeding.sessions(5, apart=timedelta(microseconds=1))
    assert walked(agent, "&page_size=1") == newest_first(rows)


def test_a_cursor_goes_on_with_another_page_size(agent: Api) -> None:
    rows = newest_first(seeding.sessions(9))
    first = listed(agent, "?cursor=&page_size=2")
    assert ids(listed(agent, f"?page_size=3&cursor={first['next_cursor']}")) == rows[2:5]
    assert ids(listed(agent, f"?cursor={first['next_cursor']}")) == rows[2:]


def test_a_cursor_of_a_numbered_page_goes_on_from_there(agent: Api) -> None:
    rows = newest_first(seeding.sessions(7))
    second = listed(agent, "?page=2&page_size=2")
    assert walked(agent, "&page_size=2", second["next_cursor"]) == rows[4:]


def test_a_cursor_can_be_used_again(agent: Api) -> None:
    rows = newest_first(seeding.sessions(4))
    cursor = listed(agent, "?cursor=&page_size=2")["next_cursor"]
    seeding.sessions(2)
    assert [ids(listed(agent, f"?cursor={cursor}")) for _ in range(2)] == [rows[2:], rows[2:]]


def test_a_cursor_outlives_the_row_it_stopped_at(agent: Api, operator: Api) -> None:
    older, newer = session_in("completed"), session_in("completed")
    cursor = listed(agent, "?cursor=&page_size=1")["next_cursor"]
    assert operator.send("DELETE", f"{path(newer)}?reason=It+is+old.").status_code == 204
    assert walked(agent, "", cursor) == [str(older.id)]


def test_a_cursor_fits_into_a_query_as_it_is(agent: Api) -> None:
    seeding.sessions(2)
    cursor = listed(agent, "?cursor=&page_size=1")["next_cursor"]
    assert cursor.isascii()
    assert all(sign.isalnum() or sign in "-_.:~" for sign in cursor)


# What a cursor is refused for.


@pytest.fixture
def cursor(agent: Api) -> str:
    """One that works, for the plain list of the tenant `default`."""
    seeding.sessions(3)
    found = listed(agent, "?cursor=&page_size=1")["next_cursor"]
    assert len(ids(listed(agent, f"?cursor={found}"))) == 2
    return str(found)


def test_refuses_a_cursor_together_with_a_page(agent: Api, cursor: str) -> None:
    refused(agent, f"?cursor={cursor}&page=1", "cursor")
    refused(agent, "?cursor=&page=1", "cursor")
    refused(agent, "?page=&cursor=", "cursor")


def test_refuses_a_cursor_with_any_of_its_characters_changed(agent: Api, cursor: str) -> None:
    taken = []
    for place, sign in enumerate(cursor):
        other = cursor[:place] + ("A" if sign != "A" else "B") + cursor[place + 1 :]
        if agent.get(f"/sessions?cursor={other}").status_code != 400:
            taken.append((place, sign))
    assert taken == []


def test_refuses_a_cursor_that_is_none(agent: Api, cursor: str) -> None:
    body, moment, signature = cursor.split(":")
    for text in (
        *("x", "0", "null", ":", "::", ":::", "a:b:c", "%00", "%F0%9F%98%80", "é", "%FF", "x" * 3000),
        *(cursor[:-1], cursor[1:], cursor + "A", cursor + ":", cursor.upper(), f"%20{cursor}", f"{cursor}%0A"),
        *(f"{body}::{signature}", f":{moment}:{signature}", f"{body}:{moment}:", f"{body}:{signature}:{moment}"),
        f".{cursor}",
    ):
        refused(agent, f"?cursor={text}", "cursor")


def test_refuses_a_cursor_with_other_filters(agent: Api, cursor: str) -> None:
    seeding.sessions(2, metadata={"a": 1})
    for filters in (
        *("status=pending", "agent_role=finance", "created_by=local|alice", "metadata.a=1"),
        *("created_after=2020-01-01T00:00:00Z", "created_before=9000-01-01T00:00:00Z"),
    ):
        refused(agent, f"?cursor={cursor}&{filters}", "cursor")
        filtered = listed(agent, f"?cursor=&page_size=1&{filters}")["next_cursor"]
        assert listed(agent, f"?cursor={filtered}&{filters}")["sessions"]
        refused(agent, f"?cursor={filtered}", "cursor")
        refused(agent, f"?cursor={filtered}&{filters}&task_id={UNKNOWN_ID}", "cursor")


def test_a_value_that_looks_like_two_filters_is_not_two(agent: Api) -> None:
    seeding.sessions(2, metadata={"a": '1"], ["metadata.b", "2', "b": "2"})
    filters = "metadata.a=1%22%5D%2C+%5B%22metadata.b%22%2C+%222"
    found = listed(agent, f"?cursor=&page_size=1&{filters}")["next_cursor"]
    assert listed(agent, f"?cursor={found}&{filters}")["sessions"]
    refused(agent, f"?cursor={found}&metadata.a=1&metadata.b=2", "cursor")


def test_filters_may_come_in_any_order(agent: Api) -> None:
    rows = newest_first(seeding.sessions(2))
    cursor = listed(agent, "?cursor=&status=pending&agent_role=finance&page_size=1")["next_cursor"]
    assert ids(listed(agent, f"?agent_role=finance&cursor={cursor}&status=pending")) == rows[1:]


def test_refuses_a_cursor_of_another_tenant(agent: Api, cursor: str) -> None:
    other = Api(token("alice", tenant="other"))
    seeding.sessions(2, by=seeding.opener(tenant="other"))
    refused(other, f"?cursor={cursor}", "cursor")
    theirs = listed(other, "?cursor=&page_size=1")["next_cursor"]
    assert len(ids(listed(other, f"?cursor={theirs}"))) == 1
    refused(agent, f"?cursor={theirs}", "cursor")


def test_a_cursor_shows_nobody_more_than_they_see(cursor: str) -> None:
    stranger = Api(token("zoe", agent_roles="legal"))
    (theirs,) = seeding.sessions(role="legal", at=seeding.sessions(1)[0].created_at - timedelta(days=1))
    assert walked(stranger, "", cursor) == [str(theirs.id)]


# Parameters.


def test_refuses_a_parameter_that_it_does_not_know(agent: Api) -> None:
    for name in ("limit", "Page", "pagesize", "offset", "state", "order_by", "metadata", "created_at", "id", "format"):
        refused(agent, f"?{name}=1", name)
        refused(agent, f"?{name}", name)
    refused(agent, "?%00=1", "\0")


def test_refuses_a_parameter_that_is_given_twice(agent: Api) -> None:
    for one, other in (
        *(
            ("page=1", "page=1"),
            ("page_size=1", "page_size=2"),
            ("cursor=", "cursor="),
            ("agent_role=a", "agent_role=b"),
        ),
        *(("status=pending", "status=active"), ("metadata.a=1", "metadata.a=1"), ("created_by=a|b", "created_by=c|d")),
        *(("created_after=2026-01-31T09:00:00Z", "created_after=2026-01-31T09:00:00Z"), (f"task_id={UNKNOWN_ID}",) * 2),
    ):
        listed(agent, f"?{one}")
        refused(agent, f"?{one}&{other}", one.partition("=")[0])
    listed(agent, "?metadata.a=1&metadata.b=1")


def test_names_every_parameter_that_is_wrong(agent: Api) -> None:
    refused(agent, "?limit=1&status=pending&offset=2&status=active", "limit", "status", "offset")
    refused(
        agent,
        "?status=gone&task_id=1&created_by=x&created_after=now&created_before=then&metadata.=1",
        *("status", "task_id", "created_by", "created_after", "created_before", "metadata."),
    )


def test_a_single_session_and_a_write_take_no_parameters(agent: Api, operator: Api) -> None:
    session = session_in("completed")
    for caller, method, at in (
        (agent, "GET", path(session)),
        (agent, "PUT", path(session)),
        (agent, "PATCH", path(session)),
        (operator, "DELETE", path(session)),
        (agent, "POST", "/sessions"),
    ):
        query = "reason=Old.&page=1" if method == "DELETE" else "page=1"
        answer = caller.send(method, f"{at}?{query}", {"agent_role": "finance"} if method == "POST" else None)
        assert answer.status_code == 400, method
        assert list(errors(answer)) == ["page"]


# Who sees what.


@pytest.fixture
def everything() -> dict[str, str]:
    """A session of each kind of opener and role, by name."""
    openers: dict[str, tuple[Actor, str]] = {
        "alice's, finance": (seeding.opener("alice"), "finance"),
        "alice's, manager": (seeding.opener("alice"), "manager"),
        "bob's, finance": (seeding.opener("bob"), "finance"),
        "bob's, legal": (seeding.opener("bob"), "legal"),
        "another alice's, legal": (seeding.opener("alice", issuer="https://elsewhere.example"), "legal"),
        "alice's elsewhere, finance": (seeding.opener("alice", tenant="other"), "finance"),
    }
    return {str(seeding.sessions(by=by, role=role)[0].id): name for name, (by, role) in openers.items()}


ALL = {"alice's, finance", "alice's, manager", "bob's, finance", "bob's, legal", "another alice's, legal"}


SIGHT: list[tuple[dict[str, str], set[str]]] = [
    ({"subject": "alice", "agent_roles": "finance"}, {"alice's, finance", "alice's, manager", "bob's, finance"}),
    ({"subject": "alice", "agent_roles": ""}, {"alice's, finance", "alice's, manager"}),
    ({"subject": "zoe", "agent_roles": "finance"}, {"alice's, finance", "bob's, finance"}),
    ({"subject": "zoe", "agent_roles": "finance,legal"}, ALL - {"alice's, manager"}),
    ({"subject": "zoe", "agent_roles": "nobody"}, set()),
    ({"subject": "zoe", "agent_roles": ""}, set()),
    ({"subject": "alice", "roles": "approver", "agent_roles": "legal"}, {"bob's, legal", "another alice's, legal"}),
    ({"subject": "alice", "roles": "approver", "agent_roles": ""}, set()),
    ({"subject": "alice", "roles": "agent,approver", "agent_roles": "legal"}, ALL - {"bob's, finance"}),
    ({"subject": "zoe", "roles": "auditor", "agent_roles": ""}, ALL),
    ({"subject": "zoe", "roles": "operator", "agent_roles": ""}, ALL),
    ({"subject": "zoe", "roles": "operator", "tenant": "other"}, {"alice's elsewhere, finance"}),
    ({"subject": "bob", "agent_roles": "manager", "tenant": "other"}, set()),
    ({"subject": "zoe", "roles": "auditor", "tenant": "third"}, set()),
]


def test_shows_and_counts_what_the_caller_may_see(everything: dict[str, str]) -> None:
    for bearer, expected in SIGHT:
        caller = Api(token(**bearer))
        page = listed(caller)
        assert {everything[pk] for pk in ids(page)} == expected, bearer
        assert len(ids(page)) == page["total"] == len(expected), bearer
        assert walked(caller, "&page_size=1") == ids(page), bearer
        assert all(caller.get(f"/sessions/{pk}").status_code == 200 for pk in ids(page)), bearer


def test_needs_a_token() -> None:
    assert Api(None).get("/sessions").status_code == 401


def test_shows_who_acts_and_not_for_whom() -> None:
    seeding.sessions(by=seeding.opener("agent-7"))
    (session,) = listed(Api(token("agent-7")))["sessions"]
    assert session["created_by"] == str(Identity("local", "agent-7"))


def test_past_its_time_a_session_is_shown_as_stored_with_nothing_but_expiry_allowed(agent: Api) -> None:
    seeding.sessions(lasting=timedelta(seconds=-1))
    (session,) = listed(agent)["sessions"]
    assert (session["status"], session["allowed_transitions"]) == ("pending", ["expired"])
    (same,) = listed(agent, "?cursor=")["sessions"]
    assert same == session


# What it costs.


def sent_for(caller: Api, query: str) -> tuple[Page, list[str]]:
    with CaptureQueriesContext(connection) as captured:
        page = listed(caller, query)
    return page, [sent["sql"] for sent in captured.captured_queries]


def test_a_page_by_cursor_is_one_query() -> None:
    seeding.sessions(3, metadata={"a": 1})
    for roles in ("agent", "approver", "auditor", "operator", "agent,approver"):
        caller = Api(token("bob", roles=roles))
        for filters in ("", "&status=pending,active&agent_role=finance&metadata.a=1&created_by=local|alice"):
            first, sent = sent_for(caller, f"?cursor=&page_size=2{filters}")
            assert (len(ids(first)), len(sent)) == (2, 1)
            second, sent = sent_for(caller, f"?cursor={first['next_cursor']}&page_size=2{filters}")
            assert (len(ids(second)), len(sent)) == (1, 1)
            assert sent[0].startswith("SELECT")
            assert "COUNT(" not in sent[0]
            assert "OFFSET" not in sent[0]


def test_a_page_by_number_is_two_queries(agent: Api) -> None:
    seeding.sessions(3, metadata={"a": 1})
    for query in ("", "?page=2&page_size=1", "?status=pending&metadata.a=1"):
        page, sent = sent_for(agent, query)
        assert page["sessions"]
        assert ["COUNT(" in sql for sql in sent] == [True, False]


def test_a_page_beyond_the_end_is_only_counted(agent: Api) -> None:
    seeding.sessions(3)
    page, sent = sent_for(agent, "?page=99")
    assert (page["sessions"], ["COUNT(" in sql for sql in sent]) == ([], [True])


def test_a_refused_query_asks_the_database_nothing(agent: Api) -> None:
    for query in ("?page=x", "?cursor=x", "?status=x", "?x=1", "?cursor=&page=1", "?metadata.=1"):
        with CaptureQueriesContext(connection) as queries:
            assert agent.get(f"/sessions{query}").status_code == 400
        assert len(queries) == 0
