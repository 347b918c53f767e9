"""The moves that people make of tasks."""

from orchestrator.actors import Actor
from sessions_app import permissions
from sessions_app.admin.moves import Move
from sessions_app.models import Task
from sessions_app.models.task import TaskStatus
from sessions_app.transitions import lease
from sessions_app.transitions import task as transitions


def _can_be_cancelled(task: Task) -> bool:
    return not task.is_terminal and (not task.cancel_requested or task.is_lapsed())


def _can_be_released(task: Task) -> bool:
    return str(task.status) == TaskStatus.ACTIVE


def _can_be_retried(task: Task) -> bool:
    return str(task.status) == TaskStatus.FAILED and not task.retries.exists()


def _insist_may_steer(actor: Actor, _task: Task) -> None:
    permissions.insist_may_steer(actor)


def _told(task: Task) -> str:
    if task.cancel_requested and not task.is_terminal:
        return "Its holder is told to stop; the task is cancelled when its lease ends."
    return f"The task is {task.status}."


MOVES = {
    "cancel": Move(
        model=Task,
        verb="Cancel",
        past="called off",
        ends=True,
        insist=permissions.insist_may_cancel,
        is_legal=_can_be_cancelled,
        make=transitions.cancel,
        tell=_told,
        note="Where somebody holds a task, they are told to stop, and it ends with their lease.",
    ),
    "force-release": Move(
        model=Task,
        verb="Force-release",
        past="force-released",
        ends=False,
        insist=_insist_may_steer,
        is_legal=_can_be_released,
        make=lease.force_release,
        tell=_told,
        note="What its holder sends from then on is refused, and somebody else may claim it at once.",
    ),
    "retry": Move(
        model=Task,
        verb="Retry",
        past="retried",
        ends=False,
        insist=_insist_may_steer,
        is_legal=_can_be_retried,
        make=transitions.retry,
        tell=lambda again: f"This task tries again what {again.retry_of_id} failed at.",
        note="A new task gets the same work; this one stays as it is.",
    ),
}
"""By the words that the API has for them."""
