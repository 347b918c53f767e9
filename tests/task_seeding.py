"""Many tasks as mere rows, with their attempts: a company's, a queue, what is scheduled, what is done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from uuid_utils.compat import uuid7

from tests import mere_rows
from tests.mere_rows import HEAD, NULL, SMALL_TENANT, TENANT, Owner

RARE_ROLE, RARE_PERSON, RARE_STATUS, RARE_TYPE = "archive", "rare", "blocked", "audit"
TASKS_A_TRACE = 4

_COLUMNS = (
    "id, tenant, created_at, updated_at, created_by_issuer, created_by_subject, version, audit_head, task_type,"
    " description, from_role, to_role, status, data, context, priority, not_before, deadline, attempt, max_attempts,"
    " lease_token_hash, lease_epoch, lease_seconds, lease_expires_at, lease_issuer, lease_subject, cancel_requested,"
    " retry_of_id, trace_id, idempotency_key"
)
_ATTEMPT_COLUMNS = (
    "id, task_id, epoch, attempt, holder_issuer, holder_subject, token_hash, claimed_at, ended_at, outcome, ended_by"
)
_ROLES = ("finance", "finance", "manager", "legal", "research")
_TYPES = ("routing", "routing", "notification", "approval")
# In twenty-three: most are done, two are waited for, and one each is held, failed and cancelled.
_STATUSES = {3: "pending", 7: "pending", 11: "active", 15: "failed", 19: "cancelled"}
_BEGUN = ("active", "completed", "failed")
_MAX_ATTEMPTS = 3
_LEASE_SECONDS = 60
_BLOCK = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A task: pending, unless told otherwise."""

    created: datetime
    tenant: str = TENANT
    subject: str = "alice"
    task_type: str = "routing"
    from_role: str = "manager"
    to_role: str = "finance"
    status: str = "pending"
    priority: int = 5
    not_before: datetime | None = None
    deadline: datetime | None = None
    attempt: int = 1
    lease_expires: datetime | None = None
    is_used: bool = True
    cancel_requested: bool = False
    retry_of: str | None = None
    trace: str = ""
    key: str | None = None

    def line(self, pk: str) -> str:
        """It, as COPY reads it."""
        epoch = self.attempt if self.status in _BEGUN else 0
        lease = (
            (HEAD, epoch, _LEASE_SECONDS, self.lease_expires, "local", "worker")
            if self.status == "active"
            else (None, epoch, None, None, None, None)
        )
        return _line(
            *(pk, self.tenant, self.created, self.created, "local", self.subject, 1, HEAD, self.task_type, ""),
            *(self.from_role, self.to_role, self.status, "{}", "{}", self.priority, self.not_before, self.deadline),
            *(self.attempt, _MAX_ATTEMPTS, *lease, self.cancel_requested, self.retry_of, self.trace, self.key),
        )

    def attempt_line(self, pk: str) -> str:
        """Its last attempt, as COPY reads it: ended unless it is active."""
        ended = (None,) * 3 if self.status == "active" else (self.created, self.status, HEAD)
        claimed = self.created
        if self.lease_expires is not None and not self.is_used:
            claimed = self.lease_expires - timedelta(seconds=_LEASE_SECONDS)
        return _line(uuid7(), pk, self.attempt, self.attempt, "local", "worker", HEAD, claimed, *ended)


def company(owner: Owner, count: int) -> list[str]:
    """`count` tasks as a company has them, a second apart, the newest now; their ids.

    One in a hundred is another tenant's. Of the rest one in a thousand has RARE_ROLE at either end, RARE_PERSON,
    RARE_STATUS or RARE_TYPE. Of those that are held, one in five has lapsed: a third of these was to be cancelled, a
    third had its last attempt, and a quarter was never used. One in a hundred has a deadline behind it, if it is open;
    of those that wait one in nine
    may not begin yet, and one in nine had to wait. One in three that failed was tried again.
    """
    now = datetime.now().astimezone()
    ids = [str(uuid7()) for _ in range(count)]
    write(owner, (_of_company(n, count, now, ids) for n in range(count)), ids)
    return ids


def write(owner: Owner, rows: Iterable[Row], ids: Sequence[str] | None = None) -> None:
    """Tasks, each with its last attempt, and what the planner then knows of them."""
    named = zip(ids or iter(lambda: str(uuid7()), None), rows, strict=False)
    with mere_rows.without_events(owner, "tasks"):
        while block := list(islice(named, _BLOCK)):
            mere_rows.copy(owner, "tasks", _COLUMNS, (row.line(pk) for pk, row in block))
            begun = (row.attempt_line(pk) for pk, row in block if row.status in _BEGUN)
            mere_rows.copy(owner, "task_attempts", _ATTEMPT_COLUMNS, begun)
    mere_rows.settle(owner, "tasks", "task_attempts")


def waiting(owner: Owner, count: int, *, role: str = "finance", trace: str = "") -> None:
    """`count` that anybody of a role may claim, the newest now."""
    now = datetime.now().astimezone()
    write(owner, (Row(created=now - timedelta(milliseconds=n), to_role=role, trace=trace) for n in range(count)))


def later(owner: Owner, count: int, *, role: str, begins: timedelta) -> None:
    """`count` of the highest priority that may begin at their time only, made a second apart until two days ago."""
    now = datetime.now().astimezone()
    made, time = now - timedelta(days=2), now + begins
    write(
        owner,
        (Row(created=made - timedelta(seconds=n), to_role=role, priority=9, not_before=time) for n in range(count)),
    )


def done(owner: Owner, count: int) -> None:
    """`count` that are completed, a second apart, of all roles."""
    now = datetime.now().astimezone()
    write(
        owner,
        (
            Row(
                created=now - timedelta(seconds=n),
                subject=f"agent-{n % 41}",
                to_role=_ROLES[n % 5],
                status="completed",
                trace=f"trace-{n // TASKS_A_TRACE}",
            )
            for n in range(count)
        ),
    )


def forget(owner: Owner, trace: str) -> None:
    """Delete the tasks of a trace, whatever their state, and tidy up behind them."""
    with mere_rows.without_events(owner, "tasks"):
        owner.execute("DELETE FROM tasks WHERE trace_id = %s", [trace])
    mere_rows.settle(owner, "tasks", "task_attempts")


def _of_company(n: int, count: int, now: datetime, ids: Sequence[str]) -> Row:
    rare, status = n % 1000, _STATUSES.get(n % 23, "completed")
    status = RARE_STATUS if rare == 504 else status
    hour = timedelta(hours=1)
    lapsed = n % 5 == 0
    before = n - 23 * 3
    return Row(
        created=now - timedelta(seconds=count - 1 - n),
        tenant=SMALL_TENANT if n % 100 == 13 else TENANT,
        subject=RARE_PERSON if rare == 502 else f"agent-{n % 41}",
        task_type=RARE_TYPE if rare == 503 else _TYPES[n % 17 % 4],
        from_role=RARE_ROLE if rare == 505 else _ROLES[n % 11 % 5],
        to_role=RARE_ROLE if rare == 501 else _ROLES[n % 7 % 5],
        status=status,
        priority=n % 10,
        not_before={0: now + hour, 1: now - hour}.get(n % 9),
        deadline=(now - hour if n % 100 == 61 else now + hour) if n % 100 > 50 else None,
        attempt=_MAX_ATTEMPTS if n % 3 == 1 else 1,
        lease_expires=now - hour if lapsed else now + hour,
        is_used=n % 4 > 0,
        cancel_requested=status == "active" and n % 3 == 2,
        retry_of=ids[before] if before >= 0 and n % 3 == 0 and _STATUSES.get(before % 23) == "failed" else None,
        trace=f"trace-{n // TASKS_A_TRACE}",
        key=f"{n:064x}" if n % 2 else None,
    )


def _line(*values: object) -> str:
    return "\t".join(NULL if value is None else str(value) for value in values) + "\n"
