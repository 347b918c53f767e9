"""RefusalCount: how often one attempt was refused again within a minute."""

from typing import ClassVar

from django.db import models

from orchestrator.actors import Kind, Via


class RefusalCount(models.Model):
    """One attempt that was refused, by one actor on one row, within one minute.

    The first refusal of the minute is an event. The further ones are counted here, until the maintenance job
    `record_refusals` records them in one event and deletes the row.
    """

    pk = models.CompositePrimaryKey("minute", "key")
    # The minute by the database's clock.
    minute = models.DateTimeField()
    # SHA-256 of the tenant, the row, what was attempted, the refusal and who it was: 32 bytes.
    key = models.BinaryField()
    # How many refusals followed the first one.
    repeated = models.IntegerField(default=0, db_default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    event_type = models.CharField(max_length=50)
    tenant = models.CharField(max_length=64)
    subject_type = models.CharField(max_length=20)
    subject_id = models.UUIDField()
    role = models.CharField(max_length=50)
    reason = models.TextField()
    attempted = models.TextField()
    version = models.IntegerField()
    actor_issuer = models.CharField(max_length=255)
    actor_subject = models.CharField(max_length=255)
    actor_kind = models.CharField(max_length=20, choices=Kind.choices)
    on_behalf_of_issuer = models.CharField(max_length=255, null=True)
    on_behalf_of_subject = models.CharField(max_length=255, null=True)
    # Of the last of these refusals.
    via = models.CharField(max_length=10, choices=Via.choices)
    request_id = models.CharField(max_length=64)
    trace_id = models.CharField(max_length=128)
    ip = models.GenericIPAddressField(null=True)

    class Meta:
        """Few rows, each gone within minutes."""

        db_table = "refusal_counts"
        constraints: ClassVar = [
            models.CheckConstraint(name="refusal_counts_repeated", condition=models.Q(repeated__gte=0)),
        ]
