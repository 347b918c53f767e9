"""Eight callers who do everything at once to a few tasks: nobody waits for anybody in a circle, and nothing fails."""

import random
from collections import Counter
from typing import Any

import pytest

from sessions_app.duties import DEADLINE_DUTIES, LEASE_DUTIES
from sessions_app.models import Task
from sessions_app.sweeping import sweep
from tests.api import Api
from tests.concurrency.racing import at_once, bearer, olga
from tests.concurrency.tasks import assert_tasks_hold, lapse, path
from tests.database import superuser_connection

pytestmark = pytest.mark.django_db(transaction=True)

CALLERS = 8
ROUNDS = 40
"""How many calls each makes."""
ERROR = {"code": "broken", "message": ""}
FEW = 4
"""How many tasks there are at a time, or a few more."""


class Caller:
    """Somebody who does this and that, as chance has it, to whatever is there."""

    def __init__(self, number: int, seed: int) -> None:
        self._api = Api(bearer(f"caller-{number}"))
        self._chance, self._held = random.Random(seed), list[dict[str, Any]]()
        self.answers: list[tuple[str, int]] = []

    def run(self) -> None:
        acts = [self.claim, self.claim, self.end, self.end, self.keep, self.cancel, self.sweep, self.steer, self.retry]
        acts += [self.delete, self.open, self.point]
        for _ in range(ROUNDS):
            self._chance.choice(acts)()

    def told(self, verb: str, answer: Any) -> Any:
        self.answers.append((verb, answer.status_code))
        return answer

    def some(self, **filters: Any) -> Task | None:
        rows = list(Task.objects.filter(**filters))
        return self._chance.choice(rows) if rows else None

    def claim(self) -> None:
        if Task.objects.filter(status__in=["pending", "active"]).count() < FEW:
            asked = {"task_type": "routing", "to_role": "finance", "max_attempts": 2}
            self.told("create", olga().post("/tasks", asked))
        answer = self.told("claim", self._api.post("/tasks/claim", {"max": self._chance.randint(1, 3)}))
        self._held += answer.json().get("tasks", [])

    def end(self) -> None:
        if self._held:
            task = self._held.pop()
            verb = self._chance.choice(["complete", "fail", "release"])
            failure = {"error": ERROR, "retryable": False} if verb == "fail" else {}
            body = {"lease_token": task["lease"]["token"], **failure}
            self.told(verb, self._api.post(f"/tasks/{task['task_id']}/{verb}", body))

    def keep(self) -> None:
        if self._held:
            task = self._chance.choice(self._held)
            body = {"lease_token": task["lease"]["token"]}
            self.told("heartbeat", self._api.post(f"/tasks/{task['task_id']}/heartbeat", body))

    def cancel(self) -> None:
        if task := self.some(status__in=["pending", "active"]):
            self.told("cancel", olga().post(path(task, "cancel")))

    def sweep(self) -> None:
        if task := self.some(status="active"):
            lapse(task)
        for duty, _ in (*DEADLINE_DUTIES, *LEASE_DUTIES):
            assert sweep(duty).poison == {}

    def steer(self) -> None:
        if task := self.some(status="active"):
            self.told("force-release", olga().post(path(task, "force-release"), {"reason": "it hangs"}))

    def retry(self) -> None:
        if task := self.some(status="failed"):
            self.told("retry", olga().post(path(task, "retry")))

    def delete(self) -> None:
        if task := self.some(status__in=["completed", "failed", "cancelled"]):
            self.told("delete", olga().send("DELETE", f"{path(task)}?reason=over"))

    def open(self) -> None:
        if task := self.some():
            self.told("open", self._api.post("/sessions", {"agent_role": "finance", "task_id": str(task.pk)}))

    def point(self) -> None:
        """One session comes to point from one task to another."""
        sessions = self._api.get("/sessions?page_size=5&status=pending").json()["sessions"]
        if sessions and (task := self.some()):
            where = f"/sessions/{self._chance.choice(sessions)['session_id']}"
            self.told("point", self._api.put(where, {"task_id": str(task.pk)}))


# Any task may be gone, by the time it is called for.
EXPECTED = {
    "create": {201},
    "claim": {200},
    "complete": {200, 404, 409},
    "fail": {200, 404, 409},
    "release": {200, 404, 409},
    "heartbeat": {200, 404, 409},
    "cancel": {200, 404, 409},
    "force-release": {200, 404, 409},
    "retry": {201, 404, 409},
    "delete": {204, 404, 409},
    "open": {201, 400},
    "point": {200, 400},
}


def deadlocks() -> int:
    with superuser_connection() as beside:
        beside.execute("SELECT pg_stat_force_next_flush()")
        row = beside.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert row is not None
    return int(row[0])


def test_eight_callers_who_do_everything_to_a_few_tasks_never_lock_each_other_out() -> None:
    seed = random.randrange(1_000_000)
    before = deadlocks()
    callers = [Caller(n, seed + n) for n in range(CALLERS)]
    at_once(*(caller.run for caller in callers))
    came = Counter(answer for caller in callers for answer in caller.answers)
    unexpected = {answer for answer in came if answer[1] not in EXPECTED[answer[0]]}
    assert unexpected == set(), (seed, came)
    assert {("claim", 200), ("cancel", 200), ("open", 201)} <= came.keys()
    assert any(came[verb, 200] for verb in ("complete", "fail", "release"))
    assert deadlocks() == before
    assert_tasks_hold()
