"""What was answered to a keyed request, kept in the transaction of its effect."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class IdempotencyRecord(models.Model):
    """One answer. `k` says whose key it is (32 bytes), `fp` which request; the raw key is never stored."""

    k = models.BinaryField(primary_key=True)
    fp = models.BinaryField()
    status = models.SmallIntegerField()
    headers = models.JSONField()
    body = models.BinaryField()
    request_id = models.TextField()
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    # HMAC-SHA-256 over all other columns. NULL in rows of versions that wrote none.
    mac = models.BinaryField(null=True)

    class Meta:
        """By the name of the protocol. The purge looks for what is past its time."""

        db_table = "idempotency_records"
        indexes: ClassVar = [models.Index(fields=["expires_at"], name="idempotency_records_expires")]
