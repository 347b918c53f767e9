"""Task: work that one role routes to another."""

from typing import ClassVar

from django.db import models
from django_fsm import FSMField

from sessions_app.models.decoder import Decoder
from sessions_app.models.recorded import Recorded


class TaskStatus(models.TextChoices):
    """Where a task can be."""

    PENDING = "pending"
    BLOCKED = "blocked"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Task(Recorded):
    """Work routed from one agent role to another."""

    NOUN = "task"

    task_type = models.CharField(max_length=50)
    description = models.TextField(default="")
    from_role = models.CharField(max_length=50)
    to_role = models.CharField(max_length=50)
    status = FSMField(max_length=20, choices=TaskStatus.choices, default=TaskStatus.PENDING, protected=True)
    data = models.JSONField(default=dict, decoder=Decoder)
    trace_id = models.CharField(max_length=128, default="")
    # Hex of the scoped key hash, never the raw key. Being once is the business of the idempotency records.
    idempotency_key = models.CharField(max_length=64, null=True)

    class Meta:
        """Table and index names of the system this one replaces."""

        db_table = "tasks"
        indexes: ClassVar = [
            models.Index(fields=["trace_id"], name="idx_tasks_trace_id"),
            models.Index(fields=["-created_at"], name="idx_tasks_created_at"),
            models.Index(fields=["idempotency_key"], name="idx_tasks_idempotency_key"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="tasks_status", condition=models.Q(status__in=TaskStatus.values)),
            models.CheckConstraint(name="tasks_version", condition=models.Q(version__gte=1)),
        ]

    @property
    def trail_role(self) -> str:
        """The role that is to do it."""
        return self.to_role
