"""What claims and their holders send, and what a claim answers."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from orchestrator.fields import MAX_TEXT, Document, Flag, Name, Number, Text, Whole
from sessions_app.models import Task
from sessions_app.serializers.task import LeaseOut, TaskOut, lease_out, task_out

MOST_NAMES = 20
LEASE_SECONDS = 60
LONGEST_WAIT_SECONDS = 30
_PROOF = "The lease's token, as the claim answered it."


class ClaimBody(serializers.Serializer[Any]):
    """What `POST /tasks/claim` takes. Null is as if it were absent."""

    roles = serializers.ListField(
        child=Name(max_length=50),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=MOST_NAMES,
        help_text="The agent roles whose tasks to take; the caller's unless given.",
    )
    task_types = serializers.ListField(
        child=Name(max_length=50),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=MOST_NAMES,
        help_text="Only tasks of these types.",
    )
    max = Whole(
        required=False, allow_null=True, min_value=1, max_value=10, help_text="How many at most; 1 unless given."
    )
    lease_seconds = Whole(
        required=False,
        allow_null=True,
        min_value=10,
        max_value=3600,
        help_text=f"How long the lease lasts from now and from each heartbeat; {LEASE_SECONDS} unless given.",
    )
    wait_seconds = Whole(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=LONGEST_WAIT_SECONDS,
        help_text="How long to wait where there is none; not at all unless given.",
    )


class _TokenBody(serializers.Serializer[Any]):
    lease_token = Text(max_length=200, help_text=_PROOF)


class ReleaseBody(_TokenBody):
    """What `POST /tasks/{id}/release` takes."""


class ProgressBody(serializers.Serializer[Any]):
    """How far it is."""

    percent = Number(required=False, min_value=0, max_value=100)
    message = Text(max_length=MAX_TEXT, required=False, allow_blank=True)


class HeartbeatBody(_TokenBody):
    """What `POST /tasks/{id}/heartbeat` takes."""

    progress = ProgressBody(required=False, allow_null=True)


class CompleteBody(_TokenBody):
    """What `POST /tasks/{id}/complete` takes."""

    output = Document(required=False, allow_null=True, help_text="At most 64 KiB as compact UTF-8.")


class ErrorBody(serializers.Serializer[Any]):
    """What went wrong."""

    code = Text(max_length=100)
    message = Text(max_length=MAX_TEXT, allow_blank=True)


class FailBody(_TokenBody):
    """What `POST /tasks/{id}/fail` takes."""

    error = ErrorBody()
    retryable = Flag(
        required=False, allow_null=True, help_text="Whether another attempt makes sense; true unless given."
    )


class GrantedLeaseOut(LeaseOut):
    """A lease with its token, for the API's document alone."""

    token = serializers.CharField(help_text="What the holder proves itself by. It is told once.")


@extend_schema_serializer(component_name="ClaimedTask", description="A task, with the token of its new lease.")
class ClaimedTaskOut(TaskOut):
    """A task that was just claimed, for the API's document alone."""

    lease = GrantedLeaseOut()


class ClaimOut(serializers.Serializer[Any]):
    """What `POST /tasks/claim` answers, for the API's document alone."""

    tasks = ClaimedTaskOut(many=True)


class HeartbeatOut(serializers.Serializer[Any]):
    """What `POST /tasks/{id}/heartbeat` answers, for the API's document alone."""

    lease = LeaseOut()
    cancel_requested = serializers.BooleanField(help_text="Whether the task is wanted no more: stop, and release it.")


def granted_out(task: Task, token: str) -> dict[str, Any]:
    """A claimed task, with its lease's token this once."""
    return {**task_out(task), "lease": {"token": token, **(lease_out(task) or {})}}
