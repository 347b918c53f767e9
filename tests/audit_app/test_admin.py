"""The trail in the admin: the list of events, and an event's page."""

import pytest

from audit_app import finding
from audit_app.models import AuditEvent
from orchestrator.people.models import Person
from tests.admin import EVENTS, SESSIONS, Browser, ids, person, statements, text
from tests.sessions_app.session_calls import events_of, session_in, somebody
from tests.work import amend_session, move_session, open_session

pytestmark = pytest.mark.django_db(transaction=True)

LIST = ("django_session", "people_person", "audit_events", "audit_events")


def found(query: str) -> list[str]:
    return ids(Browser(Person.objects.first() or person()).get(f"{EVENTS}?{query}"))


def keys(*sessions: object) -> list[str]:
    """The events of these sessions, the newest first."""
    events = [event for session in sessions for event in events_of(session.pk)]  # type: ignore[attr-defined]
    return [str(event.pk) for event in sorted(events, key=lambda event: event.timestamp, reverse=True)]


@pytest.mark.parametrize("roles", [("auditor",), ("operator",)])
def test_shows_events_the_newest_first(roles: tuple[str, ...]) -> None:
    first, second = session_in("failed"), session_in("active")
    page = Browser(person(roles=roles)).get(EVENTS)
    assert ids(page) == keys(first, second)
    assert "5 audit events" in text(page)
    assert "session.failed" in text(page)
    assert f'href="{SESSIONS}{first.pk}/change/"' in page.content.decode()


@pytest.mark.parametrize("roles", [(), ("approver",), ("agent",)])
def test_is_not_for_others(roles: tuple[str, ...]) -> None:
    event, browser = events_of(session_in("active").pk)[0], Browser(person(roles=roles, agent_roles=("finance",)))
    for path in (EVENTS, f"{EVENTS}{event.pk}/change/"):
        assert browser.get(path).status_code in (403, 404), path
    assert EVENTS not in browser.get("/admin/").content.decode()


def test_shows_the_persons_tenant_alone() -> None:
    mine, foreign = session_in("active"), session_in("active", somebody("al", tenant="acme"))
    assert found("") == keys(mine)
    assert found(f"q={foreign.pk}") == []
    answer = Browser(person("otto")).get(f"{EVENTS}{events_of(foreign.pk)[0].pk}/change/")
    assert answer.status_code == 404


def test_filters_by_type_way_role_and_time() -> None:
    finance, legal = session_in("active"), open_session(role="legal")
    assert found("event_type=session.activated") == keys(finance)[:1]
    assert found("role=legal") == keys(legal)
    assert found("via__exact=api") == keys(finance, legal)
    assert found("via__exact=admin") == []
    assert found("timestamp__gte=2000-01-01+00:00Z&timestamp__lt=2001-01-01+00:00Z") == []


def test_finds_by_event_subject_trace_role_and_metadata() -> None:
    session, other = open_session(role="legal"), session_in("active")
    amend_session(session, metadata={"quarter": "Q7", "n": 7})
    created, changed = events_of(session.pk)
    assert found(f"q={created.pk}") == [str(created.pk)]
    assert found(f"q={session.pk}") == keys(session)
    assert found(f"q={created.trace_id}") == keys(session)
    assert found("q=legal") == keys(session)
    for term in ("metadata.quarter=Q7", "metadata.n=7", "changes.metadata.n=7", "metadata.n=7 legal"):
        assert found(f"q={term}") == [str(changed.pk)], term
    for term in ("metadata.n=8", "n=7", "a..b=1", ".".join("a" * 40) + "=1", "no-such-trace", f"{other.pk} legal"):
        assert found(f"q={term}") == [], term


def test_looks_among_the_newest_where_there_is_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    session = move_session(session_in("pending"), "active", "completed")
    monkeypatch.setattr(finding, "NEWEST", 2)
    page = Browser(person()).get(f"{EVENTS}?role=finance")
    assert ids(page) == keys(session)[:2]
    assert "are looked for in the newest 2 events" in text(page)
    assert found(f"role=finance&q={session.pk}") == keys(session)
    assert found("event_type=session.created") == keys(session)[2:]


def test_takes_a_count_and_a_page_and_where_there_is_no_index_an_edge() -> None:
    session, browser = session_in("active"), Browser(person())
    for query in ("", f"?q={session.pk}", "?event_type=session.created", f"?role=finance&q={session.pk}"):
        with statements(*LIST):
            assert ids(browser.get(EVENTS + query))
    for query in ("?role=finance", "?q=finance", "?via__exact=api&q=finance"):
        with statements(*LIST, "audit_events"):
            assert ids(browser.get(EVENTS + query))


def test_an_events_page_shows_the_whole_of_it() -> None:
    event = events_of(move_session(session_in("active"), "failed", reason="no funds").pk)[-1]
    shown = text(Browser(person()).get(f"{EVENTS}{event.pk}/change/"))
    for value in (event.pk, event.subject_id, "session.failed", "no funds", event.request_id, event.trace_id, event.ip):
        assert str(value) in shown
    assert event.body in shown
    assert bytes(event.hash).hex() in shown
    assert bytes(event.prev_hash or b"").hex() in shown


def test_nothing_is_edited_deleted_or_added() -> None:
    event, browser = events_of(session_in("active").pk)[0], Browser(person(is_superuser=True))
    for path in (f"{EVENTS}{event.pk}/change/", f"{EVENTS}{event.pk}/delete/", f"{EVENTS}add/"):
        answer = browser.send(path, {"reason": "another", "post": "yes"}, token_of="/admin/")
        assert answer.status_code == 403, path
    assert "Select action" not in text(browser.get(EVENTS))
    assert AuditEvent.objects.get(pk=event.pk).reason == event.reason
    assert AuditEvent.objects.count() == 2
