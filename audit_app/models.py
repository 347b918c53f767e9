"""AuditEvent: append-only, in its final shape from the first migration on."""

from typing import ClassVar

from django.db import models
from uuid_utils.compat import uuid7

from orchestrator.actors import Kind, Via


class TransactionId(models.BigIntegerField):  # type: ignore[type-arg]  # not a generic class at run time
    """PostgreSQL's 64-bit transaction id."""

    def db_type(self, connection: object) -> str:
        """The column's type."""
        return "xid8"

    def from_db_value(self, value: object, expression: object, connection: object) -> int | None:
        """Psycopg has no type for it, and reads it as a text."""
        return None if value is None else int(str(value))

    def get_db_prep_value(self, value: object, connection: object, prepared: bool = False) -> str | None:
        """As a text, which PostgreSQL casts; a number it would not."""
        return None if value is None else str(value)


class CurrentTransactionId(models.Func):
    """The id of the transaction that writes the row."""

    function = "pg_current_xact_id"
    output_field = TransactionId()


class AuditEvent(models.Model):
    """One thing that happened.

    An event of a row's chain has `seq`, the row's version after it, and `prev_hash`, the hash of the event before it
    (32 zero bytes for the first). Refused attempts and events of other systems stand outside a chain: no `seq`.
    `body` is the canonical text that `hash` was taken over; the columns beside it are there to be searched.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    event_type = models.CharField(max_length=50)
    role = models.CharField(max_length=50, default="")
    timestamp = models.DateTimeField()
    trace_id = models.CharField(max_length=128, default="")
    metadata = models.JSONField(default=dict)

    subject_type = models.CharField(max_length=20, null=True)
    subject_id = models.UUIDField(null=True)
    seq = models.IntegerField(null=True)
    from_status = models.CharField(max_length=20, null=True)
    to_status = models.CharField(max_length=20, null=True)
    body = models.TextField()
    hash = models.BinaryField()
    prev_hash = models.BinaryField(null=True)
    tenant = models.CharField(max_length=64)
    actor_issuer = models.CharField(max_length=255)
    actor_subject = models.CharField(max_length=255)
    actor_kind = models.CharField(max_length=20, choices=Kind.choices)
    on_behalf_of_issuer = models.CharField(max_length=255, null=True)
    on_behalf_of_subject = models.CharField(max_length=255, null=True)
    via = models.CharField(max_length=10, choices=Via.choices)
    reason = models.TextField(default="")
    cause = models.UUIDField(null=True)
    request_id = models.CharField(max_length=64, default="")
    ip = models.GenericIPAddressField(null=True)
    # Set by the database, so that they cannot be chosen by the writer: what the seals are ordered by.
    xid = TransactionId(db_default=CurrentTransactionId(), editable=False)
    era = models.IntegerField(db_default=1, editable=False)

    class Meta:
        """The names of the system this one replaces, and what makes a fork of a chain impossible."""

        db_table = "audit_events"
        indexes: ClassVar = [
            models.Index(fields=["trace_id"], name="idx_audit_events_trace_id"),
            models.Index(fields=["-timestamp"], name="idx_audit_events_timestamp"),
            models.Index(fields=["event_type"], name="idx_audit_events_event_type"),
            # For the lists: newest first, whole or of one actor, without a sort.
            models.Index(fields=["tenant", "-timestamp", "-id"], name="audit_events_page"),
            models.Index(
                fields=["tenant", "actor_subject", "actor_issuer", "-timestamp", "-id"], name="audit_events_page_actor"
            ),
            models.Index(fields=["request_id"], condition=~models.Q(request_id=""), name="audit_events_request"),
            # For the seals: the order in which events are sealed.
            models.Index(fields=["era", "xid", "id"], name="audit_events_sealing"),
            # For the feed of one tenant: the same order.
            models.Index(fields=["tenant", "era", "xid", "id"], name="audit_events_feed"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject_type", "subject_id", "seq"], name="audit_events_chain"),
            models.CheckConstraint(
                name="audit_events_seq_needs_a_subject",
                condition=models.Q(seq__isnull=True)
                | models.Q(seq__gte=1, subject_type__isnull=False, subject_id__isnull=False, prev_hash__isnull=False),
            ),
        ]


class AuditSeal(models.Model):
    """A signed word on the events up to a place in their order: so many, with this Merkle root (RFC 6962).

    `body` is the canonical text that was signed; it names the hash of the seal before. The columns beside it are there
    to be searched. `last_era`, `last_xid` and `last_id` are the place of the last event.
    """

    number = models.IntegerField(primary_key=True)
    last_era = models.IntegerField()
    last_xid = TransactionId()
    last_id = models.UUIDField()
    size = models.IntegerField()
    root = models.BinaryField()
    prev_hash = models.BinaryField()
    body = models.TextField()
    hash = models.BinaryField()
    key_id = models.CharField(max_length=64)
    signature = models.BinaryField()
    # By the key before, where the key changed with this seal.
    endorsement = models.BinaryField(null=True)
    sealed_at = models.DateTimeField()

    class Meta:
        """One line of seals, without a fork."""

        db_table = "audit_seals"
        constraints: ClassVar = [
            models.CheckConstraint(name="audit_seals_number", condition=models.Q(number__gte=1, size__gte=1)),
        ]


class SealerState(models.Model):
    """What a part of the sealer was in trouble with when it last ran, for `/health` and `/metrics`."""

    # The part: the sealer itself, or one place that seals are written to.
    part = models.CharField(max_length=40, primary_key=True)
    # The code of its trouble; empty where it is in order.
    problem = models.CharField(max_length=40, default="")
    # Since when it is in trouble, by the database's clock.
    since = models.DateTimeField(null=True)

    class Meta:
        """One row for each part that was ever in trouble."""

        db_table = "audit_sealer_state"
