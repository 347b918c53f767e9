"""How people decide requests, withdraw a decision, and how a request is cancelled."""

from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

from audit_app.trail import Action, instant
from orchestrator.actors import Actor, Identity
from orchestrator.deciding import require_signature
from orchestrator.problems import Problem, SeparationOfDuties
from orchestrator.work_problems import (
    AlreadyDecided,
    ApprovalExpired,
    DeadlineExceeded,
    IllegalTransition,
    NoDecision,
)
from sessions_app.models import Approval, Decision
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.decision import SetAside, Verdict
from sessions_app.transitions.admission import admit
from sessions_app.transitions.approvals import task_effects
from sessions_app.transitions.approvals.separation_of_duties import standing
from sessions_app.transitions.approvals.subject import Locked, lock_with_subject
from sessions_app.transitions.change import changed, insist_on_version
from sessions_app.transitions.ending import count_settled
from sessions_app.transitions.refusing import remembered


def approve(
    approval: Approval, *, comments: str = "", actor: Actor, if_match: frozenset[int] | None = None
) -> Approval:
    """Record that a person approves. The last approval of the quorum settles the request and may unblock its task.

    Raises SeparationOfDuties, ClientMayNotDecide, InsufficientUserAuthentication, ApprovalExpired, DeadlineExceeded
    and AlreadyDecided, recorded; IllegalTransition where the request is settled; Unauthenticated for a person who is
    cut off; PreconditionFailed if `if_match` names other versions.
    """
    locked = _require_decidable(approval, Verdict.APPROVED, actor, if_match)
    fresh = locked.approval
    _decide(fresh, Verdict.APPROVED, comments, actor)
    settles = fresh.granted + 1 >= fresh.required_approvals
    action = Action.APPROVAL_APPROVED if settles else Action.APPROVAL_VOTED
    with changed(fresh, action, actor=actor, reason=comments) as agreed:
        agreed.granted += 1
        if settles:
            agreed.approve()
            agreed.decision_at, agreed.notes = agreed.now, comments
    if settles:
        count_settled([fresh])
        if locked.task is not None:
            task_effects.settle(locked.task, fresh, actor=actor)
    return fresh


def reject(approval: Approval, *, comments: str = "", actor: Actor, if_match: frozenset[int] | None = None) -> Approval:
    """Record that a person rejects, which settles the request: a blocked task fails.

    Raises what `approve()` raises, but for DeadlineExceeded.
    """
    locked = _require_decidable(approval, Verdict.REJECTED, actor, if_match)
    fresh = locked.approval
    _decide(fresh, Verdict.REJECTED, comments, actor)
    with changed(fresh, Action.APPROVAL_REJECTED, actor=actor, reason=comments) as refused:
        refused.reject()
        refused.decision_at, refused.notes = refused.now, comments
    count_settled([fresh])
    if locked.task is not None:
        task_effects.fail(locked.task, fresh, task_effects.REJECTED, actor=actor)
    return fresh


def withdraw(
    approval: Approval, *, comments: str = "", actor: Actor, if_match: frozenset[int] | None = None
) -> Approval:
    """Set aside the actor's own approval of a request that is still open. The actor may decide it again.

    Raises NoDecision, recorded, where none of theirs counts; ApprovalExpired; IllegalTransition where the request is
    settled; PreconditionFailed if `if_match` names other versions.
    """
    admit(actor)
    fresh = lock_with_subject(approval, if_match=if_match).approval
    _require_signature(fresh, "withdraw", actor)
    _require_time(fresh, "withdraw", "withdrawn", actor)
    if fresh.status != ApprovalStatus.PENDING:
        raise remembered(
            IllegalTransition(before=str(fresh.status), to="withdrawn", allowed=()), fresh, "withdraw", actor=actor
        )
    for mine in decisions_of(fresh, actor):
        set_aside(fresh, [mine], SetAside.WITHDRAWN, actor=actor, reason=comments)
        return fresh
    raise remembered(NoDecision(), fresh, "withdraw", actor=actor)


def cancel(approval: Approval, *, reason: str = "", actor: Actor, if_match: frozenset[int] | None = None) -> Approval:
    """Cancel a request. A blocked task goes on if the request was added later, and is cancelled if it was required.

    Raises ApprovalExpired, IllegalTransition, Unauthenticated for an actor who is cut off, PreconditionFailed if
    `if_match` names other versions.
    """
    admit(actor)
    locked = lock_with_subject(approval, if_match=if_match)
    fresh = locked.approval
    _require_time(fresh, "cancel", "cancelled", actor)
    with changed(fresh, Action.APPROVAL_CANCELLED, actor=actor, reason=reason) as cancelled:
        cancelled.cancel()
    count_settled([fresh])
    if locked.task is not None:
        task_effects.settle(locked.task, fresh, actor=actor)
    return fresh


def set_aside(
    approval: Approval,
    decisions: list[Decision],
    why: SetAside,
    *,
    actor: Actor,
    reason: str = "",
    cause: UUID | None = None,
) -> None:
    """Make approvals of a locked, open request not count any more. They stay, marked; the event names the people.

    `decisions` are in the order in which they were made.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE approval_decisions SET set_aside_at = %s, set_aside_reason = %s WHERE id = ANY(%s)",
            [approval.now, str(why), [one.pk for one in decisions]],
        )
    word = Action.APPROVAL_DECISION_WITHDRAWN if why is SetAside.WITHDRAWN else Action.APPROVAL_DECISION_SET_ASIDE
    also = {"set_aside": [_person(one.decider) for one in decisions]}
    with changed(approval, word, actor=actor, reason=reason, cause=cause, also=also) as fresh:
        fresh.granted -= len(decisions)


def decisions_of(approval: Approval, actor: Actor) -> QuerySet[Decision]:
    """Return the actor's decisions on a request that count, by any of the actor's linked identities."""
    same = RawSQL(
        "(decider_issuer, decider_subject) IN (SELECT issuer, subject FROM people_same(%s, %s, %s))",
        [approval.tenant, actor.identity.issuer, actor.identity.subject],
        BooleanField(),
    )
    return Decision.objects.filter(same, approval=approval, set_aside_at=None)


def _person(who: Identity) -> dict[str, str]:
    return {"issuer": who.issuer, "subject": who.subject}


def _require_decidable(approval: Approval, verdict: Verdict, actor: Actor, if_match: frozenset[int] | None) -> Locked:
    """Lock a request and its subject, and check that this actor may give this verdict now."""
    admit(actor)
    locked = lock_with_subject(approval)
    fresh = locked.approval
    attempted = "approve" if verdict is Verdict.APPROVED else "reject"
    barred, counted_on = standing(fresh, actor)
    if barred is not None:
        raise remembered(SeparationOfDuties(barred), fresh, attempted, actor=actor)
    _require_signature(fresh, attempted, actor)
    insist_on_version(fresh, if_match)
    _require_time(fresh, attempted, str(verdict), actor)
    if fresh.status != ApprovalStatus.PENDING or locked.subject.is_over:
        refusal = IllegalTransition(before=str(fresh.status), to=str(verdict), allowed=())
        raise remembered(refusal, fresh, attempted, actor=actor)
    if counted_on == fresh.pk:
        raise remembered(AlreadyDecided(), fresh, attempted, actor=actor)
    if verdict is Verdict.APPROVED:
        if counted_on is not None:
            detail = f"You approved {counted_on}, which the same task waits for. Another person must approve this one."
            raise remembered(AlreadyDecided(detail), fresh, attempted, actor=actor)
        if locked.subject.is_past_deadline:
            raise remembered(DeadlineExceeded(), fresh, attempted, actor=actor)
    return locked


def _require_signature(approval: Approval, attempted: str, actor: Actor) -> None:
    """Raise ClientMayNotDecide or InsufficientUserAuthentication, recorded."""
    try:
        require_signature(actor)
    except Problem as refusal:
        raise remembered(refusal, approval, attempted, actor=actor) from refusal


def _require_time(approval: Approval, attempted: str, to: str, actor: Actor) -> None:
    """Raise ApprovalExpired, recorded, for an open request that is past its time."""
    if approval.status == ApprovalStatus.PENDING and approval.is_overdue():
        members = {"from": str(approval.status), "to": to, "allowed": list(approval.allowed_transitions())}
        refusal = ApprovalExpired(f"Its time passed at {instant(approval.expires_at)}.", members=members)
        raise remembered(refusal, approval, attempted, actor=actor)


def _decide(approval: Approval, verdict: Verdict, comments: str, actor: Actor) -> None:
    """Insert the decision. The database copies requester and holder beside it, and checks all rules again."""
    Decision(
        approval=approval,
        decider_issuer=actor.identity.issuer,
        decider_subject=actor.identity.subject,
        decider_kind=actor.kind,
        decision=verdict,
        comments=comments,
        decided_at=approval.now,
    ).save(force_insert=True)
