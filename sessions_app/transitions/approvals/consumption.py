"""How a grant is used: once, for exactly the approved action, while it is good."""

import hmac
from collections.abc import Mapping
from typing import Any

from django.db import connection

from audit_app.trail import Action, instant
from orchestrator.actors import Actor
from orchestrator.problems import Forbidden
from orchestrator.work_problems import (
    ActionMismatch,
    AlreadyConsumed,
    ApprovalLapsed,
    DeadlineExceeded,
    IllegalTransition,
)
from sessions_app.models import Approval, Attempt, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.task import TaskStatus
from sessions_app.requesters import Requester, first_requester
from sessions_app.transitions.admission import admit
from sessions_app.transitions.approvals.requests import digest_of
from sessions_app.transitions.approvals.subject import Locked, lock_with_subject
from sessions_app.transitions.change import changed, insist_on_version
from sessions_app.transitions.refusing import remembered


def consume(
    approval: Approval, action: Mapping[str, Any], *, actor: Actor, if_match: frozenset[int] | None = None
) -> Approval:
    """Use a grant, once, for exactly its action. Grants of several roles for that action of one task are used together.

    Where one of several that were requested together has lapsed, the others cannot be used either.

    The lock settles the race of two callers who consume at once: the second finds the grant consumed.

    Raises Forbidden for an actor other than the requester or the holder of the task, DeadlineExceeded past the task's
    deadline, ApprovalLapsed, ActionMismatch and AlreadyConsumed, all recorded; IllegalTransition where it is not
    approved, or its task or session is over, or its task waits for other requests; Unauthenticated for an actor who is
    cut off; PreconditionFailed if `if_match` names other versions.
    """
    admit(actor)
    locked = lock_with_subject(approval)
    fresh, task = locked.approval, locked.task
    if (why := _kept_from_using(locked, actor)) is not None:
        raise remembered(Forbidden(why), fresh, "consume", actor=actor)
    insist_on_version(fresh, if_match)
    _require_in_reach(locked, actor)
    others = [] if task is None else _granted_beside(fresh, task)
    _require_unused_grant(fresh, others, action, actor)
    with changed(fresh, Action.APPROVAL_CONSUMED, actor=actor) as used:
        used.consumed_at = used.now
    for other in others:
        if not other.has_lapsed():
            with changed(other, Action.APPROVAL_CONSUMED, actor=actor, cause=fresh.last_event) as used:
                used.consumed_at = used.now
    return fresh


def _require_in_reach(locked: Locked, actor: Actor) -> None:
    """Raise IllegalTransition where it is not approved or its subject is over or waits; DeadlineExceeded, recorded."""
    fresh, task = locked.approval, locked.task
    is_out_of_reach = locked.subject.is_over or (task is not None and task.status == TaskStatus.BLOCKED)
    if fresh.status != ApprovalStatus.APPROVED or is_out_of_reach:
        before = str((task or locked.subject.session or fresh).status if is_out_of_reach else fresh.status)
        raise IllegalTransition(before=before, to="consumed", allowed=fresh.allowed_transitions())
    if locked.subject.is_past_deadline:
        raise remembered(DeadlineExceeded(), fresh, "consume", actor=actor)


def _require_unused_grant(fresh: Approval, others: list[Approval], action: Mapping[str, Any], actor: Actor) -> None:
    """Raise ActionMismatch, AlreadyConsumed or ApprovalLapsed, recorded."""
    if not hmac.compare_digest(bytes(fresh.action_digest or b""), digest_of(action)):
        raise remembered(ActionMismatch(), fresh, "consume", actor=actor)
    if fresh.consumed_at is not None:
        raise remembered(AlreadyConsumed(f"It was at {instant(fresh.consumed_at)}."), fresh, "consume", actor=actor)
    if fresh.has_lapsed():
        detail = f"It could be consumed until {instant(fresh.approved_until or fresh.now)}."
        raise remembered(ApprovalLapsed(detail), fresh, "consume", actor=actor)
    for other in others:
        if other.has_lapsed() and _were_requested_together(fresh, other):
            detail = f"The grant {other.pk} of the role {other.approver_role} for the same action has lapsed."
            raise remembered(ApprovalLapsed(detail), fresh, "consume", actor=actor)


def _granted_beside(approval: Approval, task: Task) -> list[Approval]:
    """Return the other unused grants of a locked task for the same action, lapsed ones included."""
    others = Approval.objects.filter(
        task=task, action_digest=approval.action_digest, status=ApprovalStatus.APPROVED, consumed_at=None
    )
    rows = list(others.exclude(pk=approval.pk).order_by("pk"))
    for row in rows:
        row.now = approval.now
    return rows


def _were_requested_together(one: Approval, other: Approval) -> bool:
    """Return whether a task was created with both requests, or with those that they replace, so that it needs both."""
    if not (one.required and other.required):
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT work_requested_at(%s) = work_requested_at(%s)", [one.pk, other.pk])
        return bool(cursor.fetchone()[0])


def _kept_from_using(locked: Locked, actor: Actor) -> str | None:
    """Return why this actor must not use the grant, or None."""
    approval, task, who = locked.approval, locked.task, Requester.of(actor)
    requester = first_requester(approval)
    if task is None:
        return None if who == requester else "Only the requester may consume it."
    # Together with the person an agent acts for: a decider must not use the grant through an agent that asked alone.
    if who == (task.holder, task.held_for) and not task.is_lapsed():
        return None
    if who != requester:
        return "Only the requester, or the holder of the task, may consume it."
    held = {"holder_issuer": actor.identity.issuer, "holder_subject": actor.identity.subject}
    if Attempt.objects.filter(task=task, **held).exists():
        # A requester who lost the lease must not act while another holder does the task.
        return "You held the task, and hold it no more."
    return None
