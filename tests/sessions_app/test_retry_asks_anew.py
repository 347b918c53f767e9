"""POST /tasks/{id}/retry of a task that had to wait: what was agreed to was that task, and not this one."""

from datetime import timedelta
from uuid import UUID

import pytest

from sessions_app.models import Approval, Task
from tests.api import Api, token
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    PAST,
    agree,
    ask,
    ask_at_creation,
    digest,
    expire,
    manager,
    now,
    problem_of,
    question,
    refuse,
    task_of,
    where,
)
from tests.sessions_app.session_calls import events_of
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

KEPT = ("approver_role", "reason", "required_approvals", "action", "blocks")


def retried(operator: Api, task: Task) -> Task:
    answer = operator.post(f"/tasks/{task.pk}/retry", {"reason": "again"})
    assert answer.status_code == 201, answer.content
    return Task.objects.get(pk=UUID(answer.json()["task_id"]))


def asked_about(task: Task) -> list[Approval]:
    return list(Approval.objects.filter(task=task).order_by("created_at", "pk"))


def test_what_was_refused_is_asked_again(operator: Api) -> None:
    refused = refuse(
        ask(reason="Above the limit.", required_approvals=2, action=ACTION, lasting=timedelta(hours=3)), comments="No."
    )
    again = retried(operator, task_of(refused))
    assert again.status == "blocked"
    (asked,) = asked_about(again)
    assert [getattr(asked, name) for name in KEPT] == [getattr(refused, name) for name in KEPT]
    assert digest(asked) == digest(refused)
    assert asked.expires_at - asked.created_at == timedelta(hours=3)
    assert (asked.status, asked.granted, asked.notes, asked.version) == ("pending", 0, "", 1)
    assert str(asked.created_by) == "local|olga"
    (made,), (created,) = events_of(again.pk), events_of(asked.pk)
    assert (made.to_status, created.cause) == ("blocked", made.pk)
    assert_chain_holds(asked)
    assert (now(refused).status, now(refused).version) == ("rejected", 2)


def test_all_is_asked_again_that_it_had_to_wait_for(operator: Api) -> None:
    _, (granted, expired, closed) = ask_at_creation(question(), question("board", lasting=PAST), question("legal"))
    agree(granted)
    expire(expired)
    again = retried(operator, task_of(closed))
    assert [asked.approver_role for asked in asked_about(again)] == ["manager", "board", "legal"]
    assert {asked.status for asked in asked_about(again)} == {"pending"}


def test_what_was_agreed_to_counts_for_the_first_task_alone(operator: Api) -> None:
    task, (approval,) = ask_at_creation(question(action=ACTION))
    agree(approval)
    again = retried(operator, task_states.failed(task))
    assert again.status == "blocked"
    (asked,) = asked_about(again)
    assert asked.pk != approval.pk
    manager("max").post(where(asked, "approve"), {})
    assert Task.objects.get(pk=again.pk).status == "pending"


def test_what_its_holder_asked_is_not_asked_again(operator: Api) -> None:
    task, lease_token = task_states.held()
    agree(ask(task))
    body = {"lease_token": lease_token, "error": task_states.ERROR, "retryable": False}
    assert Api(token("finn")).post(f"/tasks/{task.pk}/fail", body).status_code == 200
    again = retried(operator, task)
    assert (again.status, asked_about(again)) == ("pending", [])


def test_a_retry_of_a_retry_asks_once_more(operator: Api) -> None:
    first = retried(operator, task_of(refuse(ask())))
    (asked,) = asked_about(first)
    second = retried(operator, task_of(refuse(asked, "max")))
    assert [one.status for one in asked_about(second)] == ["pending"]


def test_who_asked_first_must_not_agree_to_what_an_operator_asks_again(operator: Api) -> None:
    alice = Api(token("alice", "approver", "manager"))
    first = ask()
    problem_of(alice.post(where(first, "approve"), {}), 403, "separation-of-duties")
    (asked,) = asked_about(retried(operator, task_of(refuse(first))))
    problem_of(alice.post(where(asked, "approve"), {}), 403, "separation-of-duties")
    assert manager("max").post(where(asked, "approve"), {}).status_code == 200


def test_whoever_retries_has_asked_and_must_not_decide() -> None:
    both = Api(token("olga", "operator,approver", "manager"))
    again = retried(both, task_of(refuse(ask())))
    (asked,) = asked_about(again)
    problem_of(both.post(where(asked, "approve"), {}), 403, "separation-of-duties")
    assert manager().post(where(asked, "approve"), {}).status_code == 200
