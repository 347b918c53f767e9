"""What lists may be narrowed by, and what a body may hold beside its plain fields."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict
from uuid import UUID

from agent_mesh.shapes import ApprovalStatus, SessionStatus, TaskStatus

Moment = datetime | str
"""A datetime that knows its offset, or an RFC 3339 text."""

Id = UUID | str


class _Filters(TypedDict, total=False):
    created_by: str | None
    created_after: Moment | None
    created_before: Moment | None


class SessionFilters(_Filters, total=False):
    """Of sessions; `metadata` maps paths with dots to values."""

    status: SessionStatus | Sequence[SessionStatus] | None
    agent_role: str | None
    task_id: Id | None
    metadata: dict[str, str] | None


class TaskFilters(_Filters, total=False):
    """Of tasks."""

    status: TaskStatus | Sequence[TaskStatus] | None
    to_role: str | None
    from_role: str | None
    task_type: str | None
    trace_id: str | None


class ApprovalFilters(_Filters, total=False):
    """Of approvals; `assignee="me"` is what awaits the caller's own decision."""

    status: ApprovalStatus | Sequence[ApprovalStatus] | None
    approver_role: str | None
    task_id: Id | None
    session_id: Id | None
    assignee: Literal["me"] | None


class EventFilters(TypedDict, total=False):
    """Of the trail; `actor` is written `<issuer>|<subject>`."""

    subject_type: Literal["session", "task", "approval", "person"] | None
    subject_id: Id | None
    event_type: str | Sequence[str] | None
    actor: str | None
    trace_id: str | None
    request_id: str | None
    after: Moment | None
    before: Moment | None


class OrderedEventFilters(EventFilters, total=False):
    """The same, newest first unless `order` is `oldest`."""

    order: Literal["newest", "oldest"] | None


class Question(TypedDict):
    """What is asked, and of whom, before a task may be claimed."""

    approver_role: str
    reason: NotRequired[str | None]
    required_approvals: NotRequired[int | None]
    expires_in_seconds: NotRequired[int | None]
    use_within_seconds: NotRequired[int | None]
    action: NotRequired[dict[str, Any] | None]


class SessionPatch(TypedDict, total=False):
    """A merge patch (RFC 7396): null removes, what is absent stays."""

    status: SessionStatus
    task_id: Id | None
    metadata: dict[str, Any] | None
    reason: str | None
    ttl_seconds: int
