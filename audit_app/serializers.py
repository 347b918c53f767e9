"""An event, going out; an event of another system, coming in."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from audit_app.models import AuditEvent
from audit_app.trail import Action, instant
from orchestrator.actors import Kind, Via
from orchestrator.fields import MAX_TEXT, Anything, Document, Moment, Name, Text
from orchestrator.pagination import LARGEST, SMALLEST

MAX_NAME = 100


class IngestBody(serializers.Serializer[Any]):
    """What `POST /audit/ingest` takes. Null is as if it were absent."""

    source = Name(max_length=MAX_NAME, help_text="Which system tells it.")  # type: ignore[assignment]  # DRF takes it
    category = Name(max_length=MAX_NAME)
    action = Name(max_length=MAX_NAME, help_text="What happened.")
    subject = Text(max_length=MAX_TEXT, required=False, allow_null=True, help_text="What it happened to.")
    traceId = Text(  # noqa: N815  existing callers name it so
        max_length=128, required=False, allow_null=True, help_text="The trace that it belongs to."
    )
    timestamp = Moment(required=False, allow_null=True, help_text="When it happened there; kept beside our own time.")
    metadata = Document(required=False, allow_null=True, help_text="At most 64 KiB as compact UTF-8.")
    content = Anything(required=False, allow_null=True, help_text="Anything; at most 64 KiB as compact UTF-8.")


class IngestedOut(serializers.Serializer[Any]):
    """What `POST /audit/ingest` answers, for the API's document alone."""

    event_id = serializers.UUIDField()


@extend_schema_serializer(component_name="Event", description="An event of the trail, the same everywhere.")
class EventOut(serializers.Serializer[Any]):
    """What `event_out()` makes, for the API's document alone."""

    event_id = serializers.UUIDField()
    event_type = serializers.ChoiceField([str(action) for action in Action])
    subject_type = serializers.ChoiceField(["session", "task", "approval", "person"], allow_null=True)
    subject_id = serializers.UUIDField(allow_null=True)
    seq = serializers.IntegerField(
        allow_null=True, min_value=1, help_text="The row's version after it; null for what moved no row."
    )
    to = serializers.CharField(allow_null=True)
    actor = serializers.CharField(help_text="`<issuer>|<subject>`.")
    actor_kind = serializers.ChoiceField(Kind.values)
    on_behalf_of = serializers.CharField(allow_null=True)
    role = serializers.CharField(allow_blank=True)
    via = serializers.ChoiceField(Via.values)
    reason = serializers.CharField(allow_blank=True)
    changes = serializers.DictField(help_text="What is longer than 1 KiB is kept as its SHA-256 and length.")
    cause = serializers.UUIDField(allow_null=True, help_text="The event that brought it about.")
    request_id = serializers.CharField(allow_blank=True)
    trace_id = serializers.CharField(allow_blank=True)
    ip = serializers.IPAddressField(allow_null=True)
    timestamp = serializers.DateTimeField()
    prev_hash = serializers.CharField(allow_null=True, help_text="In hex.")
    hash = serializers.CharField(help_text="In hex.")

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's."""
        return {**super().get_fields(), "from": serializers.CharField(allow_null=True)}


@extend_schema_serializer(many=False, description="A page; `total` and `page` are there on a page by number only.")
class EventPage(serializers.Serializer[Any]):
    """What `GET /audit/events` answers, for the API's document alone."""

    events = EventOut(many=True)
    total = serializers.IntegerField(required=False, min_value=0, help_text="How many there are on all pages.")
    page = serializers.IntegerField(required=False, min_value=1)
    page_size = serializers.IntegerField(min_value=SMALLEST, max_value=LARGEST)
    next_cursor = serializers.CharField(allow_null=True, help_text="What `cursor` takes for the next page.")


EVENT_NAMES = (
    *("event_id", "event_type", "subject_type", "subject_id", "seq", "from", "to", "actor", "actor_kind"),
    *("on_behalf_of", "role", "via", "reason", "changes", "cause", "request_id", "trace_id", "ip", "timestamp"),
    *("prev_hash", "hash"),
)
"""What `event_out()` tells, in its order."""


def event_out(event: AuditEvent) -> dict[str, Any]:
    """An event, the same everywhere."""
    return {
        "event_id": str(event.id),
        "event_type": event.event_type,
        "subject_type": event.subject_type,
        "subject_id": str(event.subject_id) if event.subject_id else None,
        "seq": event.seq,
        "from": event.from_status,
        "to": event.to_status,
        "actor": f"{event.actor_issuer}|{event.actor_subject}",
        "actor_kind": event.actor_kind,
        "on_behalf_of": (
            f"{event.on_behalf_of_issuer}|{event.on_behalf_of_subject}" if event.on_behalf_of_subject else None
        ),
        "role": event.role,
        "via": event.via,
        "reason": event.reason,
        "changes": event.metadata.get("changes", {}),
        "cause": str(event.cause) if event.cause else None,
        "request_id": event.request_id,
        "trace_id": event.trace_id,
        "ip": event.ip,
        "timestamp": instant(event.timestamp),
        "prev_hash": bytes(event.prev_hash).hex() if event.prev_hash else None,
        "hash": bytes(event.hash).hex(),
    }


def events_out(events: Sequence[AuditEvent]) -> list[dict[str, Any]]:
    """Many of them."""
    return [event_out(event) for event in events]
