"""Decision: one person's yes or no to one approval."""

from typing import ClassVar

from django.db import models
from uuid_utils.compat import uuid7

from orchestrator.actors import Identity, Kind
from sessions_app.models.approval import Approval


class Verdict(models.TextChoices):
    """What a person can say."""

    APPROVED = "approved"
    REJECTED = "rejected"


class SetAside(models.TextChoices):
    """Why a decision does not count any more."""

    WITHDRAWN = "withdrawn"
    CUT_OFF = "cut-off"
    SAME_PERSON = "same-person"


class Decision(models.Model):
    """One person's decision on a request. It never changes, except that it can be set aside while the request is open.

    The requester and the holder of the task at that time are copied beside it, so that a CHECK can compare them with
    the decider. The database sets them from the rows they come from.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # The cascade is the database's own, as that of the approvals.
    approval = models.ForeignKey(
        Approval, on_delete=models.DO_NOTHING, db_index=False, db_constraint=False, related_name="decisions"
    )
    decider_issuer = models.CharField(max_length=255)
    decider_subject = models.CharField(max_length=255)
    decider_kind = models.CharField(max_length=20)
    decision = models.CharField(max_length=20, choices=Verdict.choices)
    comments = models.TextField(default="")
    decided_at = models.DateTimeField()
    # From then on the decision does not count; null while it counts.
    set_aside_at = models.DateTimeField(null=True)
    set_aside_reason = models.CharField(max_length=20, choices=SetAside.choices, null=True)
    requester_issuer = models.CharField(max_length=255)
    requester_subject = models.CharField(max_length=255)
    requester_for_issuer = models.CharField(max_length=255, null=True)
    requester_for_subject = models.CharField(max_length=255, null=True)
    holder_issuer = models.CharField(max_length=255, null=True)
    holder_subject = models.CharField(max_length=255, null=True)
    holder_for_issuer = models.CharField(max_length=255, null=True)
    holder_for_subject = models.CharField(max_length=255, null=True)

    class Meta:
        """The checks that compare identities stand in a migration: they are rows of values."""

        db_table = "approval_decisions"
        indexes: ClassVar = [
            # Those set aside are asked for too, and `approval_decisions_counted_once` does not have them.
            models.Index(fields=["approval", "decided_at"], name="approval_decisions_of"),
            # For what a cut-off sets aside.
            models.Index(fields=["decider_subject", "decider_issuer"], name="approval_decisions_by"),
        ]
        constraints: ClassVar = [
            # One decision of a person counts. A person who withdrew a decision may decide again.
            models.UniqueConstraint(
                fields=["approval", "decider_issuer", "decider_subject"],
                condition=models.Q(set_aside_at__isnull=True),
                name="approval_decisions_counted_once",
            ),
            models.CheckConstraint(
                name="approval_decisions_set_aside",
                # A comparison with NULL would pass: both columns are there, or neither is.
                condition=models.Q(set_aside_at__isnull=True, set_aside_reason__isnull=True)
                | models.Q(
                    set_aside_at__isnull=False,
                    set_aside_reason__isnull=False,
                    set_aside_at__gte=models.F("decided_at"),
                    set_aside_reason__in=SetAside.values,
                ),
            ),
            models.CheckConstraint(name="approval_decisions_verdict", condition=models.Q(decision__in=Verdict.values)),
            # Agents and service accounts decide nothing.
            models.CheckConstraint(name="approval_decisions_person", condition=models.Q(decider_kind=Kind.PERSON)),
        ]

    @property
    def decider(self) -> Identity:
        """The person who decided."""
        return Identity(self.decider_issuer, self.decider_subject)

    @property
    def counts(self) -> bool:
        """Whether the decision has not been set aside."""
        return self.set_aside_at is None
