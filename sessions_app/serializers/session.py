"""A session, coming in and going out."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from rest_framework import serializers

from audit_app.trail import instant
from sessions_app.models import Session
from sessions_app.models.session import SessionStatus
from sessions_app.serializers.fields import MAX_TEXT, Choice, Document, Id, Name, Text, Whole

SHORTEST = timedelta(seconds=60)
RETENTION = timedelta(days=settings.SESSION_RETENTION_DAYS)


def lasting(*, allow_null: bool) -> Whole:
    """How long a session lasts, in seconds."""
    low, high = int(SHORTEST.total_seconds()), int(RETENTION.total_seconds())
    return Whole(required=False, allow_null=allow_null, min_value=low, max_value=high)


class NewSessionBody(serializers.Serializer[Any]):
    """What `POST /sessions` takes."""

    agent_role = Name(max_length=50)
    task_id = Id(required=False, allow_null=True)
    metadata = Document(required=False, allow_null=True)
    ttl_seconds = lasting(allow_null=True)


class SessionBody(serializers.Serializer[Any]):
    """What `PUT /sessions/{id}` takes. Absent or null keeps."""

    status = Choice(choices=SessionStatus.values, required=False, allow_null=True)
    task_id = Id(required=False, allow_null=True)
    metadata = Document(required=False, allow_null=True)
    reason = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True)
    ttl_seconds = lasting(allow_null=True)


class SessionPatchBody(SessionBody):
    """What `PATCH /sessions/{id}` takes, as a merge patch (RFC 7396): null removes.

    What cannot be removed (status, expiry) cannot be null. A null `reason` is none.
    """

    status = Choice(choices=SessionStatus.values, required=False)
    ttl_seconds = lasting(allow_null=False)


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
