"""Eight people who do everything to a few approvals, all at once: none of them waits in a circle."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from orchestrator import boundary
from orchestrator.problems import Problem
from sessions_app.duties import DEADLINE_DUTIES, EXPIRE_APPROVALS, EXPIRE_SESSIONS, LEASE_DUTIES
from sessions_app.models import Approval, Session, Task
from sessions_app.sweeping import sweep
from sessions_app.transitions import person
from tests.api import Api
from tests.concurrency.approvals import assert_approvals_hold, identity, operator
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
REFUSED = {400, 401, 403, 404, 409}
"""What those are told who come too late, or to what is gone, or must not, or are cut off."""
ALWAYS = {"create", "ask", "ask alone", "approve", "claim", "cut off", "link"}
"""What succeeds for someone in every run."""
ACTIONS = [{**ACTION, "amount": amount} for amount in (1, 2, 3)]


class Caller:
    """Somebody who may do everything, and does this and that, as chance has it, to whatever is there."""

    def __init__(self, number: int, seed: int) -> None:
        self._api = Api(bearer(f"caller-{number}", "agent,approver", "finance,manager,board"))
        self._chance, self._held = random.Random(seed), list[dict[str, Any]]()
        self.answers: list[tuple[str, int]] = []

    def run(self) -> None:
        for _ in range(STRETCH):
            self.act()

    def act(self) -> None:
        acts = [self.decide] * 8 + [self.ask] * 3 + [self.ask_alone] * 3 + [self.create] * 3 + [self.claim] * 2
        acts += [self.take_back, self.withdraw, self.consume, self.consume, self.expire, self.sweep, self.end]
        acts += [self.cancel, self.delete, self.end_session, self.reopen, self.replace, self.cut_off, self.link]
        self._chance.choice(acts)()

    def told(self, verb: str, answer: Any) -> Any:
        self.answers.append((verb, answer.status_code))
        return answer

    def wrote(self, verb: str, work: Callable[[], Any]) -> None:
        """What an operator does who has no way to it by API."""
        try:
            boundary.write(work)
        except Problem as refusal:
            self.answers.append((verb, refusal.status))
        else:
            self.answers.append((verb, 200))

    def task(self, *states: str) -> Task | None:
        rows = list(Task.objects.filter(status__in=states))
        return self._chance.choice(rows) if rows else None

    def session(self) -> Session | None:
        rows = list(Session.objects.filter(status__in=["pending", "active"]))
        return self._chance.choice(rows) if rows else None

    def approval(self, status: str) -> Approval | None:
        rows = list(Approval.objects.filter(status=status))
        return self._chance.choice(rows) if rows else None

    def other(self) -> str:
        return f"caller-{self._chance.randrange(CALLERS)}"

    def create(self) -> None:
        if Task.objects.filter(status__in=["pending", "blocked", "active"]).count() < FEW:
            action = self._chance.choice(ACTIONS)
            questions = [
                {"approver_role": role, "action": action, "required_approvals": n}
                for n, role in enumerate(["manager", "board"], 1)
            ]
            asked = {"task_type": "purchase", "to_role": "finance", "from_role": "finance", "max_attempts": 2}
            self.told("create", self._api.post("/tasks", {**asked, "requires_approval": questions}))

    def ask(self) -> None:
        if task := self.task("pending", "blocked", "active"):
            body = {"task_id": str(task.pk), "approver_role": "manager", "action": self._chance.choice(ACTIONS)}
            self.told("ask", self._api.post("/approvals", body))

    def ask_alone(self) -> None:
        """Ask about an action: in a session, in a new session, or alone."""
        body = {"approver_role": "manager", "action": self._chance.choice(ACTIONS)}
        session = self._chance.choice([None, self.session()])
        if session is None and self._chance.random() < 0.3:
            self.told("open", self._api.post("/sessions", {"agent_role": "finance"}))
        elif session is not None:
            body["session_id"] = str(session.pk)
        self.told("ask alone", self._api.post("/approvals", body))

    def reopen(self) -> None:
        if former := self.approval("rejected"):
            self.told("reopen", olga().post("/approvals", {**self.same(former), "reopens": str(former.pk)}))

    def replace(self) -> None:
        if former := self.approval("pending"):
            body = {**self.same(former), "approver_role": "board", "replaces": str(former.pk)}
            self.told("replace", olga().post("/approvals", body))

    def same(self, former: Approval) -> dict[str, Any]:
        of = {"task_id": former.task_id, "session_id": former.session_id}
        named = {name: str(pk) for name, pk in of.items() if pk is not None}
        asked = {"approver_role": former.approver_role, "required_approvals": former.required_approvals}
        return {**named, **asked, "action": former.action, "reason": "They are away."}

    def take_back(self) -> None:
        if approval := self.approval("pending"):
            self.told("take back", self._api.post(where(approval, "withdraw"), {}))

    def cut_off(self) -> None:
        """An operator cuts a caller off, and restores them."""
        who = identity(self.other())
        self.wrote("cut off", lambda: person.cut_off(who, actor=operator(), reason="a stolen laptop"))
        self.wrote("restore", lambda: person.restore(who, actor=operator(), reason="found again"))

    def link(self) -> None:
        """An operator links two identities, and undoes that."""
        who, same_as = identity(self.other()), identity(self.other())
        known: Any = {"tenant": "default", "actor": operator(), "reason": "one person"}
        self.wrote("link", lambda: person.link(who, same_as, **known))
        self.wrote("unlink", lambda: person.unlink(who, **known))

    def decide(self) -> None:
        if approval := self.approval("pending"):
            verb = self._chance.choice(["approve", "approve", "approve", "reject"])
            self.told(verb, self._api.post(where(approval, verb), {}))

    def withdraw(self) -> None:
        if approval := self.approval("pending"):
            self.told("withdraw", self._chance.choice([self._api, olga()]).post(where(approval, "cancel")))

    def consume(self) -> None:
        if approval := self.approval("approved"):
            self.told("consume", self._api.post(where(approval, "consume"), {"action": approval.action}))

    def expire(self) -> None:
        """Somebody asks what nobody has time to answer."""
        if task := self.task("pending", "blocked", "active"):
            with suppress(Problem):
                ask(task, lasting=PAST)
        assert sweep(EXPIRE_APPROVALS).poison == {}

    def end_session(self) -> None:
        if session := self.session():
            status = self._chance.choice(["completed", "expired"])
            self.told("end session", self._api.send("PATCH", f"/sessions/{session.pk}", {"status": status}))
        assert sweep(EXPIRE_SESSIONS).poison == {}

    def sweep(self) -> None:
        if task := self.task("active"):
            lapse(task)
        for duty, _ in (*DEADLINE_DUTIES, *LEASE_DUTIES):
            assert sweep(duty).poison == {}

    def claim(self) -> None:
        answer = self.told("claim", self._api.post("/tasks/claim", {"max": self._chance.randint(1, 3)}))
        self._held += answer.json().get("tasks", [])

    def end(self) -> None:
        if self._held:
            task = self._held.pop()
            verb = self._chance.choice(["complete", "fail", "release"])
            error = {"code": "broken", "message": ""}
            failure = {"error": error, "retryable": False} if verb == "fail" else {}
            body = {"lease_token": task["lease"]["token"], **failure}
            self.told(verb, self._api.post(f"/tasks/{task['task_id']}/{verb}", body))

    def cancel(self) -> None:
        if task := self.task("pending", "blocked", "active"):
            self.told("cancel", olga().post(path(task, "cancel")))

    def delete(self) -> None:
        if task := self.task("completed", "failed", "cancelled"):
            self.told("delete", olga().send("DELETE", f"{path(task)}?reason=done"))


def mixed(rounds: int) -> None:
    """Everyone does so many things, all at the same time, a few at a stretch."""
    seed, before = random.randrange(1_000_000), deadlocks()
    callers = [Caller(n, seed + n) for n in range(CALLERS)]
    for _ in range(rounds // STRETCH):
        at_once(*(caller.run for caller in callers))
    came = Counter(answer for caller in callers for answer in caller.answers)
    assert {status for _, status in came} <= DONE | REFUSED, (seed, came)
    assert deadlocks() == before, (seed, came)
    assert {verb for verb, status in came if status in DONE} >= ALWAYS, (seed, came)
    assert_approvals_hold()
    assert_tasks_hold()


def test_eight_who_do_everything_to_a_few_approvals_never_lock_each_other_out() -> None:
    mixed(3 * STRETCH)


@pytest.mark.long
def test_no_circle_of_waiting_closes_in_a_thousand_mixed_rounds() -> None:
    mixed(1_000)
