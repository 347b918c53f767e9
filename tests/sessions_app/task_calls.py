"""Making tasks through the production transitions, shifting their times, and looking at what a call leaves of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import connection

from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.actors import Actor
from sessions_app.models import Attempt, Task
from sessions_app.transitions import lease
from sessions_app.transitions import task as transitions
from sessions_app.transitions.change import change
from sessions_app.transitions.task import Work
from tests.api import Api, token
from tests.database import without_trigger
from tests.sessions_app.session_calls import somebody
from tests.work import chain, events

STATES = ("pending", "blocked", "active", "completed", "failed", "cancelled")
TERMINAL = ("completed", "failed", "cancelled")
LEGAL = {
    "pending": ["blocked", "active", "failed", "cancelled"],
    "blocked": ["pending", "failed", "cancelled"],
    "active": ["pending", "completed", "failed", "cancelled"],
    "completed": [],
    "failed": [],
    "cancelled": [],
}
ERROR = {"code": "no-access", "message": "The ledger is closed."}
CALLS: dict[str, dict[str, Any]] = {
    "heartbeat": {"progress": {"percent": 40}},
    "complete": {"output": {"unpaid": 3}},
    "fail": {"error": ERROR},
    "release": {},
}
"""What a holder calls, each with what it sends beside the token."""

ENDING = ("complete", "fail", "release")
MONA = somebody("mona", agent_roles=("manager",))
FINN = somebody("finn")
MINUTE = timedelta(minutes=1)


def mona() -> Api:
    """An agent of the role manager, who routes the tasks here."""
    return Api(token("mona", agent_roles="manager"))


def finn() -> Api:
    """An agent of the role finance, who holds what is held here."""
    return Api(token("finn"))


@dataclass(frozen=True)
class Held:
    """A claimed task and its token."""

    task: Task
    token: str

    def body(self, verb: str, **fields: Any) -> dict[str, Any]:
        """What its holder sends with a call."""
        return {"lease_token": self.token, **CALLS[verb], **fields}


def routed(*, by: Actor = MONA, **work: Any) -> Task:
    """A pending task from manager to finance, unless told otherwise."""
    asked = Work(**{"task_type": "routing", "from_role": "manager", "to_role": "finance", **work})
    return boundary.write(partial(transitions.route, asked, actor=by))


def claimed(task: Task | None = None, *, by: Actor = FINN, lasting: timedelta = MINUTE, **work: Any) -> Held:
    """A task that somebody holds."""
    wanted = task or routed(**work)
    rows = Task.objects.filter(pk=wanted.pk)
    [grant] = boundary.write(partial(lease.claim, rows, actor=by, lasting=lasting))
    return Held(grant.task, grant.token)


def task_in(state: str, *, by: Actor = FINN, maker: Actor = MONA, **work: Any) -> Task:
    """A task, brought to a state by legal moves."""
    task = routed(by=maker, **work)
    if state == "pending":
        return task
    if state == "blocked":
        return _blocked(task)
    if state == "cancelled":
        return boundary.write(partial(transitions.cancel, task, actor=maker))
    held = claimed(task, by=by)
    if state == "active":
        return held.task
    if state == "completed":
        return boundary.write(partial(lease.complete, held.task, token=held.token, output=None, actor=by))
    return boundary.write(partial(lease.fail, held.task, token=held.token, error=ERROR, retryable=False, actor=by))


def _blocked(task: Task) -> Task:
    def block() -> Task:
        with change(task, Action.TASK_BLOCKED, actor=MONA) as blocked:
            blocked.block()
        return blocked

    return boundary.write(block)


def path(task: Task | Held, verb: str = "") -> str:
    """Where a task is found, or what is called on it."""
    pk = task.task.pk if isinstance(task, Held) else task.pk
    return f"/tasks/{pk}/{verb}" if verb else f"/tasks/{pk}"


def lapse(task: Task) -> None:
    """Let the lease of an active task have run out, as if its holder had been silent for long enough."""
    _shift(task, "lease_expires_at")


def pass_deadline(task: Task) -> None:
    """Let the deadline of a task have passed."""
    with without_trigger("tasks", "tasks_complete_update"):
        _shift(task, "deadline")


def become_due(task: Task) -> None:
    """Let a task's pause be over."""
    with without_trigger("tasks", "tasks_complete_update"):
        _shift(task, "not_before")


def _shift(task: Task, column: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE tasks SET {column} = clock_timestamp() - interval '1 s' WHERE id = %s", [task.pk])
        assert cursor.rowcount == 1


def stored(task: Task) -> Task:
    """The task as the database has it."""
    return Task.objects.get(pk=task.pk)


def attempts(task: Task) -> list[Attempt]:
    """Its ownerships, first to last."""
    return list(Attempt.objects.filter(task_id=task.pk).order_by("epoch"))


def told(task: Task) -> list[str]:
    """The words of its chain, first to last."""
    return [str(event["event_type"]) for event in chain(task)]


def refused(task: Task) -> list[dict[str, Any]]:
    """What was remembered of refused attempts on it, outside its chain."""
    found = events("event_type = 'task.refused' AND subject_id = %s", task.pk)
    assert all(event["seq"] is None for event in found)
    return sorted(found, key=lambda event: event["timestamp"])


def attempted(event: dict[str, Any]) -> dict[str, Any]:
    """What an event says of the attempt that was refused."""
    said = event["metadata"]
    changes: dict[str, Any] = (said if isinstance(said, dict) else json.loads(said))["changes"]
    return changes


@contextmanager
def unchanged(task: Task) -> Iterator[None]:
    """Fails if the block leaves another row, another chain or other attempts."""
    before = _whole(task)
    yield
    assert _whole(task) == before


def _whole(task: Task) -> tuple[Any, ...]:
    rows = [list(model.objects.filter(**{key: task.pk}).values()) for model, key in ((Task, "pk"), (Attempt, "task"))]
    return *rows, told(task)


def assert_problem(answer: Any, status: int, slug: str) -> None:
    """Fails unless it is that refusal."""
    assert (answer.status_code, answer.json().get("type")) == (status, f"/problems/{slug}"), answer.content
