"""Session: an agent's piece of work, from opening to end."""

from typing import ClassVar

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django_fsm import FSMField, transition

from sessions_app.models.decoder import Decoder
from sessions_app.models.recorded import Recorded
from sessions_app.models.task import Task

MAX_OPEN_OF_TASK = 100
"""How many sessions of one task may be open at once. The database has the same number."""


class SessionStatus(models.TextChoices):
    """Where a session can be."""

    PENDING = "pending"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"


class Session(Recorded):
    """An agent's piece of work.

    pending ──activate──▶ active ──complete──▶ completed
       │                    ├──────fail──────▶ failed
       └──────expire────────┴─────expire─────▶ expired
    """

    NOUN = "session"
    FILED_UNDER = "role"
    TOLD = ("task_id", "metadata", "expires_at")

    role = models.CharField(max_length=50)
    task = models.ForeignKey(Task, on_delete=models.DO_NOTHING, null=True, db_index=False, related_name="sessions")
    status = FSMField(max_length=20, choices=SessionStatus.choices, default=SessionStatus.PENDING, protected=True)
    metadata = models.JSONField(default=dict, decoder=Decoder)
    reason = models.TextField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        """Table and index names of the system this one replaces."""

        db_table = "sessions"
        indexes: ClassVar = [
            models.Index(fields=["task"], name="idx_sessions_task_id"),
            models.Index(fields=["status"], name="idx_sessions_status"),
            models.Index(fields=["-created_at"], name="idx_sessions_created_at"),
            # For the lists: newest first, whole or by one filter, without a sort.
            models.Index(fields=["tenant", "-created_at", "-id"], name="sessions_page"),
            models.Index(fields=["tenant", "role", "-created_at", "-id"], name="sessions_page_role"),
            models.Index(fields=["tenant", "status", "-created_at", "-id"], name="sessions_page_status"),
            models.Index(
                fields=["tenant", "created_by_subject", "created_by_issuer", "-created_at", "-id"],
                name="sessions_page_created_by",
            ),
            GinIndex(fields=["metadata"], opclasses=["jsonb_path_ops"], name="sessions_metadata"),
            # For expiry: only what can still expire.
            models.Index(
                fields=["expires_at"],
                condition=models.Q(status__in=[SessionStatus.PENDING, SessionStatus.ACTIVE]),
                name="sessions_due",
            ),
            # For the bound on the open sessions of a task.
            models.Index(
                fields=["task"],
                condition=models.Q(status__in=[SessionStatus.PENDING, SessionStatus.ACTIVE], task__isnull=False),
                name="sessions_open_of_task",
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="sessions_status", condition=models.Q(status__in=SessionStatus.values)),
            models.CheckConstraint(name="sessions_version", condition=models.Q(version__gte=1)),
        ]

    @transition(field=status, source=SessionStatus.PENDING, target=SessionStatus.ACTIVE)
    def activate(self) -> None:
        """The agent began."""

    @transition(field=status, source=SessionStatus.ACTIVE, target=SessionStatus.COMPLETED)
    def complete(self) -> None:
        """The agent finished its work."""

    @transition(field=status, source=SessionStatus.ACTIVE, target=SessionStatus.FAILED)
    def fail(self) -> None:
        """The agent gave up."""

    @transition(field=status, source=[SessionStatus.PENDING, SessionStatus.ACTIVE], target=SessionStatus.EXPIRED)
    def expire(self) -> None:
        """Its time ran out, or somebody ended it for good."""

    def is_overdue(self) -> bool:
        """Whether its time had passed when the row was read, by the database's clock."""
        return self.expires_at <= self.now

    def allowed_transitions(self) -> tuple[str, ...]:
        """The states it may move to: nothing but expiry once its time has passed."""
        allowed = super().allowed_transitions()
        return tuple(state for state in allowed if state == SessionStatus.EXPIRED) if self.is_overdue() else allowed
