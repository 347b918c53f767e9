"""Whatever happens is an event, whichever way it came in: no word without something that makes it, no other word."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.test import Client, override_settings

from audit_app.models import AuditEvent
from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.actors import job
from orchestrator.people.models import Person
from sessions_app.transitions import person as people
from tests.admin import APPROVALS, PASSWORD, SESSIONS, TASKS, Browser, person
from tests.api import Api, token
from tests.audit_app.seals import Place, findings, run, seal
from tests.sessions_app import approval_calls, task_states
from tests.sessions_app.session_calls import overdue_session, session_in, somebody

pytestmark = pytest.mark.django_db(transaction=True)

ACTION = {"pay": "Hansen Tools"}
REASON, SAID = {"reason": "It has to be."}, {"comments": "Checked."}
SOON = timedelta(seconds=0.5)

# Every word, by every way in by which it comes about.
WORDS = {
    "api": {action for action in Action if not action.startswith(("person.", "audit."))}
    - {Action.APPROVAL_EXPIRED, Action.APPROVAL_DECISION_SET_ASIDE},
    "admin": {
        *(Action.SESSION_ACTIVATED, Action.SESSION_COMPLETED, Action.SESSION_FAILED, Action.SESSION_EXPIRED),
        *(Action.SESSION_REFUSED, Action.TASK_CREATED, Action.TASK_CANCELLED, Action.TASK_CANCEL_REQUESTED),
        *(Action.TASK_FORCE_RELEASED, Action.TASK_REFUSED, Action.TASK_UNBLOCKED, Action.TASK_FAILED),
        *(Action.APPROVAL_VOTED, Action.APPROVAL_APPROVED, Action.APPROVAL_REJECTED, Action.APPROVAL_CANCELLED),
        *(Action.APPROVAL_REFUSED, Action.PERSON_CUT_OFF, Action.PERSON_RESTORED, Action.PERSON_BROKE_GLASS),
        Action.PERSON_RECORDED,
        *(Action.PERSON_PASSWORD_CHANGED, Action.APPROVAL_DECISION_SET_ASIDE),
    },
    "job": {
        *(Action.SESSION_EXPIRED, Action.TASK_FAILED, Action.TASK_CANCELLED, Action.TASK_REQUEUED),
        *(Action.APPROVAL_EXPIRED, Action.APPROVAL_CANCELLED),
    },
}
KEYS = {Action.AUDIT_KEY_CHANGED, Action.AUDIT_KEY_REVOKED}
"""What happens to the keys of the seals; tests/audit_app/test_seal_keys.py has them come about."""
LINKING = {Action.PERSON_RECORDED, Action.PERSON_LINKED, Action.PERSON_UNLINKED}
"""An operator links identities at the command line, as a job of that name."""
LOGINS = {Action.PERSON_LOGGED_IN, Action.PERSON_RIGHTS_CHANGED}
"""By the identity provider: tests/orchestrator/test_login_events.py has them."""


def told(via: str) -> set[str]:
    """The words that came in this way."""
    return set(AuditEvent.objects.filter(via=via).values_list("event_type", flat=True))


def ok(answer: Any) -> dict[str, Any]:
    assert answer.status_code in (200, 201, 202, 204), answer.content
    return dict(answer.json()) if answer.content else {}


def sessions_by_api(agent: Api, operator: Api, auditor: Api) -> None:
    def opened() -> str:
        return f"/sessions/{ok(agent.post('/sessions', {'agent_role': 'finance'}))['session_id']}"

    done = opened()
    for body in ({"status": "active"}, {"metadata": {"n": 1}}, {"status": "completed"}):
        ok(agent.put(done, body))
    failed = opened()
    for status in ("active", "failed"):
        ok(agent.put(failed, {"status": status}))
    ok(agent.put(opened(), {"status": "expired"}))
    assert auditor.put(done, {"status": "active"}).status_code == 403
    ok(operator.send("DELETE", f"{done}?reason=It+is+old."))


def tasks_by_api(agent: Api, operator: Api) -> None:
    def routed(**more: Any) -> str:
        asked = {"task_type": "x", "to_role": "finance", **more}
        return f"/tasks/{ok(agent.post('/tasks', asked))['task_id']}"

    def claimed(**more: Any) -> tuple[str, dict[str, str]]:
        routed(**more)
        (task,) = ok(agent.post("/tasks/claim", {}))["tasks"]
        return f"/tasks/{task['task_id']}", {"lease_token": task["lease"]["token"]}

    error = {"error": {"code": "none", "message": "None."}}
    path, lease = claimed()
    ok(agent.post(f"{path}/release", lease))
    ok(agent.post(f"{path}/cancel", {}))
    path, lease = claimed()
    assert agent.post(f"{path}/complete", {"lease_token": "x" * 43}).status_code == 409
    ok(agent.post(f"{path}/complete", lease))
    ok(operator.send("DELETE", f"{path}?reason=It+is+old."))
    path, lease = claimed(max_attempts=2)
    ok(agent.post(f"{path}/fail", {**lease, **error}))
    path, lease = claimed(max_attempts=1)
    ok(agent.post(f"{path}/fail", {**lease, **error}))
    path, lease = claimed()
    ok(operator.post(f"{path}/force-release", REASON))
    (task,) = ok(agent.post("/tasks/claim", {}))["tasks"]
    ok(agent.post(f"/tasks/{task['task_id']}/cancel", {}))


def approvals_by_api(agent: Api, operator: Api) -> None:
    def asked(**more: Any) -> tuple[str, str]:
        task = ok(agent.post("/tasks", {"task_type": "x", "to_role": "finance"}))["task_id"]
        question = {"task_id": task, "approver_role": "manager", **more}
        return f"/tasks/{task}", f"/approvals/{ok(agent.post('/approvals', question))['approval_id']}"

    mona, max_ = (Api(token(name, "approver", "manager")) for name in ("mona", "max"))
    _, path = asked(required_approvals=2, action=ACTION)
    assert agent.post(f"{path}/approve", {}).status_code == 403
    for verb in ("approve", "withdraw", "approve"):
        ok(mona.post(f"{path}/{verb}", {}))
    ok(max_.post(f"{path}/approve", {}))
    ok(agent.post(f"{path}/consume", {"action": ACTION}))
    task, path = asked()
    ok(mona.post(f"{path}/reject", {}))
    with override_settings(APPROVAL_RETENTION_DAYS=0):
        ok(operator.send("DELETE", f"{task}?reason=It+is+old."))
    _, path = asked()
    ok(agent.post(f"{path}/cancel", {}))


def test_the_api_produces_these_words(agent: Api, operator: Api) -> None:
    sessions_by_api(agent, operator, Api(token("ada", "auditor", "")))
    tasks_by_api(agent, operator)
    approvals_by_api(agent, operator)
    ok(agent.post("/audit/ingest", {"source": "a", "category": "b", "action": "c"}))
    assert told("api") == WORDS["api"]
    assert set(AuditEvent.objects.values_list("via", flat=True)) == {"api"}


def sessions_and_tasks_at_the_admin(olga: Browser, ada: Browser) -> None:
    for state, to in (("pending", "active"), ("active", "completed"), ("active", "failed"), ("active", "expired")):
        olga.move(f"{SESSIONS}{session_in(state).pk}/", to, REASON)
    assert ada.move(f"{SESSIONS}{session_in('active').pk}/", "failed", REASON).status_code == 403
    task = task_states.active()
    assert ada.move(f"{TASKS}{task.pk}/", "cancel", REASON).status_code == 403
    moves = [(task_states.pending(), "cancel"), (task_states.active(), "cancel"), (task, "force-release")]
    for row, name in (*moves, (task_states.failed(), "retry")):
        olga.move(f"{TASKS}{row.pk}/", name, REASON)


def approvals_at_the_admin(olga: Browser) -> None:
    petra, max_ = (Browser(person(name, roles=("approver",), agent_roles=("manager",))) for name in ("petra", "max"))
    both = f"{APPROVALS}{approval_calls.ask(required_approvals=2).pk}/"
    for browser in (petra, petra, max_):
        browser.move(both, "approve", SAID)
    petra.move(f"{APPROVALS}{approval_calls.ask().pk}/", "reject", SAID)
    olga.move(f"{APPROVALS}{approval_calls.ask().pk}/", "cancel", REASON)


def people_at_the_admin(olga: Browser) -> None:
    paul = f"/admin/people/person/{person('paul').pk}"
    approval_calls.agree(approval_calls.ask(required_approvals=2), "paul")
    for act in ("cut-off", "restore"):
        assert olga.send(f"{paul}/{act}/", REASON).status_code == 302
    Person.objects.create_superuser("root", "root@example.com", PASSWORD)
    root = Client()
    entered = root.post("/admin/login/?next=/admin/", {"username": "root", "password": PASSWORD})
    assert entered["Location"] == "/admin/"
    other = {"new_password1": PASSWORD * 2, "new_password2": PASSWORD * 2}
    assert root.post("/admin/password_change/", {"old_password": PASSWORD, **other}).status_code == 302


def test_the_admin_produces_these_words_and_says_who_and_why() -> None:
    olga = Browser(person())
    sessions_and_tasks_at_the_admin(olga, Browser(person("ada", roles=("auditor",))))
    approvals_at_the_admin(olga)
    people_at_the_admin(olga)
    assert told("admin") == WORDS["admin"]
    done = AuditEvent.objects.filter(via="admin", cause=None).exclude(event_type=Action.PERSON_RECORDED)
    for event in done.exclude(actor_subject="root"):
        assert event.actor_subject in ("olga", "ada", "petra", "max")
        assert event.reason in (REASON["reason"], SAID["comments"], "forbidden", "already-decided"), event.event_type


def test_the_housekeeping_produces_these_words_and_names_each_duty() -> None:
    overdue_session("active")
    run("expire_sessions")
    overdue_session("pending")
    task_states.lapsed()
    task_states.undelivered()
    task_states.cancelled(task_states.held(lasting=SOON)[0])
    task_states.lapsed(task_states.pending(max_attempts=1))
    approval_calls.ask(lasting=timedelta(0))
    soon = task_states.pending(deadline=datetime.now(UTC) + SOON)
    approval_calls.ask(soon)
    time.sleep(SOON.total_seconds())
    run("sweep")
    assert told("job") == WORDS["job"]
    done = AuditEvent.objects.filter(via="job")
    assert {event.actor_kind for event in done} == {"job"}
    assert {event.actor_subject for event in done} == {
        *("job:expire_sessions", "job:expire_approvals", "job:fail_overdue_tasks", "job:cancel_unwanted_tasks"),
        *("job:fail_exhausted_tasks", "job:requeue_lapsed_tasks", "job:requeue_lost_deliveries"),
    }
    assert all(event.reason for event in done)


def test_linking_produces_these_words_and_says_why() -> None:
    one, other, command = somebody("petra").identity, somebody("p.anders").identity, job("link_identity")
    linking = partial(people.link, one, other, tenant="default", actor=command, reason="One person.")
    boundary.write(linking)
    boundary.write(partial(people.unlink, one, tenant="default", actor=command, reason="They are two."))
    assert told("job") == LINKING
    assert [event.reason for event in AuditEvent.objects.order_by("seq")] == ["", "One person.", "They are two."]


def test_no_word_is_without_something_that_makes_it() -> None:
    assert set[str]().union(*WORDS.values(), LINKING, KEYS, LOGINS) == set(Action)


def test_all_of_it_verifies_clean(agent: Api, operator: Api, place: Place) -> None:
    sessions_by_api(agent, operator, Api(token("ada", "auditor", "")))
    tasks_by_api(agent, operator)
    approvals_by_api(agent, operator)
    seal()
    assert findings(place) == []
