"""Deleting tasks and sessions that are over: what is retained, and who must agree."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from audit_app.trail import Action, instant
from orchestrator.actors import Actor
from orchestrator.work_problems import AlreadyRejected, Retained
from sessions_app.earlier_requests import as_earlier
from sessions_app.models import Approval, Decision, Session, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.clock import with_clock
from sessions_app.requesters import Requester
from sessions_app.transitions.admission import admit
from sessions_app.transitions.approvals.consumption import consume
from sessions_app.transitions.approvals.requests import Question, digest_of, request_action
from sessions_app.transitions.batch import gone
from sessions_app.transitions.change import remove


def prepare_second_person(actor: Actor) -> None:
    """Admit an actor who deletes, where that takes a request: admission comes before all row locks.

    Raises Unauthenticated for an actor who is cut off.
    """
    if settings.DELETE_NEEDS_SECOND_PERSON:
        admit(actor)


def delete_with_approvals(fresh: Task | Session, action: Action, *, reason: str, actor: Actor) -> Approval | None:
    """Delete a locked row that is over, with its approvals, and return None; or return the request to wait for.

    Raises Retained while its decided approvals are kept; what `second_person()` raises.
    """
    about = {"task": fresh} if isinstance(fresh, Task) else {"session": fresh}
    approvals = list(Approval.objects.filter(**about).order_by("pk").select_for_update(no_key=True))
    _require_retention_passed(fresh, approvals)
    if settings.DELETE_NEEDS_SECOND_PERSON:
        request = second_person({"act": f"{fresh.NOUN}.delete", f"{fresh.NOUN}_id": str(fresh.pk)}, reason, actor=actor)
        if request is not None:
            return request
    remove(fresh, action, actor=actor, reason=reason)
    gone(approvals, Action.APPROVAL_DELETED, at=fresh.now, actor=actor, cause=fresh.last_event, reason=reason)
    return None


def second_person(act: dict[str, Any], reason: str, *, actor: Actor) -> Approval | None:
    """Consume the grant for an act of the actor and return None, or return the open request for it.

    The first call makes the request, to the role DELETE_APPROVER_ROLE.

    Raises AlreadyRejected where that was rejected, and what `request_action()` raises.
    """
    request = _request_for(act, actor)
    if request is not None:
        if request.status == ApprovalStatus.APPROVED and not request.has_lapsed():
            consume(request, act, actor=actor)
            return None
        if request.status == ApprovalStatus.PENDING and not request.is_overdue():
            return request
        if request.status == ApprovalStatus.REJECTED:
            raise AlreadyRejected(as_earlier(request).out())
    question = Question(
        approver_role=settings.DELETE_APPROVER_ROLE,
        lasting=timedelta(seconds=settings.APPROVAL_USE_WITHIN_SECONDS),
        reason=reason,
        action=act,
    )
    return request_action(None, question, actor=actor)


def _request_for(act: dict[str, Any], actor: Actor) -> Approval | None:
    """Return the latest unconsumed request of an act that began with the actor, if any.

    An operator who reopened or replaced one of them made its successor, so the first requester counts.
    """
    rows = Approval.objects.filter(
        task=None, session=None, action_digest=digest_of(act), tenant=actor.tenant, consumed_at=None
    )
    theirs = RawSQL(
        "EXISTS (SELECT FROM work_requester(approvals.id) r"
        " WHERE (r.issuer, r.subject, r.behalf_issuer, r.behalf_subject) IS NOT DISTINCT FROM (%s, %s, %s, %s))",
        Requester.of(actor).columns(),
        BooleanField(),
    )
    return with_clock(rows.filter(theirs)).order_by("-created_at", "-pk").first()


def _require_retention_passed(fresh: Task | Session, approvals: list[Approval]) -> None:
    """Raises Retained until APPROVAL_RETENTION_DAYS after the end of a row that people decided about."""
    until = fresh.updated_at + timedelta(days=settings.APPROVAL_RETENTION_DAYS)
    if fresh.now < until and Decision.objects.filter(approval__in=approvals).exists():
        raise Retained(instant(until))
