"""How approvals are asked for, decided, called off and used.

Whoever moves an approval locks its task first: the decision and what it does to the task are one, and a task cannot
end, be handed on or be asked about again meanwhile.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from audit_app.trail import Action, instant
from orchestrator.actors import Actor
from orchestrator.canonical import dumps
from orchestrator.problems import Forbidden, SeparationOfDuties
from orchestrator.work_problems import (
    ActionMismatch,
    AlreadyConsumed,
    AlreadyDecided,
    ApprovalExpired,
    DeadlineExceeded,
    IllegalTransition,
)
from sessions_app.models import Approval, Decision, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.decision import Verdict
from sessions_app.models.task import TaskStatus
from sessions_app.transitions import answering
from sessions_app.transitions.batch import create_many
from sessions_app.transitions.change import changed, create, insist_on_version, lock
from sessions_app.transitions.lapse import REPEATABLE, requeue_lapsed
from sessions_app.transitions.refusing import remembered
from sessions_app.transitions.separation import barred, kept_from_using
from sessions_app.transitions.settling import count_settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, of whom, how many have to agree, and for how long it may be answered."""

    approver_role: str
    lasting: timedelta
    reason: str = ""
    required_approvals: int = 1
    action: Mapping[str, Any] | None = None


def digest_of(action: Mapping[str, Any]) -> bytes:
    """What an action is known by: SHA-256 of its canonical JSON (RFC 8785), 32 bytes."""
    return hashlib.sha256(dumps(dict(action))).digest()


def request(task: Task, question: Question, *, actor: Actor) -> Approval:
    """Ask about a task: one that nobody holds waits for the answer, one that is held stays with its holder.

    One whose lease ran out is held by nobody, whether or not the sweep has come by: it is put back first.
    Raises IllegalTransition for a task that is over, or would be with the sweep.
    """
    fresh = lock(task)
    if fresh.is_lapsed() and not fresh.is_past_deadline():
        requeue_lapsed(Task.objects.filter(REPEATABLE, pk=fresh.pk), actor=actor)
        fresh = lock(task)
    if fresh.is_terminal or fresh.is_lapsed() or fresh.is_past_deadline():
        raise IllegalTransition(
            before=str(fresh.status), to=str(TaskStatus.BLOCKED), allowed=fresh.allowed_transitions()
        )
    approval = ask(fresh, question, at=fresh.now, actor=actor)
    if fresh.status == TaskStatus.PENDING:
        with changed(fresh, Action.TASK_BLOCKED, actor=actor, cause=approval.last_event) as waiting:
            waiting.block()
    return approval


def ask(task: Task, question: Question, *, at: datetime, actor: Actor) -> Approval:
    """The approval of a task that is locked."""
    return create(_asked(task, question, at), Action.APPROVAL_CREATED, at=at, actor=actor)


def ask_many(task: Task, questions: Sequence[Question], *, at: datetime, actor: Actor) -> None:
    """The approvals of a task that was just made, which is their cause."""
    asked = [_asked(task, question, at) for question in questions]
    create_many(asked, Action.APPROVAL_CREATED, at=at, actor=actor, cause=task.last_event)


def _asked(task: Task, question: Question, at: datetime) -> Approval:
    action = None if question.action is None else dict(question.action)
    return Approval(
        task=task,
        approver_role=question.approver_role,
        reason=question.reason,
        required_approvals=question.required_approvals,
        action=action,
        action_digest=None if action is None else digest_of(action),
        blocks=task.status != TaskStatus.ACTIVE,
        expires_at=at + question.lasting,
    )


def approve(
    approval: Approval, *, comments: str = "", actor: Actor, if_match: frozenset[int] | None = None
) -> Approval:
    """One person agrees. The last one needed settles it, and lets a blocked task go on once no other question is open.

    Raises SeparationOfDuties, ApprovalExpired and AlreadyDecided, remembered; IllegalTransition where it is settled;
    PreconditionFailed if `if_match` names other versions.
    """
    task, fresh = _insist_on_decision(approval, Verdict.APPROVED, actor, if_match)
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
        answering.granted(task, fresh, actor=actor)
    return fresh


def reject(approval: Approval, *, comments: str = "", actor: Actor, if_match: frozenset[int] | None = None) -> Approval:
    """One person refuses, which settles it: a blocked task fails.

    Raises what `approve()` raises.
    """
    task, fresh = _insist_on_decision(approval, Verdict.REJECTED, actor, if_match)
    _decide(fresh, Verdict.REJECTED, comments, actor)
    with changed(fresh, Action.APPROVAL_REJECTED, actor=actor, reason=comments) as refused:
        refused.reject()
        refused.decision_at, refused.notes = refused.now, comments
    count_settled([fresh])
    answering.refused(task, fresh, actor=actor)
    return fresh


def cancel(approval: Approval, *, reason: str = "", actor: Actor, if_match: frozenset[int] | None = None) -> Approval:
    """It is asked no more: a blocked task is cancelled with it, unless another question is open.

    Raises ApprovalExpired, IllegalTransition, PreconditionFailed if `if_match` names other versions.
    """
    task, fresh = _locked(approval, if_match)
    _insist_on_time(fresh, "cancel", "cancelled", actor)
    with changed(fresh, Action.APPROVAL_CANCELLED, actor=actor, reason=reason) as cancelled:
        cancelled.cancel()
    count_settled([fresh])
    answering.withdrawn(task, fresh, actor=actor)
    return fresh


def consume(
    approval: Approval, action: Mapping[str, Any], *, actor: Actor, if_match: frozenset[int] | None = None
) -> Approval:
    """Use what was agreed to, once, for exactly that action: whoever may go on has it from here.

    The lock settles the race of two who use it at once: the second finds it used. Raises Forbidden for somebody who
    neither asked nor holds the task, or held it and holds it no more, DeadlineExceeded past the task's deadline,
    ActionMismatch and AlreadyConsumed, all remembered; IllegalTransition where it is not approved, or its task is over
    or waits for others; PreconditionFailed if `if_match` names other versions.
    """
    task, fresh = _locked(approval, None)
    if (why := kept_from_using(fresh, task, actor)) is not None:
        raise remembered(Forbidden(why), fresh, "consume", actor=actor)
    insist_on_version(fresh, if_match)
    is_out_of_reach = task.is_terminal or task.status == TaskStatus.BLOCKED
    if fresh.status != ApprovalStatus.APPROVED or is_out_of_reach:
        before = str(task.status if is_out_of_reach else fresh.status)
        raise IllegalTransition(before=before, to="consumed", allowed=fresh.allowed_transitions())
    if task.is_past_deadline():
        raise remembered(DeadlineExceeded(), fresh, "consume", actor=actor)
    if not hmac.compare_digest(bytes(fresh.action_digest or b""), digest_of(action)):
        raise remembered(ActionMismatch(), fresh, "consume", actor=actor)
    if fresh.consumed_at is not None:
        raise remembered(AlreadyConsumed(f"It was at {instant(fresh.consumed_at)}."), fresh, "consume", actor=actor)
    with changed(fresh, Action.APPROVAL_CONSUMED, actor=actor) as used:
        used.consumed_at = used.now
    return fresh


def _locked(approval: Approval, if_match: frozenset[int] | None) -> tuple[Task, Approval]:
    """The task, then the approval: always in this order."""
    task = lock(Task(pk=approval.task_id))
    return task, lock(approval, if_match=if_match)


def _insist_on_decision(
    approval: Approval, verdict: Verdict, actor: Actor, if_match: frozenset[int] | None
) -> tuple[Task, Approval]:
    task, fresh = _locked(approval, None)
    attempted = "approve" if verdict is Verdict.APPROVED else "reject"
    if (why := barred(fresh, task, actor)) is not None:
        raise remembered(SeparationOfDuties(why), fresh, attempted, actor=actor)
    insist_on_version(fresh, if_match)
    _insist_on_time(fresh, attempted, str(verdict), actor)
    if fresh.status != ApprovalStatus.PENDING or task.is_terminal:
        refusal = IllegalTransition(before=str(fresh.status), to=str(verdict), allowed=())
        raise remembered(refusal, fresh, attempted, actor=actor)
    who = actor.identity
    if Decision.objects.filter(approval=fresh, decider_issuer=who.issuer, decider_subject=who.subject).exists():
        raise remembered(AlreadyDecided(), fresh, attempted, actor=actor)
    return task, fresh


def _insist_on_time(approval: Approval, attempted: str, to: str, actor: Actor) -> None:
    """Raises ApprovalExpired, remembered, for what is still open but past its time."""
    if approval.status == ApprovalStatus.PENDING and approval.is_overdue():
        members = {"from": str(approval.status), "to": to, "allowed": list(approval.allowed_transitions())}
        refusal = ApprovalExpired(f"Its time passed at {instant(approval.expires_at)}.", members=members)
        raise remembered(refusal, approval, attempted, actor=actor)


def _decide(approval: Approval, verdict: Verdict, comments: str, actor: Actor) -> None:
    """The person's word. The database adds who asked and who holds the task, and checks that it is nobody of these."""
    Decision(
        approval=approval,
        decider_issuer=actor.identity.issuer,
        decider_subject=actor.identity.subject,
        decider_kind=actor.kind,
        decision=verdict,
        comments=comments,
        decided_at=approval.now,
    ).save(force_insert=True)


def questions_of(task: Task) -> list[Question]:
    """What a task waited for, to be asked again of the one that retries it."""
    return [
        Question(
            approver_role=asked.approver_role,
            lasting=asked.expires_at - asked.created_at,
            reason=asked.reason,
            required_approvals=asked.required_approvals,
            action=asked.action,
        )
        for asked in Approval.objects.filter(task=task, blocks=True).order_by("created_at", "pk")
    ]
