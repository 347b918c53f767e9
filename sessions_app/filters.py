"""The filters of the lists of the work."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Q

from orchestrator import parsing
from orchestrator.filters import Beginning, Reader, Refused, equal, identity, moment, named, statuses, uuid
from orchestrator.problems import InvalidJson
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.session import SessionStatus
from sessions_app.models.task import TaskStatus

METADATA = "metadata."
_MAX_DEPTH = 30

SESSION_FILTERS: Mapping[str, Reader] = {
    "status": statuses(SessionStatus),
    "agent_role": named("role"),
    "task_id": uuid("task_id", "task"),
    "created_by": identity("created_by"),
    "created_after": moment("created_at__gte"),
    "created_before": moment("created_at__lt"),
}

TASK_FILTERS: Mapping[str, Reader] = {
    "status": statuses(TaskStatus),
    "to_role": named("to_role"),
    "target": named("to_role"),
    "from_role": named("from_role"),
    "task_type": named("task_type"),
    "trace_id": equal("trace_id"),
    "created_by": identity("created_by"),
    "created_after": moment("created_at__gte"),
    "created_before": moment("created_at__lt"),
}

APPROVAL_FILTERS: Mapping[str, Reader] = {
    "status": statuses(ApprovalStatus),
    "approver_role": named("approver_role"),
    "task_id": uuid("task_id", "task"),
    "session_id": uuid("session_id", "session"),
    "created_by": identity("created_by"),
    "created_after": moment("created_at__gte"),
    "created_before": moment("created_at__lt"),
}


def contained(path: str, text: str) -> Q:
    """Metadata with a value at a dotted path: as JSON, where the text is JSON, or as a text; either matches."""
    names = path.split(".")
    if not all(names) or len(names) > _MAX_DEPTH:
        raise Refused(f"The path must be up to {_MAX_DEPTH} names with dots between them.")
    condition = Q(metadata__contains=_nested(names, text))
    try:
        value = parsing.parse(text.encode())
    except InvalidJson:
        return condition
    return condition if value == text else condition | Q(metadata__contains=_nested(names, value))


def _nested(names: list[str], value: Any) -> Any:
    for name in reversed(names):
        value = {name: value}
    return value


SESSION_BEGINNINGS: Mapping[str, Beginning] = {METADATA: contained}
