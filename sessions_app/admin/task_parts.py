"""What belongs to a task, as tables: its approvals, its attempts, its sessions, the task that retries it."""

from typing import Any

from django.utils.text import Truncator

from orchestrator.actors import Actor
from orchestrator.admin import showing
from orchestrator.admin.site import page_of
from sessions_app import permissions
from sessions_app.admin.approval_parts import requests
from sessions_app.models import Approval, Attempt, Session, Task
from sessions_app.models.task import TaskStatus

_ATTEMPT = ("Epoch", "Attempt", "Holder", "On behalf of", "Claimed (UTC)", "Ended (UTC)", "Outcome", "Error")
_SESSION = ("Id", "Role", "Status", "Created (UTC)", "Created by")
_RETRY = ("Id", "Status", "Created (UTC)", "Created by")


def approvals(task: Task, actor: Actor) -> dict[str, Any]:
    """What people are or were asked about it, as far as this actor sees that, the newest first."""
    return requests(permissions.visible(Approval, actor).filter(task=task))


def attempts(task: Task) -> dict[str, Any]:
    """Who held it, the newest first."""
    rows = permissions.attempts_of(task).order_by("-epoch").defer("token_hash", "ended_by")
    return showing.table(_ATTEMPT, rows, _attempt, title="Attempts")


def sessions(task: Task, actor: Actor) -> dict[str, Any]:
    """Those that this actor may see, the newest first."""
    rows = permissions.visible(Session, actor).filter(task=task).order_by("-created_at", "-id")
    return showing.table(_SESSION, rows.defer("metadata", "reason", "audit_head"), _session, title="Sessions")


def retries(task: Task, actor: Actor) -> dict[str, Any]:
    """What tries again what failed, if this actor may see it."""
    rows = permissions.visible(Task, actor).filter(retry_of=task)
    return showing.table(_RETRY, rows.defer("data", "context", "progress"), _retry, title="Retried by")


def parts(task: Task, actor: Actor) -> list[dict[str, Any]]:
    """All of them, where they can be."""
    failed = str(task.status) == TaskStatus.FAILED
    return [approvals(task, actor), attempts(task), sessions(task, actor), *([retries(task, actor)] if failed else [])]


def _attempt(attempt: Attempt) -> list[str]:
    return [
        *(str(attempt.epoch), str(attempt.attempt), str(attempt.holder)),
        showing.identity(attempt.holder_for_issuer, attempt.holder_for_subject),
        *(showing.moment(attempt.claimed_at), showing.moment(attempt.ended_at)),
        *(showing.badge(attempt.outcome), _in_short(attempt.error)),
    ]


def _session(session: Session) -> list[str]:
    where = showing.linked(session.pk, page_of(Session, session.pk))
    made = showing.moment(session.created_at)
    return [where, session.role, showing.badge(session.status), made, str(session.created_by)]


def _retry(task: Task) -> list[str]:
    where = showing.linked(task.pk, page_of(Task, task.pk))
    return [where, showing.badge(task.status), showing.moment(task.created_at), str(task.created_by)]


def _in_short(error: Any) -> str:
    return Truncator(f"{error.get('code')}: {error.get('message')}").chars(200) if error else "–"
