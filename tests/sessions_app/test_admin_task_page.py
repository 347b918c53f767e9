"""A task's page in the admin: what it is, who held it, what happened, what can be done."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from orchestrator import boundary
from orchestrator.admin import showing
from orchestrator.problems import Problem
from sessions_app.models import Task
from sessions_app.transitions import lease
from tests.admin import EVENTS, SESSIONS, TASKS, Browser, buttons, person, statements, text
from tests.sessions_app.session_calls import UNKNOWN_ID, last_event, somebody, unchanged
from tests.sessions_app.task_states import (
    TASKS_IN,
    active,
    completed,
    failed,
    held,
    lapsed,
    manager,
    pending,
    retried,
)
from tests.work import new_task, open_session

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = "<script>alert(1)</script>"
OFFERED = {
    "pending": ["cancel"],
    "active": ["cancel", "force-release"],
    "asked": ["force-release"],
    "lapsed": ["cancel", "force-release"],
    "completed": [],
    "failed": ["retry"],
    "retried": [],
    "cancelled": [],
}


def page(task: Task, browser: Browser | None = None) -> Any:
    return (browser or Browser(person())).get(f"{TASKS}{task.pk}/change/")


def test_shows_what_the_task_is() -> None:
    known: dict[str, Any] = {
        "description": "Match\nthem.",
        "data": {"invoices": [41]},
        "context": {"thread": "october"},
    }
    task = pending(task_type="invoices", priority=8, deadline=datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC), **known)
    shown = text(page(task))
    for value in (
        *(task.pk, "invoices", "manager → finance", "pending", "1/3", "local|mona", "default", task.trace_id),
        *("Match them.", '{ "invoices": [ 41 ] }', '{ "thread": "october" }', "2100-01-02 03:04:05"),
        bytes(task.audit_head).hex(),
    ):
        assert str(value) in shown


def test_shows_what_came_of_it() -> None:
    assert 'Output { "unpaid": 3 }' in text(page(completed()))
    assert 'Error { "code": "no-statement",' in text(page(failed(), Browser(person("otto"))))


def test_shows_who_holds_it_until_when_and_how_far_they_are() -> None:
    task, token = held()
    progress = {"percent": 40}
    boundary.write(partial(lease.heartbeat, task, token=token, progress=progress, actor=somebody("finn")))
    task = Task.objects.get(pk=task.pk)
    shown = text(page(task))
    assert f"Lease epoch 1 Lease ends (UTC) {task.lease_expires_at:%Y-%m-%d %H:%M:%S} To be cancelled no" in shown
    assert "Holder local|finn Held on behalf of –" in shown
    assert 'Progress { "percent": 40 }' in shown
    assert token not in shown
    assert bytes(task.lease_token_hash or b"").hex() not in shown


def test_says_what_is_over() -> None:
    task = lapsed(new_task(deadline=datetime.now(UTC) + timedelta(days=1)))
    shown = text(page(task))
    assert f"Lease ends (UTC) {task.lease_expires_at:%Y-%m-%d %H:%M:%S} (over)" in shown
    assert f"Deadline (UTC) {task.deadline:%Y-%m-%d %H:%M:%S} Work" in shown
    overdue = new_task(deadline=datetime(2020, 1, 1, tzinfo=UTC))
    assert "Deadline (UTC) 2020-01-01 00:00:00 (over)" in text(page(overdue, Browser(person("otto"))))


def test_tells_of_each_attempt_the_newest_first() -> None:
    task, token = held()
    error = {"code": "timeout", "message": "No answer."}
    boundary.write(partial(lease.fail, task, token=token, error=error, retryable=True, actor=somebody("finn")))
    active(task)
    shown = text(page(task))
    first = "1 1 local|finn – "
    assert "failed timeout: No answer." in shown
    assert shown.index("2 2 local|finn – ") < shown.index(first) < shown.index("timeout: No answer.")


def test_shows_its_sessions_as_far_as_the_person_sees_them() -> None:
    task = active()
    seen, unseen = open_session(task=task), open_session(task=task, role="legal", by=somebody("lea"))
    other = open_session()
    shown = page(task).content.decode()
    assert f'href="{SESSIONS}{seen.pk}/change/"' in shown
    assert f'href="{SESSIONS}{unseen.pk}/change/"' in shown
    assert str(other.pk) not in shown
    finn = Browser(person("fiona", roles=("agent", "approver"), agent_roles=("finance",)))
    shown = page(task, finn).content.decode()
    assert (str(seen.pk) in shown, str(unseen.pk) in shown) == (True, False)


def test_shows_no_more_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "LONGEST", 1)
    task = active()
    older, newer = open_session(task=task), open_session(task=task)
    answer = page(task)
    assert "These are the newest 1. Timeline" in text(answer)
    assert "These are the newest 1 events." in text(answer)
    assert (str(older.pk) in text(answer), str(newer.pk) in text(answer)) == (False, True)


def test_a_retry_and_what_it_retries_lead_to_each_other() -> None:
    first, again = retried()
    browser = Browser(person())
    assert f'href="{TASKS}{again.pk}/change/"' in page(first, browser).content.decode()
    assert f'href="{TASKS}{first.pk}/change/"' in page(again, browser).content.decode()
    assert "Retried by" not in text(page(again, browser))


def test_a_session_and_an_event_lead_to_it() -> None:
    task, browser = active(), Browser(person())
    session = open_session(task=task)
    where = f'href="{TASKS}{task.pk}/change/"'
    for path in (f"{SESSIONS}{session.pk}/change/", EVENTS, f"{EVENTS}{last_event(task.pk).pk}/change/"):
        assert where in browser.get(path).content.decode(), path


def test_tells_what_happened() -> None:
    task, browser = completed(), Browser(person())
    shown = text(page(task, browser))
    assert "task.completed active → completed local|finn api –" in shown
    assert shown.index("task.completed") < shown.index("task.claimed") < shown.index("task.created")
    assert f'href="{EVENTS}?q={task.pk}"' in page(task, browser).content.decode()


def test_what_was_refused_is_in_the_trail_that_it_leads_to() -> None:
    task, browser = active(), Browser(person())
    with pytest.raises(Problem):
        boundary.write(partial(lease.release, task, token="stolen", actor=somebody("finn")))
    assert "task.refused" in text(browser.get(f"{EVENTS}?q={task.pk}"))
    assert "task.refused" not in text(page(task, browser))


@pytest.mark.parametrize(("roles", "sees"), [(("auditor",), True), (("operator",), True), (("agent",), False)])
def test_tells_it_to_auditors_and_operators(roles: tuple[str, ...], sees: bool) -> None:
    shown = text(page(active(), Browser(person(roles=roles, agent_roles=("finance",)))))
    assert ("task.claimed" in shown) is sees
    assert ("Auditors and operators see what happened here." in shown) is not sees


def test_what_callers_wrote_is_text() -> None:
    work = {"task_type": HOSTILE, "description": HOSTILE, "to_role": HOSTILE, "from_role": HOSTILE}
    task = pending(data={HOSTILE: HOSTILE}, context={HOSTILE: HOSTILE}, by=somebody(HOSTILE), **work)
    known, token = held(task, by=somebody(HOSTILE, agent_roles=(HOSTILE,)))
    says = partial(lease.heartbeat, known, token=token, progress={"message": HOSTILE}, actor=somebody(HOSTILE))
    boundary.write(says)
    error = {"code": HOSTILE, "message": HOSTILE}
    ends = partial(lease.fail, known, token=token, error=error, retryable=False, actor=somebody(HOSTILE))
    browser = Browser(person())
    for move in (None, ends):
        if move is not None:
            boundary.write(move)
        for path in (TASKS, f"{TASKS}{task.pk}/change/", f"{TASKS}{task.pk}/move/cancel/", EVENTS):
            answer = browser.get(path)
            assert answer.status_code == 200
            assert HOSTILE not in answer.content.decode(), path
            assert "&lt;script&gt;" in answer.content.decode(), path


@pytest.mark.parametrize("state", TASKS_IN)
def test_offers_the_legal_moves(state: str) -> None:
    assert buttons(page(TASKS_IN[state]())) == OFFERED[state]


@pytest.mark.parametrize("state", TASKS_IN)
def test_offers_whoever_made_it_to_cancel_it_and_nothing_else(state: str) -> None:
    mona = Browser(person("mona", roles=("agent", "approver"), agent_roles=("manager",)))
    assert buttons(page(TASKS_IN[state](), mona)) == [name for name in OFFERED[state] if name == "cancel"]


@pytest.mark.parametrize("roles", [("auditor",), ("agent",), ("auditor", "approver", "agent")])
def test_offers_nothing_to_those_who_may_only_look(roles: tuple[str, ...]) -> None:
    browser = Browser(person(roles=roles, agent_roles=("finance",)))
    for state in ("active", "failed"):
        answer = page(TASKS_IN[state](), browser)
        assert answer.status_code == 200
        assert buttons(answer) == []


def test_what_is_not_theirs_to_see_looks_missing() -> None:
    foreign, browser = pending(by=manager("acme")), Browser(person())
    approver = Browser(person("petra", roles=("approver",), agent_roles=("finance",)))
    answers = [browser.get(f"{TASKS}{pk}/change/") for pk in (foreign.pk, UNKNOWN_ID)]
    answers.append(page(pending(), approver))
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert len({text(answer).replace(answer["X-Request-Id"], "") for answer in answers}) == 1


@pytest.mark.parametrize("form", ["change/", "delete/", "history/"])
def test_nothing_is_edited_deleted_or_added(form: str) -> None:
    task, browser = completed(), Browser(person(is_superuser=True))
    with unchanged(task.pk, Task):
        fields = {"to_role": "legal", "status": "active", "data": "{}", "post": "yes"}
        for path in (f"{TASKS}{task.pk}/{form}", f"{TASKS}add/"):
            answer = browser.send(path, fields, token_of="/admin/")
            assert answer.status_code in (302, 403), path
        browser.tick(TASKS, "delete_selected", task.pk, post="yes")
    assert Task.objects.count() == 1


def test_takes_the_row_and_what_belongs_to_it() -> None:
    task, browser = active(), Browser(person())
    open_session(task=task)
    page(task, browser)
    shown = ("django_session", "people_person", "tasks", "audit_events", "approvals", "task_attempts", "sessions")
    with statements(*shown):
        assert page(task, browser).status_code == 200
    first, _again = retried()
    with statements(*shown, "tasks", "tasks"):
        assert page(first, browser).status_code == 200
