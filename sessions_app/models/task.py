"""Task: work that one role routes to another."""

from typing import ClassVar

from django.db import models
from django_fsm import FSMField, transition

from orchestrator.actors import Identity
from sessions_app.models.decoder import Decoder
from sessions_app.models.recorded import Recorded

DEFAULT_PRIORITY, HIGHEST_PRIORITY = 5, 9
DEFAULT_ATTEMPTS, MOST_ATTEMPTS = 3, 20


class TaskStatus(models.TextChoices):
    """Where a task can be."""

    PENDING = "pending"
    BLOCKED = "blocked"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (TaskStatus.PENDING, TaskStatus.BLOCKED, TaskStatus.ACTIVE)
"""The states that are not final."""


class Task(Recorded):
    """Work routed from one agent role to another.

    blocked ◀─block── pending ──claim──▶ active ──complete──▶ completed
       └───unblock──────▶ ◀──requeue, release──┘
    pending, blocked, active ──fail──▶ failed
    pending, blocked, active ──cancel──▶ cancelled

    Who holds an active task has a lease on it: until `lease_expires_at`, and only with the token that the claim
    answered. `lease_epoch` counts the ownerships and never falls; `attempt` is the number of the attempt that runs, or
    comes next.
    """

    NOUN = "task"
    FILED_UNDER = "to_role"
    TOLD = (
        *("task_type", "description", "from_role", "to_role", "data", "context", "priority", "deadline"),
        *("max_attempts", "retry_of_id", "not_before", "attempt", "lease_epoch", "cancel_requested"),
        *("output", "error"),
    )
    UNTOLD = ("lease_expires_at", "progress")
    """What a heartbeat writes, without an event and without a version."""
    INITIAL = ("pending", "blocked")

    task_type = models.CharField(max_length=50)
    description = models.TextField(default="")
    from_role = models.CharField(max_length=50)
    to_role = models.CharField(max_length=50)
    status = FSMField(max_length=20, choices=TaskStatus.choices, default=TaskStatus.PENDING, protected=True)
    data = models.JSONField(default=dict, decoder=Decoder)
    context = models.JSONField(default=dict, decoder=Decoder)
    priority = models.SmallIntegerField(default=DEFAULT_PRIORITY)
    not_before = models.DateTimeField(null=True)
    deadline = models.DateTimeField(null=True)
    attempt = models.SmallIntegerField(default=1)
    max_attempts = models.SmallIntegerField(default=DEFAULT_ATTEMPTS)
    # Only its hash: who reads the table must not be able to act as the holder.
    lease_token_hash = models.BinaryField(null=True)
    lease_epoch = models.IntegerField(default=0)
    lease_seconds = models.IntegerField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    lease_issuer = models.CharField(max_length=255, null=True)
    lease_subject = models.CharField(max_length=255, null=True)
    lease_for_issuer = models.CharField(max_length=255, null=True)
    lease_for_subject = models.CharField(max_length=255, null=True)
    cancel_requested = models.BooleanField(default=False)
    progress = models.JSONField(null=True, decoder=Decoder)
    output = models.JSONField(null=True, decoder=Decoder)
    error = models.JSONField(null=True, decoder=Decoder)
    retry_of = models.ForeignKey("self", on_delete=models.DO_NOTHING, null=True, db_index=False, related_name="retries")
    trace_id = models.CharField(max_length=128, default="")
    # Hex of the scoped key hash, never the raw key. Being once is the business of the idempotency records.
    idempotency_key = models.CharField(max_length=64, null=True)

    # How many deliveries of the task were lost, where the query that read the row counted them.
    lost_deliveries: int

    class Meta:
        """Table and index names of the system this one replaces; what is ours has names of its own."""

        db_table = "tasks"
        indexes: ClassVar = [
            models.Index(fields=["trace_id"], name="idx_tasks_trace_id"),
            models.Index(fields=["-created_at"], name="idx_tasks_created_at"),
            models.Index(fields=["idempotency_key"], name="idx_tasks_idempotency_key"),
            # For the lists: newest first, whole or by one filter, without a sort.
            models.Index(fields=["tenant", "-created_at", "-id"], name="tasks_page"),
            models.Index(fields=["tenant", "to_role", "-created_at", "-id"], name="tasks_page_to_role"),
            models.Index(fields=["tenant", "from_role", "-created_at", "-id"], name="tasks_page_from_role"),
            models.Index(fields=["tenant", "task_type", "-created_at", "-id"], name="tasks_page_type"),
            models.Index(fields=["tenant", "status", "-created_at", "-id"], name="tasks_page_status"),
            models.Index(
                fields=["tenant", "created_by_subject", "created_by_issuer", "-created_at", "-id"],
                name="tasks_page_created_by",
            ),
            # For claims: what waits for a role, the next one first; what had or has to wait for its time stands apart,
            # so that nobody walks over it. What comes last is judged within the index.
            models.Index(
                fields=["tenant", "to_role", "-priority", "created_at", "id", "task_type"],
                condition=models.Q(status=TaskStatus.PENDING, not_before__isnull=True),
                name="tasks_claim",
            ),
            models.Index(
                fields=["tenant", "to_role", "not_before", "task_type"],
                condition=models.Q(status=TaskStatus.PENDING, not_before__isnull=False),
                name="tasks_claim_begun",
            ),
            models.Index(
                fields=["tenant", "to_role", "-priority", "created_at", "id", "not_before", "task_type"],
                condition=models.Q(status=TaskStatus.PENDING, not_before__isnull=False),
                name="tasks_claim_many_begun",
            ),
            # For the sweep: leases that can lapse, deadlines that can pass.
            models.Index(
                fields=["lease_expires_at"], condition=models.Q(status=TaskStatus.ACTIVE), name="tasks_leased"
            ),
            # For what a cut-off releases.
            models.Index(
                fields=["lease_subject", "lease_issuer"],
                condition=models.Q(status=TaskStatus.ACTIVE),
                name="tasks_held_by",
            ),
            models.Index(
                fields=["lease_for_subject", "lease_for_issuer"],
                condition=models.Q(status=TaskStatus.ACTIVE, lease_for_subject__isnull=False),
                name="tasks_held_for",
            ),
            models.Index(
                fields=["deadline"],
                condition=models.Q(status__in=OPEN, deadline__isnull=False),
                name="tasks_deadline",
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="tasks_status", condition=models.Q(status__in=TaskStatus.values)),
            models.CheckConstraint(name="tasks_version", condition=models.Q(version__gte=1)),
            models.CheckConstraint(name="tasks_priority", condition=models.Q(priority__range=(0, HIGHEST_PRIORITY))),
            models.CheckConstraint(
                name="tasks_attempt",
                condition=models.Q(
                    max_attempts__range=(1, MOST_ATTEMPTS), attempt__range=(1, models.F("max_attempts"))
                ),
            ),
            # A lease is there whole, and while the task is active; or not at all.
            models.CheckConstraint(
                name="tasks_lease",
                condition=models.Q(
                    status=TaskStatus.ACTIVE,
                    lease_epoch__gte=1,
                    lease_token_hash__isnull=False,
                    lease_seconds__isnull=False,
                    lease_expires_at__isnull=False,
                    lease_issuer__isnull=False,
                    lease_subject__isnull=False,
                )
                | (
                    ~models.Q(status=TaskStatus.ACTIVE)
                    & models.Q(
                        lease_epoch__gte=0,
                        lease_token_hash__isnull=True,
                        lease_seconds__isnull=True,
                        lease_expires_at__isnull=True,
                        lease_issuer__isnull=True,
                        lease_subject__isnull=True,
                        lease_for_issuer__isnull=True,
                        lease_for_subject__isnull=True,
                    )
                ),
            ),
            # A failed task is tried again once: of two operators who ask at once, the second is told so.
            models.UniqueConstraint(fields=["retry_of"], name="tasks_retry_of"),
        ]

    @transition(field=status, source=TaskStatus.PENDING, target=TaskStatus.ACTIVE)
    def claim(self) -> None:
        """Somebody took it, with a lease."""

    @transition(field=status, source=TaskStatus.PENDING, target=TaskStatus.BLOCKED)
    def block(self) -> None:
        """Somebody has to agree first."""

    @transition(field=status, source=TaskStatus.BLOCKED, target=TaskStatus.PENDING)
    def unblock(self) -> None:
        """All who were asked agreed."""

    @transition(field=status, source=TaskStatus.ACTIVE, target=TaskStatus.PENDING)
    def requeue(self) -> None:
        """The attempt ended without a result, and another may follow."""
        self._end_lease()

    @transition(field=status, source=TaskStatus.ACTIVE, target=TaskStatus.COMPLETED)
    def complete(self) -> None:
        """Its holder did it."""
        self._end_lease()

    @transition(field=status, source=list(OPEN), target=TaskStatus.FAILED)
    def fail(self) -> None:
        """It will not be done."""
        self._end_lease()

    @transition(field=status, source=list(OPEN), target=TaskStatus.CANCELLED)
    def cancel(self) -> None:
        """It is not wanted any more."""
        self._end_lease()

    def _end_lease(self) -> None:
        self.lease_token_hash = self.lease_seconds = self.lease_expires_at = None
        self.lease_issuer = self.lease_subject = self.lease_for_issuer = self.lease_for_subject = None

    @property
    def holder(self) -> Identity | None:
        """Who has the lease, where it is active."""
        return Identity.if_any(self.lease_issuer, self.lease_subject)

    @property
    def held_for(self) -> Identity | None:
        """The person for whom an agent has the lease."""
        return Identity.if_any(self.lease_for_issuer, self.lease_for_subject)

    def is_past_deadline(self) -> bool:
        """Whether its deadline had passed when the row was read, by the database's clock."""
        return self.deadline is not None and self.deadline <= self.now

    def is_lapsed(self) -> bool:
        """Whether its lease had run out when the row was read, by the database's clock."""
        return self.lease_expires_at is not None and self.lease_expires_at <= self.now

    def is_told_by_version(self) -> bool:
        """Whether whoever knows this version knows the row: not while its holder reports, nor past its deadline."""
        return self.is_terminal or (self.status != TaskStatus.ACTIVE and not self.is_past_deadline())

    def allowed_transitions(self) -> tuple[str, ...]:
        """Where it may move: past its deadline to `failed` and `cancelled` alone, out of lease not to `completed`."""
        allowed = super().allowed_transitions()
        if self.is_past_deadline():
            return tuple(state for state in allowed if state in (TaskStatus.FAILED, TaskStatus.CANCELLED))
        return tuple(state for state in allowed if state != TaskStatus.COMPLETED) if self.is_lapsed() else allowed
