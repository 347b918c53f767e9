"""Attempt: who held a task, from when to when, and how it ended."""

from typing import ClassVar

from django.db import models
from uuid_utils.compat import uuid7

from orchestrator.actors import Identity
from sessions_app.models.decoder import Decoder
from sessions_app.models.task import Task


class AttemptOutcome(models.TextChoices):
    """How an attempt can end."""

    COMPLETED = "completed"
    FAILED = "failed"
    RELEASED = "released"
    LEASE_LOST = "lease-lost"
    LOST_DELIVERY = "lost-delivery"
    FORCE_RELEASED = "force-released"
    DEADLINE_EXCEEDED = "deadline-exceeded"


class Attempt(models.Model):
    """One ownership of a task. It is written twice: when the lease begins and when it ends.

    `token_hash` is the SHA-256 of the lease's token, and `ended_by` that of the call that ended it, where one did: the
    same call again is answered, any other refused.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # The cascade is the database's own, as that of the approvals.
    task = models.ForeignKey(
        Task, on_delete=models.DO_NOTHING, db_index=False, db_constraint=False, related_name="attempts"
    )
    epoch = models.IntegerField()
    attempt = models.SmallIntegerField()
    holder_issuer = models.CharField(max_length=255)
    holder_subject = models.CharField(max_length=255)
    holder_for_issuer = models.CharField(max_length=255, null=True)
    holder_for_subject = models.CharField(max_length=255, null=True)
    token_hash = models.BinaryField()
    claimed_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=20, choices=AttemptOutcome.choices, null=True)
    ended_by = models.BinaryField(null=True)
    error = models.JSONField(null=True, decoder=Decoder)

    class Meta:
        """One row for each epoch of a task."""

        db_table = "task_attempts"
        indexes: ClassVar = [
            # For the sweep: how many deliveries of a task were lost, however often it was handed back.
            models.Index(
                fields=["task"],
                condition=models.Q(outcome=AttemptOutcome.LOST_DELIVERY),
                name="task_attempts_lost_deliveries",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "epoch"], name="task_attempts_epoch"),
            models.CheckConstraint(name="task_attempts_outcome", condition=models.Q(outcome__in=AttemptOutcome.values)),
            models.CheckConstraint(
                name="task_attempts_ended",
                condition=models.Q(ended_at__isnull=True, outcome__isnull=True, ended_by__isnull=True)
                | models.Q(ended_at__isnull=False, outcome__isnull=False),
            ),
        ]

    @property
    def holder(self) -> Identity:
        """Who had the lease."""
        return Identity(self.holder_issuer, self.holder_subject)

    @property
    def held_for(self) -> Identity | None:
        """The person for whom an agent had it."""
        return Identity.if_any(self.holder_for_issuer, self.holder_for_subject)
