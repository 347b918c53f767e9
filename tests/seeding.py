"""Many sessions, fast: whole ones, each with its first event, or mere rows for plans and measurements."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from uuid_utils.compat import uuid7

from audit_app import trail
from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from orchestrator.clock import database_now
from sessions_app.models import Session, Task
from sessions_app.transitions.recording import begin
from tests import mere_rows, task_seeding
from tests.mere_rows import HEAD, NULL, SMALL_TENANT, TENANT, Owner

MILLISECOND = timedelta(milliseconds=1)


# Whole sessions.


def opener(subject: str = "alice", *, issuer: str = settings.LOCAL_ISSUER, tenant: str = "default") -> Actor:
    """Whoever opens them: the same person as a token for that subject."""
    return Actor(Identity(issuer, subject), tenant, Kind.PERSON, Origin(Via.API), frozenset({Role.AGENT}))


EVENT_SLACK = timedelta(seconds=30)
"""How far the time of an event may safely lie from the clock of the database."""


def sessions(
    count: int = 1,
    *,
    by: Actor | None = None,
    role: str = "finance",
    task: Task | None = None,
    metadata: Mapping[str, Any] | None = None,
    at: datetime | None = None,
    apart: timedelta = MILLISECOND,
    lasting: timedelta = timedelta(days=1),
) -> list[Session]:
    """Pending sessions as opening them leaves them, oldest first; the newest opened `at` that moment, or now.

    They expire `lasting` after the moment they are made, the oldest first and a microsecond apart.
    """

    def work() -> list[Session]:
        now = database_now()
        newest, actor = at or now, by or opener()
        rows, links = [], []
        for n in range(count):
            row = Session(role=role, task=task, metadata=dict(metadata or {}))
            row.tenant = actor.tenant
            row.created_by_issuer, row.created_by_subject = actor.identity.issuer, actor.identity.subject
            row.created_at = row.updated_at = newest - apart * (count - 1 - n)
            # The database takes no event of another time; a row's own times may be any.
            row.now = row.created_at if abs(row.created_at - now) < EVENT_SLACK else now
            row.expires_at = now + lasting + timedelta(microseconds=n)
            links.append(begin(row, Action.SESSION_CREATED, actor=actor, reason="", cause=None))
            rows.append(row)
        _copy(rows)
        trail.record_many(links)
        return rows

    return boundary.write(work)


def _copy(rows: Iterable[Session]) -> None:
    fields = Session._meta.concrete_fields
    columns = ", ".join(str(field.column) for field in fields)
    with connection.cursor() as cursor, cursor.copy(f"COPY sessions ({columns}) FROM STDIN") as copy:
        for row in rows:
            values = [getattr(row, field.attname) for field in fields]
            copy.write_row(
                [
                    value if isinstance(value, bytes) else field.get_db_prep_save(value, connection)
                    for field, value in zip(fields, values, strict=True)
                ]
            )


# Mere rows: see tests/mere_rows.py.

RARE_ROLE, RARE_PERSON, RARE_STATUS = "archive", "rare", "failed"
ROWS_A_TASK = 5

_COLUMNS = (
    "id, tenant, created_at, updated_at, created_by_issuer, created_by_subject, version, audit_head, role, task_id,"
    " status, metadata, expires_at"
)
_ROLES = ("finance", "finance", "manager", "legal", "research")
_STATUSES = ("pending", "active", "completed", "completed", "completed")


def company(owner: Owner, count: int) -> None:
    """`count` sessions as a company has them, a second apart, the newest now; then what the planner knows of them.

    One in a hundred is another tenant's. Of the rest one in a thousand has RARE_ROLE, RARE_PERSON or RARE_STATUS, one
    in ten belongs to a task, one in a hundred is overdue if it is open. Metadata has a number of its own for each, and
    a quarter that one in four shares.
    """
    now = datetime.now().astimezone()
    tasks = [str(uuid7()) for _ in range(max(count // 10 // ROWS_A_TASK, 1))]
    task_seeding.write(owner, (task_seeding.Row(created=now) for _ in tasks), tasks)
    of_tasks(owner, count, tasks)


_ANSWERS = """
INSERT INTO idempotency_records (k, fp, status, headers, body, request_id, created_at, expires_at)
SELECT sha256(('k' || n)::bytea), sha256(('fp' || n)::bytea), 201,
  '{"Content-Type": "application/json", "Location": "/sessions/00000000-0000-7000-8000-000000000000",
    "ETag": "\\"1\\""}',
  convert_to(rpad('{"session_id": "' || n, 420, ' '), 'UTF8'), md5(n::text),
  now() - (%(count)s - n) * interval '1 day' / %(count)s, now() + n * interval '1 day' / %(count)s
FROM generate_series(1, %(count)s) n
"""


def answers(owner: Owner, count: int) -> None:
    """`count` remembered answers, as a day of opening sessions leaves them; none is past its time yet."""
    owner.execute(_ANSWERS, {"count": count})
    owner.execute("VACUUM (ANALYZE) idempotency_records")


def of_tasks(owner: Owner, count: int, tasks: Sequence[str]) -> None:
    """The sessions of a company whose tasks are there."""
    now = datetime.now().astimezone()
    mere_rows.write(owner, "sessions", _COLUMNS, (_session(n, count, now, tasks) for n in range(count)))
    mere_rows.settle(owner, "sessions")


def overdue(owner: Owner, count: int) -> None:
    """`count` open sessions whose time has passed."""
    now = datetime.now().astimezone()
    past = (_row(now, now - timedelta(seconds=count - n), {"n": n}) for n in range(count))
    mere_rows.write(owner, "sessions", _COLUMNS, past)
    mere_rows.settle(owner, "sessions")


def _session(n: int, count: int, now: datetime, tasks: Sequence[str]) -> str:
    created = now - timedelta(seconds=count - 1 - n)
    document = f'{{"quarter": "Q{n % 4 + 1}", "cost": {{"centre": {n % 9973}}}, "invoice": {n}}}'
    rare = n % 1000
    return _row(
        created,
        now - timedelta(hours=1) if n % 100 == 61 else now + timedelta(days=7),
        document,
        tenant=SMALL_TENANT if n % 100 == 13 else TENANT,
        role=RARE_ROLE if rare == 501 else _ROLES[n % 7 % 5],
        subject=RARE_PERSON if rare == 502 else f"agent-{n % 41}",
        status=RARE_STATUS if rare == 504 else _STATUSES[n % 11 % 5],
        task=tasks[n // 10 % len(tasks)] if n % 10 == 4 else NULL,
    )


def _row(
    created: datetime,
    expires: datetime,
    document: object,
    *,
    tenant: str = TENANT,
    role: str = "finance",
    subject: str = "alice",
    status: str = "pending",
    task: str = NULL,
) -> str:
    text = str(document).replace("'", '"')
    return (
        f"{uuid7()}\t{tenant}\t{created}\t{created}\tlocal\t{subject}\t1\t{HEAD}\t{role}\t{task}\t{status}\t{text}"
        f"\t{expires}\n"
    )
