"""What people read about an approval: what exactly is asked, what was decided before, and who decided what."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orchestrator.actors import Actor
from orchestrator.admin import showing
from orchestrator.admin.site import page_of
from sessions_app import permissions
from sessions_app.earlier_requests import Earlier, earlier_requests
from sessions_app.models import Approval, Decision, Session, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.decision import SetAside

_REQUEST = ("Id", "Role", "Status", "Agreed", "Requested by", "Expires (UTC)", "Created (UTC)")
_DECISION = ("Who", "What", "When (UTC)", "Comments")
_SET_ASIDE = {
    SetAside.WITHDRAWN: "withdrawn by the person",
    SetAside.CUT_OFF: "the person was cut off",
    SetAside.SAME_PERSON: "another decision of the same person counts, or it is their own matter",
}
"""Why a decision does not count, for people."""

Particulars = list[tuple[str, str]]


def asked(approval: Approval, actor: Actor) -> Particulars:
    """Return what a person agrees to, or rejects, earlier rejections first; of its task only what the actor sees."""
    digest = bytes(approval.action_digest).hex() if approval.action_digest else "–"
    earlier = earlier_requests([approval])[approval.pk]
    former = [pk for pk in (approval.reopens_id, approval.replaces_id) if pk is not None]
    seen = _seen({*former, *(one.approval_id for one in earlier)}, actor)
    rejected = [one for one in earlier if one.outcome == ApprovalStatus.REJECTED]
    others = [one for one in earlier if one.outcome != ApprovalStatus.REJECTED]
    return [
        *_entry("Rejected before", rejected, seen),
        *_lack(approval),
        ("Kind", f"{approval.kind}".capitalize()),
        *_about(approval, actor),
        ("Reason", showing.text(approval.reason)),
        ("Action", showing.document(approval.action)),
        ("SHA-256 of the action", showing.code(digest)),
        ("Requested by", str(approval.created_by)),
        ("On behalf of", showing.identity(approval.on_behalf_of_issuer, approval.on_behalf_of_subject)),
        ("Agreed", f"{approval.granted} of {approval.required_approvals}"),
        ("Expires (UTC)", showing.until(approval.expires_at, over=is_over(approval))),
        *_use(approval),
        *_line(approval, actor, seen),
        *_entry("Earlier requests", others, seen),
    ]


def requests(rows: Any) -> dict[str, Any]:
    """Return the requests of a query as the table on the page of their task or session, the newest first."""
    ordered = rows.order_by("-created_at", "-id").defer("action", "reason", "notes", "audit_head")
    return showing.table(_REQUEST, ordered, _request, title="Approvals")


def decisions(approval: Approval) -> dict[str, Any]:
    """Return the decisions as a table, in the order in which they were made."""
    made = permissions.decisions_on([approval])[approval.pk]
    return showing.table(_DECISION, made, _decision, title="Decisions")


def decisions_in_short(approval: Approval) -> Particulars:
    """Return the decisions as one entry for a form, which has no room for a table."""
    made = permissions.decisions_on([approval])[approval.pk]
    lines = [format_html("{} {} {} {}", *_decision(decision)) for decision in made]
    return [("Decisions", showing.listed(lines))] if made else []


def agreed(approval: Approval) -> str:
    """Return how many agreed and how many must; with a warning where too few known people can decide."""
    count = f"{approval.granted}/{approval.required_approvals}"
    return format_html("{} {}", count, _known(approval)) if approval.lacks_approvers else count


def about(approval: Approval) -> str:
    """Return the kind, and the id of the task or session with a link to its page; neither row is read."""
    if approval.task_id is not None:
        task = showing.linked(approval.task_id, page_of(Task, approval.task_id))
        return format_html("<span>{} {}</span>", approval.kind, task)
    if approval.session_id is not None:
        session = showing.linked(approval.session_id, page_of(Session, approval.session_id))
        return format_html("<span>{} in session {}</span>", approval.kind, session)
    return str(approval.kind)


def is_over(approval: Approval) -> bool:
    """Return whether it is past its time and was not settled before."""
    return approval.is_overdue() and not approval.is_terminal


def _known(approval: Approval) -> SafeString:
    return showing.warning(f"Known approvers: {approval.known_approvers} of {approval.required_approvals} needed")


def _lack(approval: Approval) -> Particulars:
    return [("Warning", _known(approval))] if approval.lacks_approvers else []


def _about(approval: Approval, actor: Actor) -> Particulars:
    """Return what the request is about, as far as the actor sees it."""
    if approval.task_id is not None:
        for task in permissions.visible(Task, actor).filter(pk=approval.task_id):
            return [
                ("Task", showing.linked(task.pk, page_of(Task, task.pk))),
                ("Type", task.task_type),
                ("From → to", f"{task.from_role} → {task.to_role}"),
                ("Description", showing.text(task.description)),
            ]
        return [("Task", str(approval.task_id))]
    if approval.session_id is None:
        return []
    for session in permissions.visible(Session, actor).filter(pk=approval.session_id).defer("metadata", "reason"):
        return [
            ("Session", showing.linked(session.pk, page_of(Session, session.pk))),
            ("Role of the session", session.role),
            ("Status of the session", showing.badge(session.status)),
        ]
    return [("Session", str(approval.session_id))]


def _use(approval: Approval) -> Particulars:
    """Return for how long a grant is good and, once granted, until when."""
    within = approval.use_within_seconds
    if within is None or approval.action is None:
        return []
    entries: Particulars = [("Use within", f"{showing.duration(within)} after the approval")]
    if approval.approved_until is not None:
        over = approval.has_lapsed() and approval.consumed_at is None
        entries.append(("May be consumed until (UTC)", showing.until(approval.approved_until, over=over)))
    return entries


def _line(approval: Approval, actor: Actor, seen: set[UUID]) -> Particulars:
    """Return the requests that this one reopens or replaces, and those that reopen or replace it."""
    entries: Particulars = []
    for title, pk in (("Reopens", approval.reopens_id), ("Replaces", approval.replaces_id)):
        if pk is not None:
            entries.append((title, _link(pk, seen)))
    if approval.status not in (ApprovalStatus.REJECTED, ApprovalStatus.CANCELLED):
        return entries
    later = permissions.visible(Approval, actor).filter(Q(reopens=approval) | Q(replaces=approval))
    for pk, reopens in later.order_by("created_at", "id").values_list("pk", "reopens_id"):
        entries.append(("Replaced by" if reopens is None else "Reopened by", _link(pk, {pk})))
    return entries


def _seen(pks: set[UUID], actor: Actor) -> set[UUID]:
    """Return those of some requests whose pages the actor may open."""
    return set(permissions.visible(Approval, actor).filter(pk__in=pks).values_list("pk", flat=True)) if pks else set()


def _link(pk: UUID, seen: set[UUID]) -> str:
    return showing.linked(pk, page_of(Approval, pk) if pk in seen else None)


def _entry(title: str, earlier: Sequence[Earlier], seen: set[UUID]) -> Particulars:
    return [(title, showing.listed([_settled(one, seen) for one in earlier]))] if earlier else []


def _settled(one: Earlier, seen: set[UUID]) -> SafeString:
    who = f"by {', '.join(one.deciders)}," if one.deciders else ""
    line = (showing.badge(one.outcome), showing.moment(one.at), who, one.approver_role, _link(one.approval_id, seen))
    return format_html("{} {} {} role {}: {}{}", *line, showing.text(one.comments) if one.comments else "")


def _request(approval: Approval) -> list[str]:
    where = showing.linked(approval.pk, page_of(Approval, approval.pk))
    state, ends = showing.badge(approval.status), showing.until(approval.expires_at, over=is_over(approval))
    about = [agreed(approval), str(approval.created_by), ends, showing.moment(approval.created_at)]
    return [where, approval.approver_role, state, *about]


def _decision(decision: Decision) -> list[str]:
    cells: list[str] = [str(decision.decider), showing.badge(decision.decision), showing.moment(decision.decided_at)]
    if decision.set_aside_at is None:
        return [*cells, showing.text(decision.comments)]
    why = _SET_ASIDE[SetAside(str(decision.set_aside_reason))]
    verdict = format_html(
        "<del>{}</del> does not count since {}: {}", decision.decision, showing.moment(decision.set_aside_at), why
    )
    return [showing.greyed(cell) for cell in (cells[0], verdict, cells[2], showing.text(decision.comments))]
