"""POST /tasks/claim by one who decided about the task: whoever allows it does not do it, and the other way round."""

from functools import partial
from typing import Any

import pytest

from orchestrator import boundary
from sessions_app.models import Approval, Task
from sessions_app.transitions import lease
from tests.api import Api, token
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    agent_for,
    agree,
    ask,
    ask_at_creation,
    question,
    refuse,
    task_id,
    task_of,
)
from tests.sessions_app.session_calls import somebody

pytestmark = pytest.mark.django_db(transaction=True)


def both(name: str = "petra", **options: Any) -> Api:
    """An approver of the role manager, who does the work of the role finance too."""
    return Api(token(name, "agent,approver", "finance,manager", **options))


def claimed(caller: Api, **body: Any) -> list[str]:
    answer = caller.post("/tasks/claim", {"roles": ["finance"], **body})
    assert answer.status_code == 200, answer.content
    return [str(task["task_id"]) for task in answer.json()["tasks"]]


def test_whoever_agreed_to_a_task_is_not_given_it() -> None:
    approval = agree(ask())
    assert claimed(both(), max=10) == []
    assert claimed(both("max")) == [str(approval.task_id)]


def test_nor_is_an_operator_who_agreed() -> None:
    agree(ask(), "olga")
    assert claimed(Api(token("olga", "operator,approver", "manager"))) == []


def test_nor_is_an_agent_on_behalf_of_whoever_agreed() -> None:
    approval = agree(ask())
    assert claimed(Api(token("petra", act_subject="bot"))) == []
    assert claimed(Api(token("paula", act_subject="bot"))) == [str(approval.task_id)]


def test_nor_is_one_of_several_who_agreed_nor_one_who_was_outvoted_in_mid_work(operator: Api) -> None:
    agree(ask(required_approvals=2), "petra", "max")
    assert (claimed(both()), claimed(both("max"))) == ([], [])
    task, _ = task_states.held(by=somebody("frank"))
    refuse(ask(task, by=somebody("frank")), "paul")
    assert operator.post(f"/tasks/{task.pk}/force-release", {"reason": "it hangs"}).status_code == 200
    assert str(task.pk) not in claimed(both("paul"), max=10)


def test_what_they_decided_about_does_not_stand_before_what_they_may_do() -> None:
    for _ in range(3):
        agree(ask(task_states.pending(priority=9)))
    other = task_states.pending(priority=0)
    assert claimed(both()) == [str(other.pk)]


def test_whoever_agreed_to_another_task_is() -> None:
    agree(ask())
    task, (approval,) = ask_at_creation(question())
    agree(approval, "max")
    assert claimed(both()) == [str(task.pk)]


def test_whoever_agreed_to_the_task_that_it_retries_is(operator: Api) -> None:
    first = task_states.failed(task_of(agree(ask())))
    again = operator.post(f"/tasks/{first.pk}/retry", {"reason": "again"}).json()["task_id"]
    agree(Approval.objects.get(task=again), "max")
    assert claimed(both()) == [again]


def test_it_is_looked_for_under_the_lock_besides() -> None:
    """Whoever decides while they claim: the queue was read before the decision was there."""
    approval = agree(ask())
    rows = Task.objects.filter(pk=task_id(approval))
    for actor in (somebody("petra"), agent_for("petra")):
        assert boundary.write(partial(lease.claim, rows, actor=actor, lasting=task_states.MINUTE)) == []
    assert (task_of(approval).status, task_of(approval).version) == ("pending", 3)
    (grant,) = boundary.write(lambda: lease.claim(rows, actor=somebody("max"), lasting=task_states.MINUTE))
    assert grant.task.pk == approval.task_id
