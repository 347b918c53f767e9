"""Moving a session from its page in the admin."""

from typing import Any

import pytest

from tests.admin import SESSIONS, Browser, buttons, person, text
from tests.sessions_app.session_calls import (
    LEGAL,
    STATES,
    UNKNOWN_ID,
    last_event,
    left_by,
    overdue_session,
    session_in,
    somebody,
    stored,
    unchanged,
)
from tests.sessions_app.test_query_counts import MOVE, costs
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

MOVES = [(state, to) for state in STATES for to in LEGAL[state]]
ILLEGAL = [(state, to) for state in STATES for to in STATES if to not in (*LEGAL[state], "pending")]
ILLEGAL.remove(("active", "active"))
REASON = {"reason": "It hangs.\r\nSince noon."}


@pytest.fixture
def browser() -> Browser:
    return Browser(person())


def move(browser: Browser, session: Any, to: str, fields: Any = REASON, **headers: str) -> Any:
    return browser.move(f"{SESSIONS}{session.pk}/", to, fields, **headers)


@pytest.mark.parametrize(("state", "to"), MOVES)
def test_moves_a_session(browser: Browser, state: str, to: str) -> None:
    session = session_in(state)
    page = move(browser, session, to)
    assert f"The session is {to}." in text(page)
    assert buttons(page) == LEGAL[to]
    assert (stored(session.pk)["status"], stored(session.pk)["reason"]) == (to, "It hangs.\nSince noon.")
    assert_chain_holds(session)


def test_tells_the_trail_who_why_and_whence(browser: Browser) -> None:
    session = session_in("active")
    move(browser, session, "failed", x_request_id="from-the-admin", x_trace_id="trace-7")
    event = last_event(session.pk)
    assert (event.event_type, event.from_status, event.to_status) == ("session.failed", "active", "failed")
    assert (event.actor_issuer, event.actor_subject, event.actor_kind) == ("local", "olga", "person")
    assert (event.via, event.request_id, event.trace_id, event.ip) == (
        "admin",
        "from-the-admin",
        "trace-7",
        "127.0.0.1",
    )
    assert (event.reason, event.tenant) == ("It hangs.\nSince noon.", "default")


@pytest.mark.parametrize(("state", "to"), ILLEGAL)
def test_tells_in_a_sentence_why_a_move_is_refused(browser: Browser, state: str, to: str) -> None:
    session = session_in(state)
    with unchanged(session.pk):
        page = move(browser, session, to)
    assert page.status_code == 200
    assert f"The current state does not allow that: It is {state}" in text(page)


@pytest.mark.parametrize("state", ["pending", "active"])
def test_tells_that_a_session_is_past_its_time(browser: Browser, state: str) -> None:
    session = overdue_session(state)
    with unchanged(session.pk):
        page = move(browser, session, LEGAL[state][0])
    assert "The session is past its time: It expired at" in text(page)
    assert "The session is expired." in text(move(browser, session, "expired"))


def test_the_state_it_has_is_no_move(browser: Browser) -> None:
    session = session_in("active")
    with unchanged(session.pk):
        assert "The session is active." in text(move(browser, session, "active"))


def test_a_get_shows_the_form_and_changes_nothing(browser: Browser) -> None:
    session = session_in("active")
    with unchanged(session.pk):
        answer = browser.get(f"{SESSIONS}{session.pk}/move/failed/?reason=because")
    assert answer.status_code == 200
    assert "Fail this session" in text(answer)
    assert '<form method="post"' in answer.content.decode()


UNUSABLE = [
    ({}, "This field is required."),
    ({"reason": " \r\n "}, "This field is required."),
    ({"reason": "x" * 4001}, "at most 4000 characters"),
    ({"reason": "a\0b"}, "Null characters are not allowed."),
]


@pytest.mark.parametrize(("fields", "words"), UNUSABLE)
def test_asks_for_a_reason(browser: Browser, fields: dict[str, str], words: str) -> None:
    session = session_in("active")
    with unchanged(session.pk):
        answer = move(browser, session, "failed", fields)
    assert answer.status_code == 200
    assert words in text(answer)


def test_refuses_a_post_that_no_form_of_ours_sent(browser: Browser) -> None:
    session = session_in("active")
    browser.get(f"{SESSIONS}{session.pk}/move/failed/")
    with unchanged(session.pk):
        answers = [
            browser.forge(f"{SESSIONS}{session.pk}/move/failed/", REASON),
            move(browser, session, "failed", origin="https://elsewhere.example"),
            move(browser, session, "failed", origin="null"),
        ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]


@pytest.mark.parametrize("roles", [(), ("auditor",), ("approver",), ("auditor", "approver")])
def test_refuses_those_who_may_only_look(roles: tuple[str, ...]) -> None:
    session, browser = session_in("active"), Browser(person(roles=roles, agent_roles=("finance",)))
    # Whoever is no staff with a role sees nothing here, and is no caller whose attempts would matter.
    with left_by(403 if roles else 404, session.pk, "fail"):
        forged = move(browser, session, "failed")
        asked = browser.get(f"{SESSIONS}{session.pk}/move/failed/")
    assert forged.status_code == asked.status_code == (403 if roles else 404)
    assert "You may see this session but not change it." in text(forged) or not roles


def test_what_is_of_another_tenant_looks_missing(browser: Browser) -> None:
    session = session_in("active", somebody("al", tenant="acme"))
    with unchanged(session.pk):
        assert move(browser, session, "failed").status_code == 404
    assert browser.get(f"{SESSIONS}{UNKNOWN_ID}/move/failed/").status_code == 404


@pytest.mark.parametrize("to", ["pending", "deleted", "FAILED", "nothing"])
def test_knows_no_other_moves(browser: Browser, to: str) -> None:
    session = session_in("active")
    with unchanged(session.pk):
        assert move(browser, session, to).status_code == 404


def test_refuses_whoever_is_not_logged_in() -> None:
    session = session_in("active")
    with unchanged(session.pk):
        answer = Browser().send(f"{SESSIONS}{session.pk}/move/failed/", REASON, token_of="/admin/login/")
    assert answer["Location"].startswith("/admin/login/")


def test_takes_what_a_move_of_the_api_takes(browser: Browser) -> None:
    session = session_in("active")
    path, token_page = f"{SESSIONS}{session.pk}/move/failed/", browser.get("/admin/").content.decode()
    token = token_page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    message = ("BEGIN", "UPDATE", "COMMIT")
    # A session that ends cancels its open requests: it looks for them.
    with costs("SELECT", "SELECT", *MOVE[:-1], "SELECT", "COMMIT", *message):
        browser.forge(path, {**REASON, "csrfmiddlewaretoken": token})
