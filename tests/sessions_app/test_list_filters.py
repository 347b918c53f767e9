"""GET /sessions: the filters, alone and together, and what each refuses."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from orchestrator import boundary
from sessions_app.transitions import session as transitions
from tests import seeding
from tests.api import Api, errors, token
from tests.sessions_app.session_calls import (
    NO_UUIDS,
    STATES,
    UNKNOWN_ID,
    overdue_session,
    session_in,
    somebody,
    task_for,
)

pytestmark = pytest.mark.django_db(transaction=True)

MOMENT = datetime(2026, 1, 31, 9, 0, 0, 123456, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def listed(caller: Api, **filters: str) -> list[dict[str, Any]]:
    """The sessions that pass, by page and by cursor alike."""
    by_page, by_cursor = ({**given, **filters, "page_size": "100"} for given in ({}, {"cursor": ""}))
    page = caller.get(f"/sessions?{urlencode(by_page)}")
    assert page.status_code == 200, f"{filters}: {page.content}"
    shown: list[dict[str, Any]] = page.json()["sessions"]
    assert page.json()["total"] == len(shown)
    assert caller.get(f"/sessions?{urlencode(by_cursor)}").json()["sessions"] == shown
    return shown


def ids(caller: Api, **filters: str) -> set[str]:
    return {session["session_id"] for session in listed(caller, **filters)}


def refused(caller: Api, *fields: str, **filters: str) -> None:
    answer = caller.get(f"/sessions?{urlencode(filters)}")
    assert answer.status_code == 400, f"{filters}: {answer.content}"
    assert answer.json()["type"] == "/problems/invalid-request"
    assert list(errors(answer)) == list(fields)


# status


@pytest.fixture
def by_status() -> dict[str, str]:
    """A session in each state: its id by the state."""
    return {state: str(session_in(state).id) for state in STATES}


def test_finds_by_status(agent: Api, by_status: dict[str, str]) -> None:
    for state, pk in by_status.items():
        assert ids(agent, status=state) == {pk}
        assert ids(agent, status=state.upper()) == {pk}


def test_finds_by_any_of_several_statuses(agent: Api, by_status: dict[str, str]) -> None:
    assert ids(agent, status="pending,failed") == {by_status["pending"], by_status["failed"]}
    assert ids(agent, status="failed,pending,failed") == {by_status["pending"], by_status["failed"]}
    assert ids(agent, status="Completed,EXPIRED") == {by_status["completed"], by_status["expired"]}
    assert ids(agent, status=",".join(STATES)) == set(by_status.values())


def test_refuses_an_unknown_status(agent: Api, by_status: dict[str, str]) -> None:
    for status in (
        "gone",
        "",
        ",",
        "pending,",
        ",pending",
        "pending,gone",
        "pending, active",
        " pending",
        "*",
        "pending;",
    ):
        refused(agent, "status", status=status)


def test_a_session_past_its_time_is_found_by_what_is_stored(agent: Api) -> None:
    session = overdue_session("active")
    assert ids(agent, status="active") == {str(session.id)}
    assert ids(agent, status="expired") == set()


# agent_role


def test_finds_by_role(operator: Api) -> None:
    rows = {
        role: str(seeding.sessions(role=role)[0].id)
        for role in ("finance", "Finance", "finance-2", "Prüfung", "%", "_")
    }
    for role, pk in rows.items():
        assert ids(operator, agent_role=role) == {pk}
    for role in ("nobody", "finance,Finance", "fin%", "x" * 200, ""):
        assert ids(operator, agent_role=role) == set()


def test_a_role_that_is_not_the_callers_is_found_only_in_what_is(agent: Api) -> None:
    (own,) = seeding.sessions(role="legal")
    seeding.sessions(by=seeding.opener("bob"), role="legal")
    assert ids(agent, agent_role="legal") == {str(own.id)}


# task_id


def test_finds_by_task(agent: Api) -> None:
    task, other = task_for("finance"), task_for("finance")
    rows = seeding.sessions(2, task=task)
    seeding.sessions(task=other)
    seeding.sessions()
    for written in (str(task.id), str(task.id).upper()):
        assert ids(agent, task_id=written) == {str(row.id) for row in rows}
    assert ids(agent, task_id=UNKNOWN_ID) == set()


def test_refuses_a_task_id_that_is_none(agent: Api) -> None:
    for text in (*NO_UUIDS, "", "null"):
        refused(agent, "task_id", task_id=text)


# created_by


def test_finds_by_who_opened_it(operator: Api) -> None:
    openers = (
        ("local", "alice"),
        ("local", "bob"),
        ("https://login.example/realms/dev", "alice"),
        ("https://login.example|second", "alice"),
        ("local", "Alice"),
    )
    for issuer, subject in openers:
        seeding.sessions(by=seeding.opener(subject, issuer=issuer))
    for issuer, subject in openers:
        (session,) = listed(operator, created_by=f"{issuer}|{subject}")
        assert session["created_by"] == f"{issuer}|{subject}"
    assert ids(operator, created_by="local|zoe") == ids(operator, created_by="alice|local") == set()


def test_finds_by_a_subject_with_a_bar_in_it_as_it_is_shown(operator: Api) -> None:
    seeding.sessions(by=seeding.opener("alice"))
    (row,) = seeding.sessions(by=seeding.opener("google-oauth2|1077", issuer="https://login.example/"))
    shown = operator.get(f"/sessions/{row.id}").json()["created_by"]
    assert ids(operator, created_by=shown) == {str(row.id)}


def test_refuses_an_opener_without_issuer_or_subject(agent: Api) -> None:
    for text in ("", "alice", "|", "local|", "|alice"):
        refused(agent, "created_by", created_by=text)


# created_after, created_before


def test_after_includes_its_moment_and_before_does_not(agent: Api) -> None:
    earlier, same, later = (str(row.id) for row in seeding.sessions(3, at=MOMENT + MICROSECOND, apart=MICROSECOND))
    at, just_after = MOMENT.isoformat(), (MOMENT + MICROSECOND).isoformat()
    assert ids(agent, created_after=at) == {same, later}
    assert ids(agent, created_before=at) == {earlier}
    assert ids(agent, created_after=just_after) == {later}
    assert ids(agent, created_before=just_after) == {earlier, same}
    assert ids(agent, created_after=at, created_before=just_after) == {same}
    assert ids(agent, created_after=at, created_before=at) == set()
    assert ids(agent, created_after=just_after, created_before=at) == set()


def test_finds_by_the_moment_that_an_answer_shows(agent: Api) -> None:
    sessions = [agent.post("/sessions", {"agent_role": "finance"}).json() for _ in range(3)]
    middle = sessions[1]["created_at"]
    assert ids(agent, created_after=middle) == {session["session_id"] for session in sessions[1:]}
    assert ids(agent, created_before=middle) == {sessions[0]["session_id"]}


@pytest.fixture
def around() -> tuple[str, str]:
    """Two sessions, one just before MOMENT and one at it."""
    before, at = seeding.sessions(2, at=MOMENT, apart=MICROSECOND)
    return str(before.id), str(at.id)


def test_a_moment_may_have_any_offset(agent: Api, around: tuple[str, str]) -> None:
    for minutes in (0, 120, -420, 345, 14 * 60, -12 * 60):
        at = MOMENT.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
        assert ids(agent, created_after=at) == {around[1]}, at
        assert ids(agent, created_before=at) == {around[0]}, at


def test_an_offset_may_be_as_large_as_rfc_3339_lets_it(agent: Api, around: tuple[str, str]) -> None:
    for minutes in (16 * 60, -16 * 60, 23 * 60 + 59, -23 * 60 - 59):
        at = MOMENT.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
        assert ids(agent, created_after=at) == {around[1]}, at
        assert ids(agent, created_before=at) == {around[0]}, at


def test_a_plus_sign_need_not_be_escaped(agent: Api, around: tuple[str, str]) -> None:
    at = MOMENT.astimezone(timezone(timedelta(hours=2))).isoformat()
    assert "+02:00" in at
    answer = agent.get(f"/sessions?created_after={at}")
    assert [session["session_id"] for session in answer.json()["sessions"]] == [around[1]]


def test_a_moment_may_be_written_as_rfc_3339_has_it(agent: Api, around: tuple[str, str]) -> None:
    for text in ("2026-01-31T09:00:00.123456Z", "2026-01-31t09:00:00.123456z", "2026-01-31 09:00:00.123456Z"):
        assert ids(agent, created_after=text) == {around[1]}, text
    for text in ("2026-01-31T09:00:00Z", "2026-01-31T09:00:00.1Z", "2026-01-31T09:00:00.123Z"):
        assert ids(agent, created_after=text) == set(around), text
    assert ids(agent, created_after="2026-01-31T09:00:00.124Z") == set()


def test_a_moment_finer_than_a_microsecond_lies_after_it(agent: Api, around: tuple[str, str]) -> None:
    finer = "2026-01-31T09:00:00.1234567Z"
    assert ids(agent, created_before=finer) == set(around)
    assert ids(agent, created_after=finer) == set()


def test_refuses_a_moment_without_an_offset_or_that_is_none(agent: Api) -> None:
    for text in (
        *("2026-01-31T09:00:00", "2026-01-31 09:00", "2026-01-31", "2026-01", "20260131", "09:00:00Z", "2026-01-31Z"),
        *("", "now", "yesterday", "1769850000", "0", "null", "Z", "2026-02-30T09:00:00Z", "2026-01-31T25:00:00Z"),
        *("2026-01-31T09:00:60Z", "2026-01-31T09:00:00+25:00", "2026-01-31T09:00:00+02:00Z", "2026-01-31T09:00:00 Z"),
        *("0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-01-31T09:00:00.Z", "2026-01-31T09:00:00Z\n"),
    ):
        refused(agent, "created_after", created_after=text)
        refused(agent, "created_before", created_before=text)


def test_the_first_and_the_last_moment_are_moments(agent: Api, around: tuple[str, str]) -> None:
    first, last = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"
    assert ids(agent, created_after=first) == ids(agent, created_before=last) == set(around)
    assert ids(agent, created_before=first) == ids(agent, created_after=last) == set()


def test_an_odd_moment_is_read_or_refused(agent: Api, around: tuple[str, str]) -> None:
    for text, expected in (
        ("0001-01-01T00:00:00+14:00", set()),
        ("0001-01-01T00:00:00+23:59", set()),
        ("9999-12-31T23:59:59-14:00", set(around)),
        ("9999-12-31T23:59:59-23:59", set(around)),
        ("2026-01-31T09:00:01+00:00:00", set(around)),
        ("2026-01-31T09:00:30+00:00:01", set(around)),
        ("2026-01-31T14:30:30+05:30:15.5", set(around)),
        ("2026-01-31T09:00:01+00:00:00.000001", set(around)),
        ("2026-W05-6T09:00:01Z", set(around)),
        ("20260131T090001Z", set(around)),
        ("2026-01-31T09:00:00,5Z", set(around)),
    ):
        answer = agent.get(f"/sessions?{urlencode({'created_before': text})}")
        assert answer.status_code in (200, 400), text
        if answer.status_code == 200:
            assert {session["session_id"] for session in answer.json()["sessions"]} == expected, text


# metadata.<path>=<value>


DOCUMENTS: dict[str, dict[str, Any]] = {
    "5": {"a": 5},
    '"5"': {"a": "5"},
    "5.5": {"a": 5.5},
    "true": {"a": True},
    '"true"': {"a": "true"},
    "false": {"a": False},
    "null": {"a": None},
    '"null"': {"a": "null"},
    "text": {"a": "Q4 2026"},
    "empty text": {"a": ""},
    "object": {"a": {"b": 5, "c": "x"}},
    "deeper": {"a": {"b": {"c": [1, 2, {"d": 3}]}}},
    "list": {"a": ["x", "y", 5]},
    "other": {"b": 5, "A": 5},
    "nothing": {},
}


@pytest.fixture
def by_document(agent: Api) -> dict[str, str]:
    """A session with each of the documents: what it is called by its id."""
    return {str(seeding.sessions(metadata=document)[0].id): name for name, document in DOCUMENTS.items()}


FOUND: list[tuple[str, str, set[str]]] = [
    # As JSON where it parses, and as text; either matches.
    ("a", "5", {"5", '"5"'}),
    ("a", "5.0", {"5"}),
    ("a", "5e0", {"5"}),
    ("a", '"5"', {'"5"'}),
    ("a", "5.5", {"5.5"}),
    ("a", "6", set()),
    ("a", "true", {"true", '"true"'}),
    ("a", "True", set()),
    ("a", '"true"', {'"true"'}),
    ("a", "false", {"false"}),
    ("a", "1", set()),
    ("a", "0", set()),
    ("a", "null", {"null", '"null"'}),
    ("a", "Q4 2026", {"text"}),
    ("a", '"Q4 2026"', {"text"}),
    ("a", "Q4", set()),
    ("a", "q4 2026", set()),
    ("a", "", {"empty text"}),
    ("a", '""', {"empty text"}),
    # Containment: what is asked for is in it.
    ("a", '{"b": 5}', {"object"}),
    ("a", '{"c": "x", "b": 5}', {"object"}),
    ("a", '{"b": 5, "d": 1}', set()),
    ("a", "{}", {"object", "deeper"}),
    ("a", '["x"]', {"list"}),
    ("a", '["y", 5, "x"]', {"list"}),
    ("a", '["z"]', set()),
    ("a", "[]", {"list"}),
    ("a", "x", set()),
    ("b", "5", {"other"}),
    ("A", "5", {"other"}),
    # Paths.
    ("a.b", "5", {"object"}),
    ("a.c", "x", {"object"}),
    ("a.b.c", "[1]", {"deeper"}),
    ("a.b.c", '[{"d": 3}]', {"deeper"}),
    ("a.b.c.d", "3", set()),
    ("a.0", "x", set()),
    ("nowhere.at.all", "5", set()),
    ("a", "{", set()),
    ("a", "NaN", set()),
    ("a", "1e999", set()),
    ("a", "9" * 40, set()),
    ("a", "[" * 40 + "]" * 40, set()),
    ("a", '{"b": 1, "b": 5}', set()),
    ("a", '"\\u0000"', set()),
    ("a", '"\\ud800"', set()),
]


def test_finds_by_metadata(agent: Api, by_document: dict[str, str]) -> None:
    for path, value, expected in FOUND:
        found = {by_document[pk] for pk in ids(agent, **{f"metadata.{path}": value})}
        assert found == expected, f"metadata.{path}={value}"


def test_a_number_that_no_double_keeps_is_read_as_text_alone(agent: Api) -> None:
    amounts: list[Any] = [90071992547409.92, "90071992547409.921", 9007199254740992]
    rows = [str(seeding.sessions(metadata={"amount": amount})[0].id) for amount in amounts]
    assert ids(agent, **{"metadata.amount": "90071992547409.920"}) == {rows[0]}
    assert ids(agent, **{"metadata.amount": "90071992547409.921"}) == {rows[1]}
    assert ids(agent, **{"metadata.amount": "9007199254740993.0"}) == set()


def test_finds_text_that_looks_like_code(agent: Api) -> None:
    for text in (
        "'; DROP TABLE sessions; --",
        '"',
        "\\",
        "%s",
        "%",
        "{",
        "a=b&c",
        "\u2028",
        "ü😀",
        "\t",
        "\\u0000",
        "+",
    ):
        document = {text.replace(".", ""): {"x": text}}
        (row,) = seeding.sessions(metadata=document)
        assert ids(agent, **{f"metadata.{text}.x": text}) == {str(row.id)}, text


def test_several_paths_must_all_match(agent: Api) -> None:
    both, *_ = (
        str(seeding.sessions(metadata=document)[0].id)
        for document in ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}, {"a": 2, "b": {"c": 2}})
    )
    assert ids(agent, **{"metadata.a": "1", "metadata.b.c": "2"}) == {both}
    assert ids(agent, **{"metadata.a": "2", "metadata.b.c": "3"}) == set()


def test_a_path_may_be_thirty_names_long(agent: Api) -> None:
    document: Any = 1
    for _ in range(30):
        document = {"a": document}
    (row,) = seeding.sessions(metadata=document)
    assert ids(agent, **{"metadata." + ".".join("a" * 30): "1"}) == {str(row.id)}
    deep = "metadata." + ".".join("a" * 31)
    refused(agent, deep, **{deep: "1"})
    longest = "metadata" + ".a" * 900
    refused(agent, longest, **{longest: "1"})


def test_refuses_a_path_with_an_empty_name(agent: Api) -> None:
    for name in ("metadata.", "metadata..", "metadata.a.", "metadata..a", "metadata.a..b"):
        refused(agent, name, **{name: "1"})


def test_refuses_a_nul_character_wherever_it_stands(agent: Api) -> None:
    for name in ("agent_role", "status", "created_by", "created_after", "task_id", "metadata.a"):
        refused(agent, name, **{name: "a\0|b"})
    refused(agent, "metadata.a\0", **{"metadata.a\0": "1"})


def test_reads_bytes_that_are_no_utf_8_as_something_unknown(agent: Api) -> None:
    for query in ("agent_role=%FF", "metadata.a=%C3", "metadata.%ED%A0%80=1", "created_by=%FF|%FE"):
        answer = agent.get(f"/sessions?{query}")
        assert (answer.status_code, answer.json()["total"]) == (200, 0), query


# Together.


def test_all_filters_together_find_what_passes_each(operator: Api) -> None:
    task, other_task = task_for("finance"), task_for("finance")
    wanted: dict[str, Any] = {
        "by": seeding.opener("alice"),
        "role": "finance",
        "task": task,
        "metadata": {"quarter": "Q4", "cost": {"centre": 7}},
        "at": MOMENT,
    }
    others: list[dict[str, Any]] = [
        {"by": seeding.opener("bob")},
        {"role": "legal"},
        {"task": other_task},
        {"task": None},
        {"metadata": {"quarter": "Q3", "cost": {"centre": 7}}},
        {"metadata": {"quarter": "Q4", "cost": {"centre": 8}}},
        {"at": MOMENT - MICROSECOND},
        {"at": MOMENT + MICROSECOND},
    ]
    (row,) = seeding.sessions(**wanted)
    for other in others:
        seeding.sessions(**{**wanted, **other})
    (moved,) = seeding.sessions(**wanted)
    boundary.write(lambda: transitions.amend(moved, actor=somebody(), status="active"))
    filters = {
        "status": "pending,completed",
        "agent_role": "finance",
        "task_id": str(task.id),
        "created_by": "local|alice",
        "created_after": MOMENT.isoformat(),
        "created_before": (MOMENT + MICROSECOND).isoformat(),
        "metadata.quarter": "Q4",
        "metadata.cost.centre": "7",
    }
    assert ids(operator, **filters) == {str(row.id)}
    for left_out in filters:
        rest = {name: value for name, value in filters.items() if name != left_out}
        assert len(ids(operator, **rest)) > 1, left_out
        assert str(row.id) in ids(operator, **rest)


def test_filters_hold_on_every_page_of_a_walk(agent: Api) -> None:
    wanted = [str(row.id) for n in range(6) for row in seeding.sessions(metadata={"odd": bool(n % 2)}) if n % 2]
    cursor, found = "", []
    while cursor is not None:
        page = agent.get(f"/sessions?cursor={cursor}&page_size=2&metadata.odd=true").json()
        found += [session["session_id"] for session in page["sessions"]]
        cursor = page["next_cursor"]
    assert found == wanted[::-1]


def test_no_filter_shows_what_the_caller_may_not_see(agent: Api) -> None:
    document = {"a": 1}
    hidden = [
        *seeding.sessions(by=seeding.opener("bob"), role="legal", metadata=document),
        *seeding.sessions(by=seeding.opener("alice", tenant="other"), role="finance", metadata=document),
    ]
    (seen,) = seeding.sessions(metadata=document)
    for filters in (
        {"metadata.a": "1"},
        {"status": "pending"},
        {"created_by": "local|alice"},
        {"created_after": "2020-01-01T00:00:00Z"},
        {"agent_role": "finance"},
    ):
        assert ids(agent, **filters) == {str(seen.id)}, filters
    assert ids(agent, agent_role="legal") == ids(agent, created_by="local|bob") == set()
    auditor = Api(token("zoe", roles="auditor", agent_roles=""))
    assert ids(auditor, **{"metadata.a": "1"}) == {str(hidden[0].id), str(seen.id)}


def test_answers_the_same_whatever_the_order_of_keys_was(agent: Api) -> None:
    document = {"b": 1, "a": {"z": [1, 2], "y": None}}
    (row,) = seeding.sessions(metadata=document)
    for text in (json.dumps({"y": None, "z": [2, 1]}), json.dumps({"z": [1]}), json.dumps({"y": None})):
        answer = agent.get(f"/sessions?metadata.a={quote(text)}")
        assert [session["session_id"] for session in answer.json()["sessions"]] == [str(row.id)], text
