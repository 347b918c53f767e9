"""Approval: a person's yes or no to one task."""

from typing import ClassVar

from django.db import models
from django_fsm import FSMField

from sessions_app.models.recorded import Recorded
from sessions_app.models.task import Task


class ApprovalStatus(models.TextChoices):
    """Where an approval can be."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Approval(Recorded):
    """A question put to people of one role about one task."""

    NOUN = "approval"

    # The cascade is the database's own, so that no path round Django leaves an approval without its task.
    task = models.ForeignKey(
        Task, on_delete=models.DO_NOTHING, db_index=False, db_constraint=False, related_name="approvals"
    )
    approver_role = models.CharField(max_length=50)
    status = FSMField(max_length=20, choices=ApprovalStatus.choices, default=ApprovalStatus.PENDING, protected=True)
    decision_at = models.DateTimeField(null=True)
    notes = models.TextField(default="")
    expires_at = models.DateTimeField()

    class Meta:
        """Table and index names of the system this one replaces."""

        db_table = "approvals"
        indexes: ClassVar = [
            models.Index(fields=["task"], name="idx_approvals_task_id"),
            models.Index(fields=["status"], name="idx_approvals_status"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="approvals_status", condition=models.Q(status__in=ApprovalStatus.values)),
            models.CheckConstraint(name="approvals_version", condition=models.Q(version__gte=1)),
        ]

    @property
    def trail_role(self) -> str:
        """The role that is to decide."""
        return self.approver_role
