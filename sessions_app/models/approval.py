"""Approval: a request that people agree to a task, or to one action."""

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django_fsm import FSMField, transition

from sessions_app.models.decoder import Decoder
from sessions_app.models.recorded import Recorded
from sessions_app.models.session import Session
from sessions_app.models.task import Task

MOST_REQUIRED = 10

MAX_OPEN = 20
"""How many requests about one task, or in one session, may be open at once."""
MAX_OPEN_BARE = 100
"""How many requests of one requester without task and session may be open at once."""

MIN_USE_WITHIN_SECONDS, MAX_USE_WITHIN_SECONDS = 60, 2_592_000


class ApprovalKind(models.TextChoices):
    """What a request is about."""

    TASK = "task"
    ACTION = "action"


class ApprovalStatus(models.TextChoices):
    """Where an approval can be."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Approval(Recorded):
    """A request that people of one role agree to a task, or to one action of the requester.

    pending ──approve──▶ approved
       ├─────reject────▶ rejected
       ├─────expire────▶ expired
       └─────cancel────▶ cancelled

    A request is about a task, or about an action without a task, which may belong to a session. The requester is
    `created_by`, on behalf of `on_behalf_of`.
    """

    NOUN = "approval"
    FILED_UNDER = "approver_role"
    TOLD = (
        *("task_id", "session_id", "approver_role", "reason", "action", "action_digest", "required_approvals"),
        *("expires_at", "use_within_seconds", "blocks", "required", "reopens_id", "replaces_id"),
        *("granted", "notes", "consumed_at"),
    )

    # The task that the request is about; null for an action without a task. The database itself cascades, so that no
    # path around Django leaves an approval without its task.
    task = models.ForeignKey(
        Task, on_delete=models.DO_NOTHING, null=True, db_index=False, db_constraint=False, related_name="approvals"
    )
    # The session that an action without a task belongs to, if any. The database itself cascades.
    session = models.ForeignKey(
        Session, on_delete=models.DO_NOTHING, null=True, db_index=False, db_constraint=False, related_name="approvals"
    )
    approver_role = models.CharField(max_length=50)
    status = FSMField(max_length=20, choices=ApprovalStatus.choices, default=ApprovalStatus.PENDING, protected=True)
    reason = models.TextField(default="")
    # Exactly what people agree to. Without it nothing can be consumed.
    action = models.JSONField(null=True, decoder=Decoder)
    # SHA-256 of the action as canonical JSON (RFC 8785), 32 bytes.
    action_digest = models.BinaryField(null=True)
    # How many distinct people must approve: the quorum.
    required_approvals = models.SmallIntegerField(default=1)
    # How many people have approved whose decision counts.
    granted = models.SmallIntegerField(default=0)
    # The task waits in `blocked` for the outcome.
    blocks = models.BooleanField(default=False)
    # The task was created with this request (`requires_approval`). The task never goes on without it.
    required = models.BooleanField(default=True)
    # The rejected request that an operator opened again by this one.
    reopens = models.ForeignKey(
        "self", on_delete=models.DO_NOTHING, null=True, db_index=False, db_constraint=False, related_name="reopened_by"
    )
    # The open request that an operator replaced by this one.
    replaces = models.ForeignKey(
        "self", on_delete=models.DO_NOTHING, null=True, db_index=False, db_constraint=False, related_name="replaced_by"
    )
    decision_at = models.DateTimeField(null=True)
    # The comments of the decision that settled it, for those who read the table.
    notes = models.TextField(default="")
    consumed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()
    # For how many seconds after the approval the action may be consumed. Null on rows from before this limit existed.
    use_within_seconds = models.IntegerField(null=True)

    # How many known people can decide it or have, at most its quorum, where the admin looked that up.
    known_approvers: int | None = None

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
            # For the requests of one session, and for the cascade from sessions.
            models.Index(
                fields=["session", "-created_at", "-id"],
                condition=models.Q(session__isnull=False),
                name="approvals_session",
            ),
            # For the look whether the same action was requested before, without a task.
            models.Index(
                fields=["action_digest"], condition=models.Q(task__isnull=True), name="approvals_action_asked"
            ),
            # For what a cut-off cancels.
            models.Index(
                fields=["created_by_subject", "created_by_issuer"],
                condition=models.Q(status=ApprovalStatus.PENDING),
                name="approvals_open_by",
            ),
            models.Index(
                fields=["on_behalf_of_subject", "on_behalf_of_issuer"],
                condition=models.Q(status=ApprovalStatus.PENDING, on_behalf_of_subject__isnull=False),
                name="approvals_open_for",
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
            # A request is about a task, or about an action, which a session may hold.
            models.CheckConstraint(
                name="approvals_subject",
                condition=models.Q(task__isnull=False, session__isnull=True)
                | models.Q(task__isnull=True, action__isnull=False, blocks=False),
            ),
            models.CheckConstraint(
                name="approvals_use_within",
                condition=models.Q(use_within_seconds__isnull=True)
                | models.Q(use_within_seconds__range=(MIN_USE_WITHIN_SECONDS, MAX_USE_WITHIN_SECONDS)),
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

    @classmethod
    def steps(cls) -> frozenset[tuple[str | None, str | None]]:
        """Return the steps of every row, and two more: the use of a grant, and the deletion of an open request."""
        approved, pending = str(ApprovalStatus.APPROVED), str(ApprovalStatus.PENDING)
        return super().steps() | {(approved, approved), (pending, None)}

    def is_overdue(self) -> bool:
        """Whether its time had passed when the row was read, by the database's clock."""
        return self.expires_at <= self.now

    @property
    def kind(self) -> ApprovalKind:
        """What the request is about."""
        return ApprovalKind.ACTION if self.task_id is None else ApprovalKind.TASK

    @property
    def approved_until(self) -> datetime | None:
        """Until when the approved action may be consumed; None while it is not approved, or without a limit."""
        if self.status != ApprovalStatus.APPROVED or self.decision_at is None or self.use_within_seconds is None:
            return None
        return self.decision_at + timedelta(seconds=self.use_within_seconds)

    @property
    def cancels_its_task(self) -> bool:
        """Whether cancelling this request cancels the task: it was created with the request, and waits for it."""
        return self.blocks and self.required

    @property
    def lacks_approvers(self) -> bool:
        """Whether too few known people can decide it, where that was looked up."""
        return self.known_approvers is not None and self.known_approvers < self.required_approvals

    def has_lapsed(self) -> bool:
        """Return whether the time to consume it had passed when the row was read, by the database's clock."""
        until = self.approved_until
        return until is not None and until <= self.now

    def is_told_by_version(self) -> bool:
        """Whether whoever knows this version knows the row: what is allowed changes when its time passes."""
        return self.is_terminal or not self.is_overdue()

    def allowed_transitions(self) -> tuple[str, ...]:
        """The states it may move to: nothing but expiry once its time has passed."""
        allowed = super().allowed_transitions()
        return tuple(state for state in allowed if state == ApprovalStatus.EXPIRED) if self.is_overdue() else allowed
