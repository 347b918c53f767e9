"""Locking an approval together with what it is about."""

from dataclasses import dataclass

from sessions_app.models import Approval, Session, Task
from sessions_app.transitions.change import lock


@dataclass(frozen=True, slots=True)
class Subject:
    """The locked task or session that requests are about; neither for an action that stands alone."""

    task: Task | None = None
    session: Session | None = None

    @property
    def is_over(self) -> bool:
        """Whether the task or the session has ended. A session past its time has, before any sweep."""
        if self.task is not None:
            return self.task.is_terminal
        return self.session is not None and (self.session.is_terminal or self.session.is_overdue())

    @property
    def is_past_deadline(self) -> bool:
        """Whether the deadline of the task has passed."""
        return self.task is not None and self.task.is_past_deadline()


@dataclass(frozen=True, slots=True)
class Locked:
    """A locked approval and its locked subject."""

    approval: Approval
    subject: Subject

    @property
    def task(self) -> Task | None:
        """The task of the approval."""
        return self.subject.task


def lock_with_subject(approval: Approval, *, if_match: frozenset[int] | None = None) -> Locked:
    """Lock the task or the session of an approval, then the approval, in this order everywhere.

    The decision and its effect on the task are one, and a task or session cannot end while its approval changes.

    Raises NotFound if a row is gone, PreconditionFailed if `if_match` names other versions of the approval.
    """
    task = lock(Task(pk=approval.task_id)) if approval.task_id is not None else None
    session = lock(Session(pk=approval.session_id)) if approval.session_id is not None else None
    return Locked(lock(approval, if_match=if_match), Subject(task, session))
