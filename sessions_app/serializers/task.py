"""A task, coming in and going out."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from audit_app.trail import instant
from orchestrator.fields import MAX_TEXT, Document, Moment, Name, OneOrMore, Text, Whole
from orchestrator.pagination import LARGEST, SMALLEST
from sessions_app.models import Attempt, Task
from sessions_app.models.attempt import AttemptOutcome
from sessions_app.models.task import DEFAULT_ATTEMPTS, DEFAULT_PRIORITY, HIGHEST_PRIORITY, MOST_ATTEMPTS, TaskStatus
from sessions_app.serializers.approval import ApprovalOut, QuestionBody
from sessions_app.serializers.session import SessionOut

# For the API's document.
_DOCUMENT = "At most 64 KiB as compact UTF-8."
_TYPE = "What kind of work it is; `notification`, `approval` and `routing` are known, others are allowed."
_FROM = "Unless given: the caller's only agent role, or `orchestrator` for an operator without one."
_NOT_BEFORE = "It is not claimed before."
_DEADLINE = "It cannot be completed after. It must lie ahead, and after `not_before`."


class _Described(serializers.Serializer[Any]):
    task_type = Name(max_length=50, help_text=_TYPE)
    description = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True)
    data = Document(required=False, allow_null=True, help_text=_DOCUMENT)  # type: ignore[assignment]  # DRF takes fields off the class


def _questions() -> OneOrMore:
    return OneOrMore(
        QuestionBody(),
        required=False,
        allow_null=True,
        help_text="Who has to agree first: one question, or a list of up to ten.",
    )


class NewTaskBody(_Described):
    """What `POST /tasks` takes. Null is as if it were absent."""

    to_role = Name(max_length=50, help_text="The agent role that is to do it.")
    from_role = Name(max_length=50, required=False, allow_null=True, help_text=_FROM)
    context = Document(required=False, allow_null=True, help_text=_DOCUMENT)  # type: ignore[assignment]  # DRF takes fields off the class
    priority = Whole(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=HIGHEST_PRIORITY,
        help_text=f"The higher, the sooner; {DEFAULT_PRIORITY} unless given.",
    )
    not_before = Moment(required=False, allow_null=True, help_text=_NOT_BEFORE)
    deadline = Moment(required=False, allow_null=True, help_text=_DEADLINE)
    max_attempts = Whole(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MOST_ATTEMPTS,
        help_text=f"How often it may be tried; {DEFAULT_ATTEMPTS} unless given.",
    )
    requires_approval = _questions()


class RoutedBody(_Described):
    """What is routed."""


class RouteBody(serializers.Serializer[Any]):
    """What `POST /tasks/route` takes."""

    target = Name(max_length=50, help_text="The agent role that is to do it.")
    task = RoutedBody()
    context = Document(required=False, allow_null=True, help_text=_DOCUMENT)  # type: ignore[assignment]  # DRF takes fields off the class
    requires_approval = _questions()


class ReasonBody(serializers.Serializer[Any]):
    """Why, if somebody says so."""

    reason = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True)


class NeededReasonBody(serializers.Serializer[Any]):
    """Why."""

    reason = Text(max_length=MAX_TEXT)


class LeaseOut(serializers.Serializer[Any]):
    """Who holds an active task, for the API's document alone."""

    holder = serializers.CharField(help_text="`<issuer>|<subject>`.")
    epoch = serializers.IntegerField(min_value=1, help_text="The number of the ownership; it never falls.")
    expires_at = serializers.DateTimeField(help_text="From then on it completes nothing.")


class ProgressOut(serializers.Serializer[Any]):
    """What the holder said last of its progress, for the API's document alone."""

    percent = serializers.FloatField(required=False, min_value=0, max_value=100)
    message = serializers.CharField(required=False, allow_blank=True)


class ErrorOut(serializers.Serializer[Any]):
    """Why it failed, or why its last attempt did, for the API's document alone."""

    code = serializers.CharField()
    message = serializers.CharField(allow_blank=True)


class AttemptOut(serializers.Serializer[Any]):
    """One ownership, for the API's document alone."""

    epoch = serializers.IntegerField(min_value=1)
    attempt = serializers.IntegerField(min_value=1)
    holder = serializers.CharField()
    claimed_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    outcome = serializers.ChoiceField(AttemptOutcome.values, allow_null=True)
    error = ErrorOut(allow_null=True)


@extend_schema_serializer(component_name="Task", description="A task, the same everywhere.")
class TaskOut(serializers.Serializer[Any]):
    """What `task_out()` makes, for the API's document alone."""

    task_id = serializers.UUIDField()
    task_type = serializers.CharField(max_length=50)
    description = serializers.CharField(allow_blank=True)
    status = serializers.ChoiceField(TaskStatus.values)
    version = serializers.IntegerField(min_value=1)
    from_role = serializers.CharField(max_length=50)
    to_role = serializers.CharField(max_length=50)
    data = serializers.DictField()  # type: ignore[assignment]  # DRF takes fields off the class
    context = serializers.DictField()  # type: ignore[assignment]  # DRF takes fields off the class
    priority = serializers.IntegerField(min_value=0, max_value=HIGHEST_PRIORITY)
    not_before = serializers.DateTimeField(allow_null=True, help_text="As asked for, or the end of a pause.")
    deadline = serializers.DateTimeField(allow_null=True)
    attempt = serializers.IntegerField(min_value=1, help_text="The number of the attempt that runs, or comes next.")
    max_attempts = serializers.IntegerField(min_value=1, max_value=MOST_ATTEMPTS)
    lease = LeaseOut(allow_null=True)
    cancel_requested = serializers.BooleanField()
    progress = ProgressOut(allow_null=True)
    output = serializers.DictField(allow_null=True)
    error = ErrorOut(allow_null=True)
    retry_of = serializers.UUIDField(allow_null=True, help_text="The failed task whose work this is.")
    trace_id = serializers.CharField(allow_blank=True)
    created_by = serializers.CharField(help_text="`<issuer>|<subject>`.")
    on_behalf_of = serializers.CharField(allow_null=True, help_text="The person an agent acted for.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    allowed_transitions = serializers.ListField(child=serializers.ChoiceField(TaskStatus.values))


@extend_schema_serializer(component_name="TaskWithParts", description="A task, and what `include` asked for beside it.")
class TaskWithPartsOut(TaskOut):
    """What `GET /tasks/{id}` answers, for the API's document alone."""

    approvals = ApprovalOut(many=True, required=False)
    sessions = SessionOut(many=True, required=False)
    attempts = AttemptOut(many=True, required=False)


@extend_schema_serializer(many=False, description="A page; `total` and `page` are there on a page by number only.")
class TaskPage(serializers.Serializer[Any]):
    """What `GET /tasks` answers, for the API's document alone."""

    tasks = TaskOut(many=True)
    total = serializers.IntegerField(required=False, min_value=0, help_text="How many there are on all pages.")
    page = serializers.IntegerField(required=False, min_value=1)
    page_size = serializers.IntegerField(min_value=SMALLEST, max_value=LARGEST)
    next_cursor = serializers.CharField(allow_null=True, help_text="What `cursor` takes for the next page.")


def task_out(task: Task) -> dict[str, Any]:
    """A task, the same everywhere."""
    return {
        "task_id": str(task.id),
        "task_type": task.task_type,
        "description": task.description,
        "status": task.status,
        "version": task.version,
        "from_role": task.from_role,
        "to_role": task.to_role,
        "data": task.data,
        "context": task.context,
        "priority": task.priority,
        "not_before": instant(task.not_before) if task.not_before else None,
        "deadline": instant(task.deadline) if task.deadline else None,
        "attempt": task.attempt,
        "max_attempts": task.max_attempts,
        "lease": lease_out(task),
        "cancel_requested": task.cancel_requested,
        "progress": task.progress,
        "output": task.output,
        "error": task.error,
        "retry_of": str(task.retry_of_id) if task.retry_of_id else None,
        "trace_id": task.trace_id,
        "created_by": str(task.created_by),
        "on_behalf_of": str(task.on_behalf_of) if task.on_behalf_of else None,
        "created_at": instant(task.created_at),
        "updated_at": instant(task.updated_at),
        "allowed_transitions": list(task.allowed_transitions()),
    }


def lease_out(task: Task) -> dict[str, Any] | None:
    """Who holds it and until when; None where nobody does."""
    if task.holder is None or task.lease_expires_at is None:
        return None
    return {"holder": str(task.holder), "epoch": task.lease_epoch, "expires_at": instant(task.lease_expires_at)}


def attempt_out(attempt: Attempt) -> dict[str, Any]:
    """One ownership."""
    return {
        "epoch": attempt.epoch,
        "attempt": attempt.attempt,
        "holder": str(attempt.holder),
        "claimed_at": instant(attempt.claimed_at),
        "ended_at": instant(attempt.ended_at) if attempt.ended_at else None,
        "outcome": attempt.outcome,
        "error": attempt.error,
    }


def tasks_out(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Many of them."""
    return [task_out(task) for task in tasks]
