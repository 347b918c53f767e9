"""What people read of an approval: what exactly is asked, and who said what."""

from typing import Any

from orchestrator.actors import Actor
from orchestrator.admin import showing
from orchestrator.admin.site import page_of
from sessions_app import permissions
from sessions_app.models import Approval, Decision, Task

_DECISION = ("Who", "What", "When (UTC)", "Comments")


def asked(approval: Approval, actor: Actor) -> list[tuple[str, str]]:
    """Everything that somebody agrees to, or refuses; of the task only as much as this actor sees."""
    task = permissions.visible(Task, actor).filter(pk=approval.task_id).first() if approval.task_id else None
    digest = bytes(approval.action_digest).hex() if approval.action_digest else "–"
    return [
        *_about(approval, task),
        ("Reason", showing.text(approval.reason)),
        ("Action", showing.document(approval.action)),
        ("SHA-256 of the action", showing.code(digest)),
        ("Requested by", str(approval.created_by)),
        ("On behalf of", showing.identity(approval.on_behalf_of_issuer, approval.on_behalf_of_subject)),
        ("Agreed", f"{approval.granted} of {approval.required_approvals}"),
        ("Expires (UTC)", showing.until(approval.expires_at, over=is_over(approval))),
    ]


def decisions(approval: Approval) -> dict[str, Any]:
    """Who said what, in the order in which they did."""
    said = permissions.decisions_on([approval])[approval.pk]
    return showing.table(_DECISION, said, _decision, title="Decisions")


def agreed(approval: Approval) -> str:
    """How many agreed, and how many have to."""
    return f"{approval.granted}/{approval.required_approvals}"


def is_over(approval: Approval) -> bool:
    """Whether it is past its time and nobody settled it before."""
    return approval.is_overdue() and not approval.is_terminal


def _about(approval: Approval, task: Task | None) -> list[tuple[str, str]]:
    if task is None:
        return [("Task", str(approval.task_id))] if approval.task_id else []
    return [
        ("Task", showing.linked(task.pk, page_of(Task, task.pk))),
        ("Type", task.task_type),
        ("From → to", f"{task.from_role} → {task.to_role}"),
        ("Description", showing.text(task.description)),
    ]


def _decision(decision: Decision) -> list[str]:
    at = showing.moment(decision.decided_at)
    return [str(decision.decider), showing.badge(decision.decision), at, showing.text(decision.comments)]
