"""How tasks are held: claimed with a lease, kept by heartbeats, and ended or handed back by whoever has its token.

Every write of a holder is fenced: it counts only with the token of the present lease, before that has run out by the
database's clock, and by the one who claimed it. Whatever comes late is refused, and that is recorded.
"""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from psycopg.types.json import Jsonb

from audit_app.trail import Action
from orchestrator.actors import Actor
from orchestrator.work_problems import DeadlineExceeded, LeaseLost
from sessions_app.models import Task
from sessions_app.models.attempt import AttemptOutcome
from sessions_app.transitions import attempts
from sessions_app.transitions.admission import admit, identities_of
from sessions_app.transitions.backoff import requeue_after_a_pause
from sessions_app.transitions.batch import change_many
from sessions_app.transitions.change import insist_on_version, lock
from sessions_app.transitions.handing_back import EXHAUSTED, hand_back, let_go, lose
from sessions_app.transitions.refusing import remembered

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Grant:
    """A claimed task with the lease's token, which is told once and kept nowhere."""

    task: Task
    token: str


def claim(rows: QuerySet[Task], *, actor: Actor, lasting: timedelta) -> list[Grant]:
    """Take the pending tasks of a query, in its order, for `lasting`. Return them with their tokens.

    Tasks that another claim is just taking are skipped, so that each goes to exactly one holder. Tasks about which the
    actor decided are skipped too, or the person for whom it acts, under any of their identities.

    Raises Unauthenticated for an actor who is cut off.
    """
    admit(actor)
    grants = []
    with change_many(rows, Action.TASK_CLAIMED, actor=actor) as batch:
        decided = _decided_by(actor, batch)
        for task in batch:
            if task.pk in decided:
                continue
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            task.claim()
            _lease(task, token, actor, lasting)
            grants.append(Grant(task, token))
    attempts.begin_many([grant.task for grant in grants])
    return grants


def heartbeat(
    task: Task,
    *,
    token: str,
    progress: Mapping[str, Any] | None,
    actor: Actor,
    if_match: frozenset[int] | None = None,
) -> Task:
    """Make the lease last anew, as long as the claim asked for, and keep what is said of the progress.

    Without an event and without a version. Raises LeaseLost, DeadlineExceeded, PreconditionFailed if `if_match` names
    other versions.
    """
    fresh = lock(task)
    _insist_on_lease(fresh, token, "heartbeat", actor=actor)
    insist_on_version(fresh, if_match)
    fresh.lease_expires_at = fresh.now + timedelta(seconds=fresh.lease_seconds or 0)
    fresh.progress = fresh.progress if progress is None else dict(progress)
    told = None if fresh.progress is None else Jsonb(fresh.progress)
    values: list[Any] = [fresh.lease_expires_at, told, fresh.pk]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tasks SET lease_expires_at = %s, progress = %s WHERE id = %s", values)
    return fresh


def complete(
    task: Task, *, token: str, output: Mapping[str, Any] | None, actor: Actor, if_match: frozenset[int] | None = None
) -> Task:
    """Its holder did it. The very same call again changes nothing.

    Raises LeaseLost, DeadlineExceeded, PreconditionFailed if `if_match` names other versions.
    """
    call = attempts.digest_of(["complete", output])
    fresh = lock(task)
    if _was_ended_by(fresh, token, call, actor):
        return fresh
    _insist_on_lease(fresh, token, "complete", actor=actor)
    insist_on_version(fresh, if_match)

    def complete_with(done: Task) -> None:
        done.complete()
        done.output = None if output is None else dict(output)

    outcome = AttemptOutcome.COMPLETED
    return let_go(fresh, Action.TASK_COMPLETED, complete_with, outcome, actor=actor, ended_by=call)


def fail(
    task: Task,
    *,
    token: str,
    error: Mapping[str, Any],
    retryable: bool,
    actor: Actor,
    if_match: frozenset[int] | None = None,
) -> Task:
    """Its holder could not do it: it goes back to be tried again after a pause, or fails where it may not be.

    Where its end was asked for it is cancelled. The very same call again changes nothing.
    Raises LeaseLost, PreconditionFailed if `if_match` names other versions.
    """
    call = attempts.digest_of(["fail", error, retryable])
    fresh = lock(task)
    if _was_ended_by(fresh, token, call, actor):
        return fresh
    _insist_on_holder(fresh, token, "fail", actor=actor)
    insist_on_version(fresh, if_match)
    may_retry, reason = retryable and not fresh.is_past_deadline(), str(error.get("code", ""))
    word, move = Action.TASK_FAILED, Task.fail
    if fresh.cancel_requested:
        word, move, reason = Action.TASK_CANCELLED, Task.cancel, ""
    elif may_retry and fresh.attempt < fresh.max_attempts:
        word, move = Action.TASK_REQUEUED, requeue_after_a_pause
    elif may_retry:
        reason = EXHAUSTED["code"]
    return let_go(fresh, word, move, AttemptOutcome.FAILED, actor=actor, reason=reason, error=error, ended_by=call)


def release(task: Task, *, token: str, actor: Actor, if_match: frozenset[int] | None = None) -> Task:
    """Its holder hands it back: somebody else may claim it at once, and the attempt does not count.

    Where its end was asked for it is cancelled, and past its deadline it fails. The very same call again changes
    nothing. Raises LeaseLost, PreconditionFailed if `if_match` names other versions.
    """
    call = attempts.digest_of(["release"])
    fresh = lock(task)
    if _was_ended_by(fresh, token, call, actor):
        return fresh
    _insist_on_holder(fresh, token, "release", actor=actor)
    insist_on_version(fresh, if_match)
    return hand_back(fresh, Action.TASK_RELEASED, AttemptOutcome.RELEASED, actor=actor, ended_by=call)


def force_release(task: Task, *, reason: str, actor: Actor, if_match: frozenset[int] | None = None) -> Task:
    """Take a task from its holder, whose token counts for nothing from now on; the attempt does not count.

    Where its lease had run out before, what the sweep would do is done: the attempt is lost. Where its end was asked
    for it is cancelled, and past its deadline it fails. Raises IllegalTransition where nobody holds it,
    PreconditionFailed if `if_match` names other versions.
    """
    fresh = lock(task, if_match=if_match)
    if fresh.is_lapsed():
        return lose(fresh, Action.TASK_FORCE_RELEASED, actor=actor, reason=reason)
    return hand_back(fresh, Action.TASK_FORCE_RELEASED, AttemptOutcome.FORCE_RELEASED, actor=actor, reason=reason)


def _decided_by(actor: Actor, batch: Sequence[Task]) -> set[UUID]:
    """Return the locked tasks about which the actor decided: a person does not do what they approved.

    The query runs under the locks, since a decision may have been committed after the queue was read.
    """
    if not batch:
        return set()
    with connection.cursor() as cursor:
        who = [value for one in identities_of(actor) for value in (actor.tenant, one.issuer, one.subject)]
        same = " UNION ALL ".join(["SELECT issuer, subject FROM people_same(%s, %s, %s)"] * len(identities_of(actor)))
        cursor.execute(
            "SELECT a.task_id FROM approvals a JOIN approval_decisions d ON d.approval_id = a.id"
            f" WHERE a.task_id = ANY(%s) AND (d.decider_issuer, d.decider_subject) IN ({same})",
            [[task.pk for task in batch], *who],
        )
        return {pk for (pk,) in cursor.fetchall()}


def _lease(task: Task, token: str, actor: Actor, lasting: timedelta) -> None:
    task.lease_token_hash = attempts.hash_of(token)
    task.lease_epoch += 1
    task.lease_seconds = int(lasting.total_seconds())
    task.lease_expires_at = task.now + lasting
    task.lease_issuer, task.lease_subject = actor.identity.issuer, actor.identity.subject
    if actor.on_behalf_of is not None:
        task.lease_for_issuer, task.lease_for_subject = actor.on_behalf_of.issuer, actor.on_behalf_of.subject
    task.progress = None


def _is_held(task: Task, token: str, actor: Actor) -> bool:
    """By this actor, for the same person if for any, with this token, and not run out."""
    known = bytes(task.lease_token_hash or b"")
    return (
        hmac.compare_digest(known, attempts.hash_of(token))
        and (task.holder, task.held_for) == (actor.identity, actor.on_behalf_of)
        and not task.is_lapsed()
    )


def _was_ended_by(task: Task, token: str, call: bytes, actor: Actor) -> bool:
    """Whether it is a repetition; nobody who holds the task repeats."""
    return not _is_held(task, token, actor) and attempts.ended_by_this(task, token, call, actor=actor)


def _insist_on_holder(task: Task, token: str, attempted: str, *, actor: Actor) -> None:
    """Raises LeaseLost, remembered."""
    if not _is_held(task, token, actor):
        raise remembered(LeaseLost(), task, attempted, actor=actor)


def _insist_on_lease(task: Task, token: str, attempted: str, *, actor: Actor) -> None:
    """Raises LeaseLost, or DeadlineExceeded, remembered."""
    _insist_on_holder(task, token, attempted, actor=actor)
    if task.is_past_deadline():
        raise remembered(DeadlineExceeded(), task, attempted, actor=actor)
