"""A session, coming in and going out."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from audit_app.trail import instant
from orchestrator.pagination import LARGEST, SMALLEST
from sessions_app.models import Session
from sessions_app.models.session import SessionStatus
from sessions_app.serializers.fields import MAX_TEXT, Choice, Document, Id, Name, Text, Whole

SHORTEST = timedelta(seconds=60)
RETENTION = timedelta(days=settings.SESSION_RETENTION_DAYS)

# For the API's document.
_STATUS = "The state to move to, in any case of letters."
_TASK = "A task that the caller may see."
_METADATA = "At most 64 KiB as compact UTF-8."
_REASON = "What the move is for. Alone it changes nothing."


def lasting(*, allow_null: bool) -> Whole:
    """How long a session lasts, in seconds."""
    low, high = int(SHORTEST.total_seconds()), int(RETENTION.total_seconds())
    told = "How long it lasts from now on, in seconds."
    return Whole(required=False, allow_null=allow_null, min_value=low, max_value=high, help_text=told)


class NewSessionBody(serializers.Serializer[Any]):
    """What `POST /sessions` takes."""

    agent_role = Name(max_length=50, help_text="Printable, without white space around it.")
    task_id = Id("task", required=False, allow_null=True, help_text=_TASK)
    metadata = Document(required=False, allow_null=True, help_text=_METADATA)
    ttl_seconds = lasting(allow_null=True)


class SessionBody(serializers.Serializer[Any]):
    """What `PUT /sessions/{id}` takes. Absent or null keeps."""

    status = Choice(choices=SessionStatus.values, required=False, allow_null=True, help_text=_STATUS)
    task_id = Id("task", required=False, allow_null=True, help_text=_TASK)
    metadata = Document(required=False, allow_null=True, help_text=_METADATA)
    reason = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True, help_text=_REASON)
    ttl_seconds = lasting(allow_null=True)


class SessionPatchBody(SessionBody):
    """What `PATCH /sessions/{id}` takes, as a merge patch (RFC 7396): null removes.

    What cannot be removed (status, expiry) cannot be null. A null `reason` is none.
    """

    status = Choice(choices=SessionStatus.values, required=False, help_text=_STATUS)
    ttl_seconds = lasting(allow_null=False)


@extend_schema_serializer(component_name="Session", description="A session, the same everywhere.")
class SessionOut(serializers.Serializer[Any]):
    """What `session_out()` makes, for the API's document alone."""

    session_id = serializers.UUIDField()
    agent_role = serializers.CharField(max_length=50)
    task_id = serializers.UUIDField(allow_null=True)
    status = serializers.ChoiceField(SessionStatus.values)
    state = serializers.ChoiceField(SessionStatus.values, help_text="The same as `status`.")
    metadata = serializers.DictField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(help_text="Past it nothing but expiry is legal.")
    created_by = serializers.CharField(help_text="Who opened it: `<issuer>|<subject>`.")
    version = serializers.IntegerField(min_value=1)
    reason = serializers.CharField(allow_null=True, allow_blank=True, help_text="What the last move was for.")
    allowed_transitions = serializers.ListField(
        child=serializers.ChoiceField(SessionStatus.values), help_text="The states that it may move to now."
    )


@extend_schema_serializer(many=False, description="A page; `total` and `page` are there on a page by number only.")
class SessionPage(serializers.Serializer[Any]):
    """What `GET /sessions` answers, for the API's document alone."""

    sessions = SessionOut(many=True)
    total = serializers.IntegerField(required=False, min_value=0, help_text="How many there are on all pages.")
    page = serializers.IntegerField(required=False, min_value=1)
    page_size = serializers.IntegerField(min_value=SMALLEST, max_value=LARGEST)
    next_cursor = serializers.CharField(allow_null=True, help_text="What `cursor` takes for the next page.")


def session_out(session: Session) -> dict[str, Any]:
    """A session, the same everywhere. `state` repeats `status` for readers that look for it."""
    return {
        "session_id": str(session.id),
        "agent_role": session.role,
        "task_id": str(session.task_id) if session.task_id else None,
        "status": session.status,
        "state": session.status,
        "metadata": session.metadata,
        "created_at": instant(session.created_at),
        "updated_at": instant(session.updated_at),
        "expires_at": instant(session.expires_at),
        "created_by": str(session.created_by),
        "version": session.version,
        "reason": session.reason,
        "allowed_transitions": list(session.allowed_transitions()),
    }


def sessions_out(sessions: Sequence[Session]) -> list[dict[str, Any]]:
    """Many of them."""
    return [session_out(session) for session in sessions]
