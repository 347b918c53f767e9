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


class Decision(models.Model):
    """Immutable, and one for each person.

    Who asked, for whom, and who held the task then stand beside it, so that the database itself can say that none of
    them is the one who decided. It sets them itself from the rows they are about, whatever a writer says.
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
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["approval", "decider_issuer", "decider_subject"], name="approval_decisions_once"
            ),
            models.CheckConstraint(name="approval_decisions_verdict", condition=models.Q(decision__in=Verdict.values)),
            # Agents and service accounts decide nothing.
            models.CheckConstraint(name="approval_decisions_person", condition=models.Q(decider_kind=Kind.PERSON)),
        ]

    @property
    def decider(self) -> Identity:
        """Who said it."""
        return Identity(self.decider_issuer, self.decider_subject)
