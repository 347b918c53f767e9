"""The admin's list of sessions."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestrator.admin.paging import PAGES, BoundedPaginator
from orchestrator.people.models import Person
from sessions_app.models import Session
from tests.admin import SESSIONS, Browser, ids, person, statements, text
from tests.sessions_app.session_calls import overdue_session, session_in, somebody
from tests.work import open_session

pytestmark = pytest.mark.django_db(transaction=True)

LIST = ("django_session", "people_person", "sessions", "sessions")


def found(query: str) -> list[str]:
    return ids(Browser(Person.objects.first() or person()).get(f"{SESSIONS}?{query}"))


def test_shows_sessions_with_their_state_the_newest_first() -> None:
    sessions = [session_in(state) for state in ("pending", "active", "failed")]
    page = Browser(person()).get(SESSIONS)
    assert ids(page) == [str(session.pk) for session in reversed(sessions)]
    assert "3 sessions" in text(page)
    assert all(state in text(page) for state in ("pending", "active", "failed", "local|alice"))


def test_says_which_are_past_their_time() -> None:
    overdue_session("pending")
    assert "(over)" in text(Browser(person()).get(SESSIONS))


def test_shows_the_persons_tenant_alone() -> None:
    mine, _foreign = session_in("pending"), session_in("pending", somebody("al", tenant="acme"))
    assert found("") == [str(mine.pk)]


def test_shows_an_approver_the_sessions_of_their_roles_and_nobody_without_a_role_anything() -> None:
    seen, _other = open_session(role="legal"), open_session(role="finance")
    approver = person("petra", roles=("approver",), agent_roles=("legal",))
    assert ids(Browser(approver).get(SESSIONS)) == [str(seen.pk)]
    assert ids(Browser(person("nobody", roles=())).get(SESSIONS)) == []


def test_filters_by_status_role_and_time() -> None:
    active, pending = session_in("active"), open_session(role="legal")
    assert found("status__exact=active") == [str(active.pk)]
    assert found("role=legal") == [str(pending.pk)]
    assert found("role=+legal+&status__exact=pending") == [str(pending.pk)]
    assert found("role=lega") == []
    assert found("created_at__gte=2000-01-01+00:00Z&created_at__lt=2001-01-01+00:00Z") == []


def test_finds_by_id() -> None:
    session, _other = session_in("pending"), session_in("pending")
    assert found(f"q={session.pk}") == [str(session.pk)]
    assert found(f"q={str(session.pk).upper()}") == [str(session.pk)]
    assert found(f"q={session.pk.hex}") == []


def test_finds_by_role() -> None:
    session, _other = open_session(role="human resources"), open_session(role="human")
    assert found("q=%22human+resources%22") == [str(session.pk)]


def test_finds_by_metadata() -> None:
    session = open_session(metadata={"quarter": "Q4", "team": {"size": 3, "name": "human resources"}, "done": True})
    open_session(metadata={"quarter": "Q3", "team": {"size": 4}, "done": False})
    for term in ("quarter=Q4", "team.size=3", "done=true", 'team.name="human resources"', "quarter=Q4 finance"):
        assert found(f"q={term}") == [str(session.pk)], term
    for term in ("quarter=Q", "team.size=30", "quarter=Q4 legal", "Q4=quarter"):
        assert found(f"q={term}") == [], term


def test_says_what_cannot_be_looked_for() -> None:
    session_in("pending")
    page = Browser(person()).get(f"{SESSIONS}?q=a..b%3D1")
    assert "The path must be" in text(page)
    assert ids(page) == []


def test_knows_no_other_order_and_no_other_lookup() -> None:
    sessions = [str(session_in("pending").pk) for _ in range(3)]
    assert found("o=1") == found("o=-2.3") == sessions[::-1]
    for query in ("id__startswith=0", "metadata__contains={}", "tenant=acme", "task__tenant=acme", "audit_head=x"):
        assert Browser(person(query)).get(f"{SESSIONS}?{query}").status_code == 400, query


def test_takes_a_count_and_a_page() -> None:
    browser = Browser(person())
    session_in("pending")
    for query in ("", "?q=quarter%3DQ4", "?status__exact=pending&role=finance", "?p=7", "?all="):
        with statements(*LIST):
            assert len(ids(browser.get(SESSIONS + query))) == 1
    with statements(*LIST[:3]):
        assert ids(browser.get(f"{SESSIONS}?role=none")) == []


def test_counts_no_further_than_it_pages_and_estimates_beyond() -> None:
    actor = somebody()
    for _ in range(PAGES + 2):
        open_session(by=actor, lasting=timedelta(days=1))
    pages = BoundedPaginator(Session.objects.order_by("-created_at", "-id"), per_page=1)
    with CaptureQueriesContext(connection) as captured:
        assert pages.num_pages == PAGES
        assert "These pages reach the newest 100: filter or search for the others." in pages.sentence
        assert pages.get_page(PAGES + 1).number == PAGES
    counting, estimating = [query["sql"] for query in captured.captured_queries]
    assert f"LIMIT {PAGES + 1}" in counting
    assert estimating.startswith("EXPLAIN (FORMAT")


def test_never_shows_more_than_a_page() -> None:
    for _ in range(51):
        session_in("pending")
    browser = Browser(person())
    first, second = (ids(browser.get(f"{SESSIONS}?p={number}")) for number in (1, 2))
    assert (len(first), len(second), len({*first, *second})) == (50, 1, 51)
    assert ids(browser.get(f"{SESSIONS}?p=3")) == second
    assert len(ids(browser.get(f"{SESSIONS}?all=1"))) == 50
