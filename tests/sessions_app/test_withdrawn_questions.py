"""POST /approvals/{id}/cancel while another question is open: those who were asked first are not got round."""

from typing import Any

import pytest

from sessions_app.models import Approval
from tests.api import Api, token
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    agree,
    ask,
    ask_at_creation,
    asker,
    manager,
    now,
    problem_of,
    question,
    refuse,
    task_id,
    task_of,
    where,
    withdraw,
)
from tests.sessions_app.session_calls import events_of, last_event, somebody
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)


def told(approval: Approval) -> tuple[str, str, str]:
    """The state of its task, the last event about that, and its reason."""
    event = last_event(task_id(approval))
    return str(task_of(approval).status), event.event_type, event.reason


CANCELLED = ("cancelled", "task.cancelled", "approval-withdrawn")


def test_an_operator_does_not_get_round_those_who_were_asked_by_asking_others(operator: Api) -> None:
    task, (asked,) = ask_at_creation(question())
    body = {"task_id": str(task.pk), "approver_role": "desk"}
    assert operator.post("/approvals", body).status_code == 201
    assert operator.post(where(asked, "cancel"), {}).status_code == 200
    other = Approval.objects.get(approver_role="desk")
    answer = Api(token("dora", "approver", "desk")).post(where(other, "approve"), {})
    assert (answer.status_code, answer.json()["status"]) == (200, "approved")
    assert told(other) == CANCELLED
    assert last_event(task.pk).cause == last_event(other.pk).pk
    assert_chain_holds(task)


def test_nor_does_whoever_made_the_task() -> None:
    task, (asked,) = ask_at_creation(question())
    mona = asker("mona", agent_roles="manager")
    assert mona.post("/approvals", {"task_id": str(task.pk), "approver_role": "desk"}).status_code == 201
    assert mona.post(where(asked, "cancel"), {}).status_code == 200
    other = agree(Approval.objects.get(approver_role="desk"))
    assert told(other) == CANCELLED


def test_nor_does_an_operator_who_asked_by_retrying(operator: Api) -> None:
    task = task_of(refuse(ask_at_creation(question())[1][0]))
    again = operator.post(f"/tasks/{task.pk}/retry", {"reason": "again"}).json()["task_id"]
    asked = Approval.objects.get(task=again)
    operator.post("/approvals", {"task_id": again, "approver_role": "desk"})
    assert operator.post(where(asked, "cancel"), {}).status_code == 200
    assert told(agree(Approval.objects.get(task=again, approver_role="desk"))) == CANCELLED


def test_one_of_several_that_were_asked_at_once_is_not_answered_by_the_others() -> None:
    _, (first, second) = ask_at_creation(question(), question())
    withdraw(first, by=task_states.manager())
    assert task_of(second).status == "blocked"
    assert told(agree(second)) == CANCELLED


# One person's approval would otherwise answer two requests, and a question with another reason would answer this one.
SAME: dict[str, Any] = {"required_approvals": 2}
WEAKER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the same": ({}, {}),
    "of more people": ({}, {"required_approvals": 3}),
    "with another reason": ({}, {"reason": "The sum was mistyped."}),
    "of others": ({}, {"approver_role": "board"}),
    "of fewer people": ({}, {"required_approvals": 1}),
    "for an action": ({}, {"action": ACTION}),
    "for another action": ({"action": ACTION}, {"action": {**ACTION, "amount": 1}}),
    "for no action": ({"action": ACTION}, {"action": None}),
}


@pytest.mark.parametrize("name", WEAKER)
def test_no_request_but_a_replacement_takes_the_place_of_one_that_was_withdrawn(name: str) -> None:
    asked, instead = WEAKER[name]
    task, (first,) = ask_at_creation(question(**SAME, **asked))
    second = ask(task, **{**SAME, **asked, **instead})
    withdraw(first, by=task_states.manager())
    assert task_of(second).status == "blocked"
    agree(second, *("petra", "max", "paul")[: second.required_approvals])
    assert told(second) == CANCELLED


def test_the_withdrawal_of_both_cancels_the_task() -> None:
    task, (first,) = ask_at_creation(question())
    second = ask(task)
    withdraw(first, by=task_states.manager())
    assert task_of(second).status == "blocked"
    withdraw(second)
    assert told(second) == CANCELLED


def test_a_retry_asks_what_was_withdrawn_as_well(operator: Api) -> None:
    task, (first, second) = ask_at_creation(question(), question("board"))
    withdraw(first, by=task_states.manager())
    refuse(second)
    answer = operator.post(f"/tasks/{task.pk}/retry", {"reason": "again"})
    asked = Approval.objects.filter(task=answer.json()["task_id"]).order_by("pk")
    assert [one.approver_role for one in asked] == ["manager", "board"]


def test_a_request_that_was_added_and_withdrawn_ends_no_task(operator: Api) -> None:
    """Who may ask about a pending task is who made it, who may claim it and an operator."""
    for name, caller in (
        ("mona", asker("mona", agent_roles="manager")),
        ("alice", asker()),
        ("olga", operator),
    ):
        task = task_states.pending()
        asked = caller.post("/approvals", {"task_id": str(task.pk), "approver_role": "manager"})
        assert caller.post(f"/approvals/{asked.json()['approval_id']}/cancel", {}).status_code == 200
        assert [event.event_type for event in events_of(task.pk)][-2:] == ["task.blocked", "task.unblocked"]
        assert last_event(task.pk).actor_subject == name
        assert _ends_without(caller, task)
    for stranger in (asker("rita", agent_roles="research"), manager("max"), Api(token("audra", "auditor", ""))):
        task = task_states.pending()
        answer = stranger.post("/approvals", {"task_id": str(task.pk), "approver_role": "manager"})
        assert answer.status_code in (400, 403)
        assert not _ends_without(stranger, task)


def _ends_without(caller: Api, task: Any) -> bool:
    if caller.post(f"/tasks/{task.pk}/cancel", {}).status_code == 200:
        return True
    claimed = caller.post("/tasks/claim", {"roles": ["finance"], "max": 10})
    for held in claimed.json().get("tasks", []):
        if held["task_id"] == str(task.pk):
            body = {"lease_token": held["lease"]["token"], "error": task_states.ERROR, "retryable": False}
            return bool(caller.post(f"/tasks/{task.pk}/fail", body).json()["status"] == "failed")
    return False


def test_an_agent_that_asked_beside_another_ends_nothing(operator: Api) -> None:
    _, (asked,) = ask_at_creation(question())
    other = ask(task_of(asked), by=somebody("bob"))
    assert asker("bob").post(where(other, "cancel"), {}).status_code == 200
    assert (task_of(asked).status, now(asked).status) == ("blocked", "pending")
    problem_of(asker("bob").post(f"/tasks/{asked.task_id}/cancel", {}), 403, "forbidden")
