"""Tasks brought to each state by the production transitions."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django.db.models import F

from orchestrator import boundary
from orchestrator.actors import Actor
from sessions_app.models import Task
from sessions_app.transitions import lease
from sessions_app.transitions import task as transitions
from sessions_app.transitions.task import Work
from tests.sessions_app.session_calls import somebody

MINUTE = timedelta(minutes=1)
ERROR = {"code": "no-statement", "message": "It is not there yet."}


def manager(tenant: str = "default") -> Actor:
    """Whoever routes."""
    return somebody("mona", tenant=tenant, agent_roles=("manager",))


def pending(*, by: Actor | None = None, **work: Any) -> Task:
    """Routed from manager to finance, unless told otherwise."""
    asked = Work(**{"task_type": "routing", "from_role": "manager", "to_role": "finance", **work})
    return boundary.write(lambda: transitions.route(asked, actor=by or manager()))


def held(task: Task | None = None, *, by: Actor | None = None, lasting: timedelta = MINUTE) -> tuple[Task, str]:
    """A task that finn has claimed, and the token."""
    rows = Task.objects.filter(pk=(task or pending()).pk)
    (grant,) = boundary.write(partial(lease.claim, rows, actor=by or somebody("finn"), lasting=lasting))
    return grant.task, grant.token


def active(task: Task | None = None) -> Task:
    """Held by finn."""
    return held(task)[0]


def lapsed(task: Task | None = None) -> Task:
    """Held by finn until just now, and used."""
    row = held(task, lasting=timedelta(0))[0]
    Task.objects.filter(pk=row.pk).update(lease_expires_at=F("lease_expires_at") - timedelta.resolution)
    return row


def undelivered(task: Task | None = None) -> Task:
    """Held by finn until just now, who never used the token."""
    return held(task, lasting=timedelta(0))[0]


def cancelled(task: Task | None = None) -> Task:
    """Called off by mona."""
    wanted = task or pending()
    return boundary.write(lambda: transitions.cancel(wanted, actor=manager(), reason="not needed"))


def asked() -> Task:
    """Held by finn, and called off by mona."""
    return cancelled(active())


def completed(task: Task | None = None) -> Task:
    """Done by finn."""
    known, token = held(task)
    done = partial(lease.complete, known, token=token, output={"unpaid": 3}, actor=somebody("finn"))
    return boundary.write(done)


def failed(task: Task | None = None) -> Task:
    """Given up by finn, for good."""
    known, token = held(task)
    return boundary.write(partial(lease.fail, known, token=token, error=ERROR, retryable=False, actor=somebody("finn")))


def retried() -> tuple[Task, Task]:
    """A failed task, and the one that retries it."""
    first = failed()
    return first, boundary.write(lambda: transitions.retry(first, actor=manager(), reason="it came"))


TASKS_IN: Mapping[str, Callable[[], Task]] = {
    "pending": pending,
    "active": active,
    "asked": asked,
    "lapsed": lapsed,
    "completed": completed,
    "failed": failed,
    "retried": lambda: retried()[0],
    "cancelled": cancelled,
}
"""The ways a task can be, as people who move tasks tell them apart."""
