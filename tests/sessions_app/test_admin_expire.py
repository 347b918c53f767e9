"""Expiring the ticked sessions of the admin's list."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from sessions_app.admin import moves
from tests.admin import SESSIONS, Browser, ids, person, text
from tests.sessions_app.session_calls import last_event, overdue_session, session_in, somebody, stored, unchanged
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def browser() -> Browser:
    return Browser(person())


def expire(browser: Browser, *ticked: Any, **fields: Any) -> Any:
    return browser.tick(SESSIONS, "expire", *ticked, **fields)


def statuses(*pks: UUID) -> list[str]:
    return [stored(pk)["status"] for pk in pks]


def test_asks_for_the_reason_first(browser: Browser) -> None:
    one, other = session_in("active").pk, session_in("pending").pk
    with unchanged(one), unchanged(other):
        answer = browser.send(SESSIONS, {"action": "expire", "_selected_action": [one, other], "index": 0})
        empty = expire(browser, one, other, reason=" ")
    assert "Expire 2 sessions" in text(answer)
    assert f"{one} {other}" in text(answer)
    assert "This field is required." in text(empty)


def test_expires_each_with_its_event(browser: Browser) -> None:
    sessions = [session_in("active"), session_in("pending"), overdue_session("pending")]
    page = expire(browser, *(session.pk for session in sessions))
    assert "3 of 3 sessions expired." in text(page)
    for session in sessions:
        event = last_event(session.pk)
        assert (event.event_type, event.reason, event.via) == ("session.expired", "cleaning up", "admin")
        assert (event.actor_subject, event.ip) == ("olga", "127.0.0.1")
        assert_chain_holds(session)


def test_one_refusal_is_told_while_the_others_go_on(browser: Browser) -> None:
    before, refused, after = session_in("active").pk, session_in("completed").pk, session_in("active").pk
    with unchanged(refused):
        page = expire(browser, before, refused, after)
    assert f"{refused}: It is completed" in text(page)
    assert "2 of 3 sessions expired." in text(page)
    assert statuses(before, after) == ["expired", "expired"]
    assert last_event(before).xid != last_event(after).xid


def test_goes_on_for_a_limited_time(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_in("active").pk
    monkeypatch.setattr(moves, "PATIENCE_SECONDS", -1)
    with unchanged(session):
        page = expire(browser, session)
    assert f"{session}: Not tried: the others took too long." in text(page)
    assert "0 of 1 sessions expired." in text(page)


def test_what_is_missing_or_of_another_tenant_is_told_alike(browser: Browser) -> None:
    foreign, mine, missing = session_in("active", somebody("al", tenant="acme")).pk, session_in("active").pk, uuid4()
    with unchanged(foreign):
        page = expire(browser, foreign, missing, mine)
    for pk in (foreign, missing):
        assert f"{pk}: There is no such thing, or it is not yours to see." in text(page)
    assert statuses(mine) == ["expired"]


def test_takes_the_ticked_rows_alone_and_each_once(browser: Browser) -> None:
    ticked, other = session_in("active").pk, session_in("active").pk
    with unchanged(other):
        page = expire(browser, ticked, ticked, select_across="1")
    assert "1 of 1 sessions expired." in text(page)
    assert set(ids(page)) == {str(ticked), str(other)}


def test_refuses_what_cannot_be_rows(browser: Browser) -> None:
    session = session_in("active").pk
    with unchanged(session):
        assert expire(browser, session, "1 OR 1=1").status_code == 400


def test_needs_something_ticked(browser: Browser) -> None:
    answer = browser.send(SESSIONS, {"action": "expire", "reason": "so", "index": 0}, token_of="/admin/")
    assert "Items must be selected" in text(browser.get(answer["Location"]))


@pytest.mark.parametrize("roles", [("auditor",), ("approver",)])
def test_is_not_there_for_those_who_may_only_look(roles: tuple[str, ...]) -> None:
    session, browser = session_in("active").pk, Browser(person(roles=roles, agent_roles=("finance",)))
    with unchanged(session):
        page = browser.get(SESSIONS)
        expire(browser, session)
    assert ids(page) == [str(session)]
    assert "Expire the selected sessions" not in text(page)


def test_refuses_a_post_that_no_form_of_ours_sent(browser: Browser) -> None:
    session = session_in("active").pk
    form = {"action": "expire", "_selected_action": [session], "reason": "so"}
    with unchanged(session):
        assert browser.forge(SESSIONS, form).status_code == 403
