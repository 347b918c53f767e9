"""POST /approvals/{id}/cancel"""

from typing import Any

import pytest

from tests.api import Api, errors, token
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    PAST,
    SETTLED,
    agent_for,
    agree,
    ask,
    ask_at_creation,
    asker,
    manager,
    nothing_but_refused,
    nothing_moves,
    now,
    problem_of,
    question,
    task_id,
    task_of,
    where,
)
from tests.sessions_app.session_calls import UNKNOWN_ID, events_of, last_event
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_required_one_is_asked_no_more_and_the_task_that_waited_is_cancelled() -> None:
    _, (approval,) = ask_at_creation(question())
    answer = asker("mona", agent_roles="manager").post(
        where(approval, "cancel"), {"reason": "The offer was withdrawn."}
    )
    assert answer.status_code == 200, answer.content
    said = answer.json()
    assert (said["status"], said["version"], said["allowed_transitions"]) == ("cancelled", 2, [])
    assert (said["decisions"], said["decision_at"]) == ([], None)
    assert answer.headers["ETag"] == '"2"'
    task = task_of(approval)
    called_off, cancelled = last_event(approval.pk), last_event(task.pk)
    assert (called_off.event_type, called_off.reason) == ("approval.cancelled", "The offer was withdrawn.")
    assert (cancelled.event_type, cancelled.cause) == ("task.cancelled", called_off.pk)
    assert (task.status, task.error) == ("cancelled", None)
    assert_chain_holds(approval)
    assert_chain_holds(task)


def test_one_that_was_added_is_asked_no_more_and_the_task_goes_on(agent: Api) -> None:
    approval = ask()
    assert agent.post(where(approval, "cancel"), {"reason": "Not needed."}).json()["status"] == "cancelled"
    called_off, unblocked = last_event(approval.pk), last_event(task_id(approval))
    assert (unblocked.event_type, unblocked.cause) == ("task.unblocked", called_off.pk)
    assert task_of(approval).status == "pending"
    assert_chain_holds(task_of(approval))


def test_a_task_that_waits_for_another_goes_on_waiting() -> None:
    task, (first, second) = ask_at_creation(question(), question("board"))
    mona = asker("mona", agent_roles="manager")
    assert mona.post(where(first, "cancel"), {}).json()["status"] == "cancelled"
    assert task_of(first).status == "blocked"
    assert [event.event_type for event in events_of(task.pk)] == ["task.created"]
    mona.post(where(second, "cancel"), {})
    assert task_of(first).status == "cancelled"


def test_the_one_granted_before_does_not_let_it_go_on() -> None:
    _, (first, second) = ask_at_creation(question(), question("board"))
    agree(first)
    asker("mona", agent_roles="manager").post(where(second, "cancel"), {})
    assert (now(first).status, task_of(first).status) == ("approved", "cancelled")


def test_a_held_task_stays_with_its_holder() -> None:
    task = task_states.active()
    asker().post(where(ask(task), "cancel"), {})
    after = task_of(ask(task))
    assert (after.status, after.version, after.holder) == ("active", task.version, task.holder)


def test_it_may_be_called_off_after_some_agreed(agent: Api) -> None:
    approval = agree(ask(required_approvals=2))
    answer = agent.post(where(approval, "cancel"), {})
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert [said["decider"] for said in answer.json()["decisions"]] == ["local|petra"]
    assert_chain_holds(approval)


@pytest.mark.parametrize("body", [None, {}, {"reason": None}, {"reason": ""}])
def test_needs_no_reason(agent: Api, body: Any) -> None:
    approval = ask()
    assert agent.post(where(approval, "cancel"), body).status_code == 200
    assert last_event(approval.pk).reason == ""


@pytest.mark.parametrize("reason", [1, "x" * 4001])
def test_refuses_a_reason_that_is_none(agent: Api, reason: Any) -> None:
    approval = ask()
    with nothing_moves():
        answer = agent.post(where(approval, "cancel"), {"reason": reason})
    assert (answer.status_code, list(errors(answer))) == (400, ["reason"])


@pytest.mark.parametrize("state", SETTLED)
def test_what_is_settled_stays_so(agent: Api, state: str) -> None:
    approval = SETTLED[state]()
    with nothing_moves():
        answer = agent.post(where(approval, "cancel"), {})
    said = problem_of(answer, 409, "illegal-transition")
    assert (said["from"], said["to"], said["allowed"]) == (state, "cancelled", [])


def test_past_its_time_it_can_only_expire(agent: Api) -> None:
    approval = ask(lasting=PAST)
    with nothing_but_refused(("alice", "cancel", "approval-expired")):
        answer = agent.post(where(approval, "cancel"), {})
    said = problem_of(answer, 409, "approval-expired")
    assert (said["from"], said["to"], said["allowed"]) == ("pending", "cancelled", ["expired"])


def test_cancels_the_version_that_was_seen(agent: Api) -> None:
    approval = agree(ask(required_approvals=2))
    with nothing_moves():
        answer = agent.post(where(approval, "cancel"), {}, If_Match='"1"')
    assert problem_of(answer, 412, "precondition-failed")["current_version"] == 2
    assert agent.post(where(approval, "cancel"), {}, If_Match='"2"').status_code == 200


def test_whoever_asked_and_operators_call_it_off(operator: Api) -> None:
    assert operator.post(where(ask(), "cancel"), {}).status_code == 200
    assert asker().post(where(ask(), "cancel"), {}).status_code == 200
    by_bot = ask(by=agent_for("anna"))
    assert asker("anna", act_subject="bot").post(where(by_bot, "cancel"), {}).status_code == 200


def test_nobody_else_calls_it_off() -> None:
    approval = ask(task_states.active(), by=agent_for("anna"))
    for caller, status in (
        (manager(), 403),
        (Api(token("bot", "approver,auditor", "manager")), 403),
        (Api(token("otto", "auditor")), 403),
        (asker("finn"), 403),
        (asker("anna"), 404),
        (asker("mona", agent_roles="manager"), 404),
        (Api(token("olga", "operator", "", tenant="acme")), 404),
    ):
        with nothing_moves():
            answer = caller.post(where(approval, "cancel"), {})
        problem_of(answer, status, "forbidden" if status == 403 else "not-found")


def test_there_is_no_approval_that_was_never_asked(agent: Api) -> None:
    problem_of(agent.post(f"/approvals/{UNKNOWN_ID}/cancel", {}), 404, "not-found")
    assert agent.post("/approvals/1/cancel", {}).status_code == 400
