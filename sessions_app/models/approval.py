"""Approval: people's yes or no to one task."""

from typing import ClassVar

from django.db import models
from django_fsm import FSMField, transition

from sessions_app.models.decoder import Decoder
from sessions_app.models.recorded import Recorded
from sessions_app.models.task import Task

MOST_REQUIRED = 10


class ApprovalStatus(models.TextChoices):
    """Where an approval can be."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Approval(Recorded):
    """A question put to people of one role about one task.

    pending ──approve──▶ approved
       ├─────reject────▶ rejected
       ├─────expire────▶ expired
       └─────cancel────▶ cancelled

    Whoever made it asks. `granted` counts those who agreed so far. `action` is exactly what they agree to, and
    `action_digest` its SHA-256: an approved action may be consumed once. `blocks` says that its task waits for it.
    """

    NOUN = "approval"
    FILED_UNDER = "approver_role"
    TOLD = (
        *("task_id", "approver_role", "reason", "action", "action_digest", "required_approvals", "expires_at"),
        *("blocks", "granted", "notes", "consumed_at"),
    )

    # The cascade is the database's own, so that no path round Django leaves an approval without its task.
    task = models.ForeignKey(
        Task, on_delete=models.DO_NOTHING, db_index=False, db_constraint=False, related_name="approvals"
    )
    approver_role = models.CharField(max_length=50)
    status = FSMField(max_length=20, choices=ApprovalStatus.choices, default=ApprovalStatus.PENDING, protected=True)
    reason = models.TextField(default="")
    action = models.JSONField(null=True, decoder=Decoder)
    action_digest = models.BinaryField(null=True)
    required_approvals = models.SmallIntegerField(default=1)
    granted = models.SmallIntegerField(default=0)
    blocks = models.BooleanField(default=False)
    decision_at = models.DateTimeField(null=True)
    # The comments of the decision that settled it, for those who read the table.
    notes = models.TextField(default="")
    consumed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        """Table and index names of the system this one replaces; what is ours has names of its own."""

        db_table = "approvals"
        indexes: ClassVar = [
            models.Index(fields=["task"], name="idx_approvals_task_id"),
            models.Index(fields=["status"], name="idx_approvals_status"),
            # For the lists: newest first, whole or by one filter, without a sort.
            models.Index(fields=["tenant", "-created_at", "-id"], name="approvals_page"),
            models.Index(fields=["tenant", "approver_role", "-created_at", "-id"], name="approvals_page_role"),
            models.Index(
                fields=["tenant", "created_by_subject", "created_by_issuer", "-created_at", "-id"],
                name="approvals_page_created_by",
            ),
            # For the inboxes, and for expiry: only what is still open.
            models.Index(
                fields=["tenant", "approver_role", "-created_at", "-id"],
                condition=models.Q(status=ApprovalStatus.PENDING),
                name="approvals_inbox",
            ),
            models.Index(
                fields=["expires_at"], condition=models.Q(status=ApprovalStatus.PENDING), name="approvals_due"
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="approvals_status", condition=models.Q(status__in=ApprovalStatus.values)),
            models.CheckConstraint(name="approvals_version", condition=models.Q(version__gte=1)),
            models.CheckConstraint(
                name="approvals_quorum",
                condition=models.Q(
                    required_approvals__range=(1, MOST_REQUIRED), granted__range=(0, models.F("required_approvals"))
                ),
            ),
            models.CheckConstraint(
                name="approvals_action",
                condition=models.Q(action__isnull=True, action_digest__isnull=True)
                | models.Q(action__isnull=False, action_digest__isnull=False),
            ),
            # Only an action that was agreed to can be consumed.
            models.CheckConstraint(
                name="approvals_consumed",
                condition=models.Q(consumed_at__isnull=True)
                | models.Q(status=ApprovalStatus.APPROVED, action_digest__isnull=False),
            ),
        ]

    @transition(field=status, source=ApprovalStatus.PENDING, target=ApprovalStatus.APPROVED)
    def approve(self) -> None:
        """Enough people agreed."""

    @transition(field=status, source=ApprovalStatus.PENDING, target=ApprovalStatus.REJECTED)
    def reject(self) -> None:
        """Somebody refused."""

    @transition(field=status, source=ApprovalStatus.PENDING, target=ApprovalStatus.EXPIRED)
    def expire(self) -> None:
        """Nobody settled it in time."""

    @transition(field=status, source=ApprovalStatus.PENDING, target=ApprovalStatus.CANCELLED)
    def cancel(self) -> None:
        """It is not asked any more."""

    def is_overdue(self) -> bool:
        """Whether its time had passed when the row was read, by the database's clock."""
        return self.expires_at <= self.now

    def replaces(self, other: "Approval") -> bool:
        """Whether yes to this is yes to no less than the other asked: of the same role, as many people and the same
        action, asked after it.
        """
        return (
            self.approver_role == other.approver_role
            and self.required_approvals >= other.required_approvals
            and bytes(self.action_digest or b"") == bytes(other.action_digest or b"")
            and self.created_at > other.created_at
        )

    def is_told_by_version(self) -> bool:
        """Whether whoever knows this version knows the row: what is allowed changes when its time passes."""
        return self.is_terminal or not self.is_overdue()

    def allowed_transitions(self) -> tuple[str, ...]:
        """The states it may move to: nothing but expiry once its time has passed."""
        allowed = super().allowed_transitions()
        return tuple(state for state in allowed if state == ApprovalStatus.EXPIRED) if self.is_overdue() else allowed
