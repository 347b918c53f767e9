"""What its holder asked about a task moves nothing, wherever the task has gone when it is answered."""

from collections.abc import Callable
from typing import Any

import pytest

from sessions_app.models import Approval, Task
from tests.api import Api
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    PAST,
    agree,
    ask,
    expire,
    now,
    refuse,
    task_of,
    withdraw,
)
from tests.sessions_app.session_calls import events_of, somebody

pytestmark = pytest.mark.django_db(transaction=True)

ANSWERS: dict[str, Callable[[Approval], Any]] = {
    "approved": agree,
    "rejected": refuse,
    "cancelled": lambda approval: withdraw(approval, by=somebody("finn")),
    "expired": expire,
}
answered = pytest.mark.parametrize("answer", ANSWERS)


def asked_in_mid_work(operator: Api, *, late: bool) -> tuple[Task, Approval]:
    """A task whose holder asked, and that was then taken from them."""
    task, _ = task_states.held()
    approval = ask(task, by=somebody("finn"), **({"lasting": PAST} if late else {}))
    assert operator.post(f"/tasks/{task.pk}/force-release", {"reason": "it hangs"}).status_code == 200
    return task, approval


def chain(task: Task) -> list[str]:
    return [event.event_type for event in events_of(task.pk)][3:]


@answered
def test_a_task_that_went_back_stays_where_it_is(answer: str, operator: Api) -> None:
    task, approval = asked_in_mid_work(operator, late=answer == "expired")
    ANSWERS[answer](approval)
    assert (now(approval).status, task_of(approval).status, chain(task)) == (answer, "pending", [])


@answered
def test_a_task_that_waits_for_another_goes_on_waiting(answer: str, operator: Api) -> None:
    task, approval = asked_in_mid_work(operator, late=answer == "expired")
    other = ask(task)
    ANSWERS[answer](approval)
    assert (now(approval).status, task_of(approval).status, now(other).status) == (answer, "blocked", "pending")
    assert chain(task) == ["task.blocked"]
    agree(other, "max")
    assert chain(task) == ["task.blocked", "task.unblocked"]


def test_a_task_that_waited_for_another_goes_on_while_it_is_open(operator: Api) -> None:
    task, approval = asked_in_mid_work(operator, late=False)
    agree(ask(task))
    assert (now(approval).status, task_of(approval).status) == ("pending", "pending")


def test_the_withdrawal_of_all_that_it_waited_for_lets_the_task_go_on_while_it_is_open(operator: Api) -> None:
    task, approval = asked_in_mid_work(operator, late=False)
    withdraw(ask(task))
    assert (now(approval).status, task_of(approval).status) == ("pending", "pending")


def test_yes_to_it_is_no_agreement_to_the_task(operator: Api) -> None:
    task, approval = asked_in_mid_work(operator, late=False)
    other = ask(task, lasting=PAST)
    agree(approval)
    expire(other)
    assert task_of(approval).status == "failed"
