"""How sessions move."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
from django.db import IntegrityError
from django.db.models import QuerySet

from audit_app.trail import Action, instant
from orchestrator import documents
from orchestrator.actors import Actor
from orchestrator.clock import database_now
from orchestrator.work_problems import IllegalTransition, SessionExpired, TooManyOpenSessions
from sessions_app.models import Approval, Session, Task
from sessions_app.models.session import MAX_OPEN_OF_TASK, SessionStatus
from sessions_app.transitions.batch import change_many
from sessions_app.transitions.change import changed, create, lock, lock_to_remove
from sessions_app.transitions.deletion import delete_with_approvals, prepare_second_person
from sessions_app.transitions.ending import close_session_approvals

TIME_PASSED = "Its time passed."

MOVES: dict[str, tuple[Action, Callable[[Session], None]]] = {
    SessionStatus.ACTIVE: (Action.SESSION_ACTIVATED, Session.activate),
    SessionStatus.COMPLETED: (Action.SESSION_COMPLETED, Session.complete),
    SessionStatus.FAILED: (Action.SESSION_FAILED, Session.fail),
    SessionStatus.EXPIRED: (Action.SESSION_EXPIRED, Session.expire),
}
"""Each state a session can be moved to: the word for it and the move."""


def open_session(
    *, actor: Actor, role: str, task: Task | None, metadata: Mapping[str, Any], lasting: timedelta
) -> Session:
    """A new session, pending, that expires after `lasting`. Raises TooManyOpenSessions where its task has enough."""
    at = database_now()
    session = Session(role=role, task=task, metadata=dict(metadata), expires_at=at + lasting)
    with _bounded_by_task():
        return create(session, Action.SESSION_CREATED, at=at, actor=actor)


def amend(
    session: Session,
    *,
    actor: Actor,
    status: str | None = None,
    fields: Mapping[str, Any] | None = None,
    metadata_patch: Mapping[str, Any] | None = None,
    lasting: timedelta | None = None,
    reason: str | None = None,
    if_match: frozenset[int] | None = None,
) -> Session:
    """Move a session, or change what it carries, or both as one change.

    `fields` are new values by attribute (`task_id`, `metadata`), `metadata_patch` is merged into what is there (RFC
    7396), `lasting` sets the expiry anew, counted from now. The state it already has is no move. What changes nothing
    leaves no event.

    Raises SessionExpired past its time for anything but expiry, IllegalTransition for an illegal move and for any
    write to a terminal session, PreconditionFailed if `if_match` names other versions, InvalidRequest if the patched
    metadata would be too large, TooManyOpenSessions if the task that it is to point to has enough.
    """
    fresh = lock(session, if_match=if_match)
    changes = bool(fields) or metadata_patch is not None or lasting is not None
    _insist_on_open(fresh, status, changes=changes)
    moving = status is not None and status != fresh.status
    action, move = _move(fresh, str(status)) if moving else (Action.SESSION_CHANGED, None)
    with _bounded_by_task(), changed(fresh, action, actor=actor, reason=reason or "") as amended:
        for name, value in (fields or {}).items():
            setattr(amended, name, value)
        if metadata_patch is not None:
            amended.metadata = documents.merged("metadata", amended.metadata, metadata_patch)
        if lasting is not None:
            amended.expires_at = amended.now + lasting
        if move is not None:
            move(amended)
            amended.reason = reason
    close_session_approvals([fresh] if fresh.is_terminal else [], actor=actor)
    return fresh


def expire_many(rows: QuerySet[Session], *, actor: Actor) -> int:
    """Expire the sessions of a query, all past their time. How many."""
    with change_many(rows, Action.SESSION_EXPIRED, actor=actor, reason=TIME_PASSED) as batch:
        for session in batch:
            session.expire()
            session.reason = TIME_PASSED
    close_session_approvals(batch, actor=actor)
    return len(batch)


def delete(session: Session, *, reason: str, actor: Actor, if_match: frozenset[int] | None = None) -> Approval | None:
    """Delete a terminal session with its approvals and decisions, and return None. The trails stay.

    Where a second person is needed and has not agreed yet, return the request instead, and delete nothing.

    Raises IllegalTransition while it is not terminal (SessionExpired if its time has passed), Retained,
    PreconditionFailed if `if_match` names other versions; what `second_person()` raises.
    """
    prepare_second_person(actor)
    fresh = lock_to_remove(session, if_match=if_match)
    if not fresh.is_terminal:
        if fresh.is_overdue():
            raise _expired(fresh, to="deleted")
        raise IllegalTransition(before=str(fresh.status), to="deleted", allowed=fresh.allowed_transitions())
    return delete_with_approvals(fresh, Action.SESSION_DELETED, reason=reason, actor=actor)


@contextmanager
def _bounded_by_task() -> Iterator[None]:
    """Raise TooManyOpenSessions where the database refuses another open session of a task.

    The database counts, since only it lets two sessions of one task wait for each other.
    """
    try:
        yield
    except IntegrityError as error:
        cause = error.__cause__
        if isinstance(cause, psycopg.Error) and cause.diag.constraint_name == "sessions_of_task_are_bounded":
            raise TooManyOpenSessions(MAX_OPEN_OF_TASK) from error
        raise


def _insist_on_open(session: Session, status: str | None, *, changes: bool) -> None:
    """Past its time nothing is legal but expiry; in a terminal state nothing is."""
    expiring = status == SessionStatus.EXPIRED and not changes and not session.is_terminal
    if session.is_overdue() and not expiring:
        raise _expired(session, to=status)
    if session.is_terminal:
        raise IllegalTransition(before=str(session.status), to=status, allowed=())


def _expired(session: Session, *, to: str | None) -> SessionExpired:
    members = {"from": str(session.status), "to": to, "allowed": list(session.allowed_transitions())}
    return SessionExpired(f"It expired at {instant(session.expires_at)}.", members=members)


def _move(session: Session, status: str) -> tuple[Action, Callable[[Session], None]]:
    if status not in MOVES:
        raise IllegalTransition(before=str(session.status), to=status, allowed=session.allowed_transitions())
    return MOVES[status]
