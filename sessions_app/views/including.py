"""GET /tasks/{id}?include=: what belongs to a task, beside it."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.actors import Actor
from orchestrator.answer_size import AnswerSize
from orchestrator.problems import InvalidRequest
from sessions_app import permissions
from sessions_app.models import Approval, Session, Task
from sessions_app.serializers.session import session_out
from sessions_app.serializers.task import attempt_out
from sessions_app.views.approval_shapes import approvals_out

PARAMETER = "include"
MOST = 100
"""How many of each kind are shown, the newest; the lists have them all."""


def _sessions(task: Task, actor: Actor, size: AnswerSize) -> list[dict[str, Any]]:
    rows = permissions.visible(Session, actor).filter(task=task).order_by("-created_at", "-id")
    return [session_out(row) for row in size.rows(rows[:MOST])]


def _attempts(task: Task, actor: Actor, size: AnswerSize) -> list[dict[str, Any]]:
    return [attempt_out(row) for row in size.rows(permissions.attempts_of(task).order_by("-epoch")[:MOST])]


def _approvals(task: Task, actor: Actor, size: AnswerSize) -> list[dict[str, Any]]:
    rows = permissions.visible(Approval, actor).filter(task=task).order_by("-created_at", "-id")
    return approvals_out(size.rows(rows[:MOST]))


_PARTS: Mapping[str, Callable[[Task, Actor, AnswerSize], list[dict[str, Any]]]] = {
    "sessions": _sessions,
    "approvals": _approvals,
    "attempts": _attempts,
}


def wanted(query: Mapping[str, str]) -> list[str]:
    """What to show beside the task, a comma list. Raises InvalidRequest."""
    if PARAMETER not in query:
        return []
    named = query[PARAMETER].split(",")
    if unknown := [name for name in named if name not in _PARTS]:
        raise InvalidRequest([(PARAMETER, f"There is no {unknown[0]!r}: {', '.join(_PARTS)}.")])
    if len(set(named)) < len(named):
        raise InvalidRequest([(PARAMETER, "Each part may be named once.")])
    return named


def included(parts: list[str], task: Task, actor: Actor) -> dict[str, Any]:
    """Return each part by its name, the newest first; only what the actor may see.

    Raises AnswerTooLarge where the parts together hold too many bytes.
    """
    size = AnswerSize("Name fewer parts in include, or page through the lists with task_id.")
    return {name: _PARTS[name](task, actor, size) for name in parts}
