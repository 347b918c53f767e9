"""Tasks to race for, and what holds of every task whatever has happened to it."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

from audit_app import trail
from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.actors import Actor
from orchestrator.clock import database_now
from sessions_app.models import Attempt, Task
from sessions_app.models.recorded import moves
from sessions_app.transitions import lease
from sessions_app.transitions import task as transitions
from sessions_app.transitions.recording import begin
from sessions_app.transitions.task import Work
from tests.concurrency.told import chains_of
from tests.database import superuser_connection
from tests.sessions_app.session_calls import somebody
from tests.work import GENESIS, Event, hash_of

MINUTE = timedelta(minutes=1)
LEGAL = {**moves(Task)}
TERMINAL = {state for state, targets in LEGAL.items() if not targets}
OUTCOMES = {
    "task.completed": {"completed"},
    "task.released": {"released"},
    "task.force_released": {"force-released", "lease-lost", "lost-delivery"},
    "task.requeued": {"failed", "lease-lost", "lost-delivery"},
    "task.failed": {"failed", "released", "force-released", "lease-lost", "deadline-exceeded"},
    "task.cancelled": {"failed", "released", "force-released", "lease-lost", "deadline-exceeded"},
}
"""How an attempt may have ended, by the event that its task left the active state with."""


def manager(tenant: str = "default") -> Actor:
    """Whoever routes."""
    return somebody("mona", tenant=tenant, agent_roles=("manager",))


def routed(*, by: Actor | None = None, to_role: str = "finance", **work: Any) -> Task:
    """A pending task."""
    asked = Work(task_type="routing", from_role="manager", to_role=to_role, **work)
    return boundary.write(lambda: transitions.route(asked, actor=by or manager()))


def many_routed(count: int, *, to_roles: Sequence[str] = ("finance",), deadline: datetime | None = None) -> list[Task]:
    """Pending tasks as routing leaves them, to these roles in turn, of all priorities."""

    def work() -> list[Task]:
        rows, links, actor, at = [], [], manager(), database_now()
        for n in range(count):
            row = Task(task_type="routing", from_role="manager", to_role=to_roles[n % len(to_roles)])
            row.priority, row.deadline = n % 10, deadline
            row.tenant = actor.tenant
            row.created_by_issuer, row.created_by_subject = actor.identity.issuer, actor.identity.subject
            row.now = row.created_at = row.updated_at = at + n * timedelta.resolution
            links.append(begin(row, Action.TASK_CREATED, actor=actor, reason="", cause=None))
            rows.append(row)
        Task.objects.bulk_create(rows)
        trail.record_many(links)
        return rows

    return boundary.write(work)


def held(task: Task | None = None, *, by: str = "finn", lasting: timedelta = MINUTE) -> tuple[Task, str]:
    """A task that somebody has claimed, and the token."""
    rows = Task.objects.filter(pk=(task or routed()).pk)
    (grant,) = boundary.write(partial(lease.claim, rows, actor=somebody(by), lasting=lasting))
    return grant.task, grant.token


def all_held(rows: Sequence[Task], *, by: str = "finn") -> list[tuple[Task, str]]:
    """These tasks, claimed by somebody all at once, each with its token."""
    queued = Task.objects.filter(pk__in=[task.pk for task in rows])
    grants = boundary.write(partial(lease.claim, queued, actor=somebody(by), lasting=MINUTE))
    return [(grant.task, grant.token) for grant in grants]


def failed() -> Task:
    """A task that failed for good."""
    task, token = held()
    error = {"code": "broken", "message": ""}
    return boundary.write(partial(lease.fail, task, token=token, error=error, retryable=False, actor=somebody("finn")))


def done() -> Task:
    """A completed task."""
    task, token = held()
    return boundary.write(partial(lease.complete, task, token=token, output=None, actor=somebody("finn")))


def lapse(*tasks: Task, after: timedelta = timedelta(0)) -> None:
    """Let the leases run out `after` from now."""
    with superuser_connection() as beside:
        beside.execute(
            "UPDATE tasks SET lease_expires_at = clock_timestamp() + %s WHERE id = ANY(%s) AND status = 'active'",
            [after, [task.pk for task in tasks]],
        )


def path(task: Task, verb: str = "") -> str:
    """Where a task is found, or what is done to it."""
    return f"/tasks/{task.pk}/{verb}".rstrip("/")


# What holds, whatever happened.


def assert_tasks_hold(tenant: str = "default") -> None:
    """Of every task there is, and of every one there was: its chain, its path and its attempts."""
    told = chains_of("task", tenant)
    rows = {task.pk: task for task in Task.objects.filter(tenant=tenant)}
    attempts: dict[UUID, list[Attempt]] = defaultdict(list)
    for attempt in Attempt.objects.filter(task__tenant=tenant).order_by("epoch"):
        attempts[attempt.task_id].append(attempt)
    assert rows.keys() == {pk for pk, trail_of in told.items() if trail_of[-1]["event_type"] != "task.deleted"}
    for pk, trail_of in told.items():
        assert_chain(trail_of)
        _assert_path(trail_of)
        if pk in rows:
            _assert_row(rows[pk], trail_of)
            _assert_attempts(rows[pk], trail_of, attempts[pk])


def assert_chain(trail_of: Sequence[Event]) -> None:
    """Each event names the hash of the one before, and its own is that of its text."""
    before = GENESIS
    for seq, event in enumerate(trail_of, start=1):
        assert event["seq"] == seq
        assert bytes(event["prev_hash"]) == before
        assert bytes(event["hash"]) == hash_of(before, event["body"])
        before = bytes(event["hash"])


def _assert_path(trail_of: Sequence[Event]) -> None:
    """Each event leads from where the last led by a legal move; at most one leads to an end."""
    assert (trail_of[0]["event_type"], trail_of[0]["from_status"]) == ("task.created", None)
    for before, after in pairwise(trail_of):
        assert after["from_status"] == before["to_status"]
        if after["event_type"] == "task.deleted":
            assert (after is trail_of[-1], after["from_status"] in TERMINAL) == (True, True)
        elif after["event_type"] == "task.cancel_requested":
            assert after["from_status"] == after["to_status"] == "active"
        else:
            assert after["to_status"] in LEGAL[before["to_status"]], (before["to_status"], after["event_type"])
    assert sum(event["to_status"] in TERMINAL for event in trail_of) <= 1


def _assert_row(row: Task, trail_of: Sequence[Event]) -> None:
    assert (row.version, row.status) == (len(trail_of), trail_of[-1]["to_status"])
    assert bytes(row.audit_head) == bytes(trail_of[-1]["hash"])
    assert row.lease_epoch == sum(event["event_type"] == "task.claimed" for event in trail_of)


def _assert_attempts(row: Task, trail_of: Sequence[Event], attempts: Sequence[Attempt]) -> None:
    """One for each epoch, ended as the chain tells; only the last may be open, and only while the task is active."""
    assert [attempt.epoch for attempt in attempts] == list(range(1, row.lease_epoch + 1))
    active = row.status == "active"
    assert [attempt.ended_at is None for attempt in attempts] == [False] * (len(attempts) - active) + [True] * active
    ends = [event["event_type"] for event in trail_of if event["from_status"] == "active" != event["to_status"]]
    ended: Collection[Attempt] = [attempt for attempt in attempts if attempt.ended_at is not None]
    for end, attempt in zip(ends, ended, strict=True):
        assert attempt.outcome in OUTCOMES[end], (end, attempt.outcome)
        assert attempt.ended_at is not None
        assert attempt.claimed_at <= attempt.ended_at
    numbers = [attempt.attempt for attempt in attempts]
    assert numbers == sorted(numbers)
    if active:
        assert bytes(row.lease_token_hash or b"") == bytes(attempts[-1].token_hash)
        assert (row.attempt, row.holder) == (attempts[-1].attempt, attempts[-1].holder)
