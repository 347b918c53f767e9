"""A session's page in the admin: what it is, what happened, what can be done."""

from typing import Any

import pytest

from sessions_app.models import Session
from tests.admin import EVENTS, SESSIONS, Browser, buttons, person, statements, text
from tests.sessions_app.session_calls import (
    LEGAL,
    STATES,
    UNKNOWN_ID,
    last_event,
    overdue_session,
    session_in,
    somebody,
    unchanged,
)
from tests.work import move_session, open_session

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = "<script>alert(1)</script>"


def page(session: Session, browser: Browser | None = None) -> Any:
    return (browser or Browser(person())).get(f"{SESSIONS}{session.pk}/change/")


def test_shows_what_the_session_is() -> None:
    session = session_in("active")
    shown = text(page(session))
    for value in (
        session.pk,
        "active",
        "finance",
        "local|alice",
        "default",
        "quarter",
        bytes(session.audit_head).hex(),
    ):
        assert str(value) in shown


def test_tells_what_happened() -> None:
    session = move_session(session_in("pending"), "active", "failed", by=somebody("bob"), reason="no funds")
    shown = text(page(session))
    assert "session.failed active → failed local|bob api no funds" in shown
    assert "session.created – → pending local|alice api –" in shown
    assert shown.index("session.failed") < shown.index("session.activated") < shown.index("session.created")
    assert f'href="{EVENTS}?q={session.pk}"' in page(session, Browser(person("otto"))).content.decode()


@pytest.mark.parametrize(("roles", "sees"), [(("auditor",), True), (("operator",), True), (("approver",), False)])
def test_tells_it_to_auditors_and_operators(roles: tuple[str, ...], sees: bool) -> None:
    shown = text(page(session_in("active"), Browser(person(roles=roles, agent_roles=("finance",)))))
    assert ("session.activated" in shown) is sees
    assert ("Auditors and operators see what happened here." in shown) is not sees


def test_what_callers_wrote_is_text() -> None:
    session = open_session(metadata={HOSTILE: HOSTILE}, by=somebody(HOSTILE))
    move_session(session, "active", "completed", reason=HOSTILE)
    browser = Browser(person())
    for path in (SESSIONS, f"{SESSIONS}{session.pk}/change/", EVENTS, f"{EVENTS}{last_event(session.pk).pk}/change/"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert HOSTILE not in answer.content.decode(), path


@pytest.mark.parametrize("state", STATES)
def test_offers_the_legal_moves(state: str) -> None:
    assert buttons(page(session_in(state))) == LEGAL[state]


@pytest.mark.parametrize("state", ["pending", "active"])
def test_offers_nothing_but_expiry_past_its_time(state: str) -> None:
    assert buttons(page(overdue_session(state))) == ["expired"]


@pytest.mark.parametrize("roles", [("auditor",), ("approver",), ("auditor", "approver")])
def test_offers_nothing_to_those_who_may_only_look(roles: tuple[str, ...]) -> None:
    answer = page(session_in("active"), Browser(person(roles=roles, agent_roles=("finance",))))
    assert answer.status_code == 200
    assert buttons(answer) == []


def test_what_is_of_another_tenant_looks_missing() -> None:
    foreign, browser = session_in("active", somebody("al", tenant="acme")), Browser(person())
    answers = [browser.get(f"{SESSIONS}{pk}/change/") for pk in (foreign.pk, UNKNOWN_ID)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert len({text(answer).replace(answer["X-Request-Id"], "") for answer in answers}) == 1


@pytest.mark.parametrize("form", ["change/", "delete/", "history/"])
def test_nothing_is_edited_deleted_or_added(form: str) -> None:
    session, browser = session_in("completed"), Browser(person(is_superuser=True))
    with unchanged(session.pk):
        fields = {"role": "legal", "status": "active", "metadata": "{}", "post": "yes"}
        for path in (f"{SESSIONS}{session.pk}/{form}", f"{SESSIONS}add/"):
            answer = browser.send(path, fields, token_of="/admin/")
            assert answer.status_code in (302, 403), path
        ticked = {"action": "delete_selected", "_selected_action": session.pk, "post": "yes"}
        browser.send(SESSIONS, ticked)
    assert Session.objects.count() == 1


def test_takes_the_row_its_events_and_its_requests() -> None:
    session, browser = session_in("active"), Browser(person())
    page(session, browser)
    with statements("django_session", "people_person", "sessions", "audit_events", "approvals"):
        assert page(session, browser).status_code == 200
