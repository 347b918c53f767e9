"""The ownerships of tasks, written along with the moves of their tasks: each begins once and ends once."""

import hashlib
import hmac
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from orchestrator.actors import Actor
from orchestrator.canonical import dumps
from orchestrator.metrics import TASK_ATTEMPTS_ENDED
from sessions_app.models import Attempt, Task
from sessions_app.models.attempt import AttemptOutcome

Ownership = tuple[UUID, int]
"""A task's id and the epoch of a lease on it."""

_COPY = (
    "COPY task_attempts (id, task_id, epoch, attempt, holder_issuer, holder_subject, holder_for_issuer,"
    " holder_for_subject, token_hash, claimed_at) FROM STDIN"
)
_END = (
    "UPDATE task_attempts SET ended_at = %s, outcome = %s, error = %s, ended_by = %s WHERE task_id = %s AND epoch = %s"
)
_END_MANY = (
    "UPDATE task_attempts AS a SET ended_at = clock_timestamp(), outcome = %s"
    " FROM unnest(%s::uuid[], %s::int[]) AS lost(task_id, epoch)"
    " WHERE (a.task_id, a.epoch) = (lost.task_id, lost.epoch)"
)

for _outcome in AttemptOutcome:
    TASK_ATTEMPTS_ENDED.labels(str(_outcome))


def hash_of(token: str) -> bytes:
    """What is kept of a lease's token: its SHA-256. A token is 256 random bits, so no salt and no stretching."""
    return hashlib.sha256(token.encode()).digest()


def digest_of(call: Sequence[Any]) -> bytes:
    """A call that ends an attempt, verb and body but for the token, by which the same call again is known."""
    return hashlib.sha256(dumps(list(call))).digest()


def begin_many(tasks: Sequence[Task]) -> None:
    """An attempt for each task that was just claimed."""
    if not tasks:
        return
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for task in tasks:
            copy.write_row(
                [
                    *(uuid7(), task.pk, task.lease_epoch, task.attempt, task.lease_issuer, task.lease_subject),
                    *(task.lease_for_issuer, task.lease_for_subject, task.lease_token_hash, task.now),
                ]
            )


def end(
    held: Ownership, outcome: AttemptOutcome, *, at: datetime, error: Any = None, ended_by: bytes | None = None
) -> None:
    """The end of one attempt."""
    told = None if error is None else Jsonb(error)
    with connection.cursor() as cursor:
        values: list[Any] = [at, str(outcome), told, ended_by, *held]
        cursor.execute(_END, values)
    _count_once_committed(outcome, 1)


def end_many(held: Collection[Ownership], outcome: AttemptOutcome) -> None:
    """The end of many attempts, all in the same way."""
    if held:
        ids, epochs = zip(*held, strict=True)
        with connection.cursor() as cursor:
            cursor.execute(_END_MANY, [str(outcome), list(ids), list(epochs)])
        _count_once_committed(outcome, len(held))


def _count_once_committed(outcome: AttemptOutcome, count: int) -> None:
    transaction.on_commit(lambda: TASK_ATTEMPTS_ENDED.labels(str(outcome)).inc(count), robust=True)


def ended_by_this(task: Task, token: str, call: bytes, *, actor: Actor) -> bool:
    """Whether this very call, with this token and by this holder, has ended an attempt of the task before."""
    alike = Attempt.objects.filter(task=task, ended_by=call)
    return any(
        hmac.compare_digest(bytes(attempt.token_hash), hash_of(token))
        and (attempt.holder, attempt.held_for) == (actor.identity, actor.on_behalf_of)
        for attempt in alike
    )
