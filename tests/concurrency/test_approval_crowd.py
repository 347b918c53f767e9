"""Eight people who ask, decide, withdraw, use, expire and end, all at once: nobody waits for anybody in a circle."""

import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from orchestrator.problems import Problem
from sessions_app.duties import EXPIRE_APPROVALS, TASK_DUTIES
from sessions_app.models import Approval, Task
from sessions_app.sweeping import sweep
from tests.api import Api
from tests.concurrency.approvals import assert_approvals_hold
from tests.concurrency.racing import at_once, bearer, olga
from tests.concurrency.tasks import assert_tasks_hold, lapse, path
from tests.concurrency.test_task_crowd import deadlocks
from tests.sessions_app.approval_calls import ACTION, PAST, ask, where

pytestmark = pytest.mark.django_db(transaction=True)

CALLERS = 8
FEW = 4
"""How many tasks are open at a time, or a few more."""
STRETCH = 10
DONE = {200, 201, 202, 204}
REFUSED = {400, 403, 404, 409}
"""What those are told who come too late, or to what is gone, or must not."""


class Caller:
    """Somebody who may do everything, and does this and that, as chance has it, to whatever is there."""

    def __init__(self, number: int, seed: int) -> None:
        self._api = Api(bearer(f"caller-{number}", "agent,approver", "finance,manager"))
        self._chance, self._held = random.Random(seed), list[dict[str, Any]]()
        self.answers: list[tuple[str, int]] = []

    def run(self) -> None:
        for _ in range(STRETCH):
            self.act()

    def act(self) -> None:
        acts = [self.decide] * 6 + [self.ask] * 3 + [self.create] * 2 + [self.claim] * 2
        acts += [self.withdraw, self.consume, self.consume, self.expire, self.sweep, self.end, self.cancel, self.delete]
        self._chance.choice(acts)()

    def told(self, verb: str, answer: Any) -> Any:
        self.answers.append((verb, answer.status_code))
        return answer

    def task(self, *states: str) -> Task | None:
        rows = list(Task.objects.filter(status__in=states))
        return self._chance.choice(rows) if rows else None

    def approval(self, status: str) -> Approval | None:
        rows = list(Approval.objects.filter(status=status))
        return self._chance.choice(rows) if rows else None

    def create(self) -> None:
        if Task.objects.filter(status__in=["pending", "blocked", "active"]).count() < FEW:
            questions = [{"approver_role": "manager", "action": ACTION, "required_approvals": n} for n in (1, 2)]
            asked = {"task_type": "purchase", "to_role": "finance", "from_role": "finance", "max_attempts": 2}
            self.told("create", self._api.post("/tasks", {**asked, "requires_approval": questions}))

    def ask(self) -> None:
        if task := self.task("pending", "blocked", "active"):
            body = {"task_id": str(task.pk), "approver_role": "manager", "action": ACTION}
            self.told("ask", self._api.post("/approvals", body))

    def decide(self) -> None:
        if approval := self.approval("pending"):
            verb = self._chance.choice(["approve", "approve", "approve", "reject"])
            self.told(verb, self._api.post(where(approval, verb), {}))

    def withdraw(self) -> None:
        if approval := self.approval("pending"):
            self.told("withdraw", self._chance.choice([self._api, olga()]).post(where(approval, "cancel")))

    def consume(self) -> None:
        if approval := self.approval("approved"):
            self.told("consume", self._api.post(where(approval, "consume"), {"action": ACTION}))

    def expire(self) -> None:
        """Somebody asks what nobody has time to answer."""
        if task := self.task("pending", "blocked", "active"):
            with suppress(Problem):
                ask(task, lasting=PAST)
        assert sweep(EXPIRE_APPROVALS).poison == {}

    def sweep(self) -> None:
        if task := self.task("active"):
            lapse(task)
        for duty, _ in TASK_DUTIES:
            assert sweep(duty).poison == {}

    def claim(self) -> None:
        answer = self.told("claim", self._api.post("/tasks/claim", {"max": self._chance.randint(1, 3)}))
        self._held += answer.json().get("tasks", [])

    def end(self) -> None:
        if self._held:
            task = self._held.pop()
            verb = self._chance.choice(["complete", "fail", "release"])
            error = {"code": "broken", "message": ""}
            body = {"lease_token": task["lease"]["token"], "error": error, "retryable": False}
            self.told(verb, self._api.post(f"/tasks/{task['task_id']}/{verb}", body))

    def cancel(self) -> None:
        if task := self.task("pending", "blocked", "active"):
            self.told("cancel", olga().post(path(task, "cancel")))

    def delete(self) -> None:
        if task := self.task("completed", "failed", "cancelled"):
            self.told("delete", olga().send("DELETE", path(task)))


def mixed(rounds: int) -> None:
    """Everyone does so many things, all at the same time, a few at a stretch."""
    seed, before = random.randrange(1_000_000), deadlocks()
    callers = [Caller(n, seed + n) for n in range(CALLERS)]
    for _ in range(rounds // STRETCH):
        at_once(*(caller.run for caller in callers))
    came = Counter(answer for caller in callers for answer in caller.answers)
    assert {status for _, status in came} <= DONE | REFUSED, (seed, came)
    assert deadlocks() == before, (seed, came)
    assert {verb for verb, status in came if status in DONE} >= {"create", "ask", "approve", "claim"}, (seed, came)
    assert_approvals_hold()
    assert_tasks_hold()


def test_eight_who_do_everything_to_a_few_approvals_never_lock_each_other_out() -> None:
    mixed(3 * STRETCH)


@pytest.mark.long
def test_no_circle_of_waiting_closes_in_a_thousand_mixed_rounds() -> None:
    mixed(1_000)
