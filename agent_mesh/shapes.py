"""What the service answers, field by field; docs/api tells what each is. Times are RFC 3339 texts, ids are UUIDs."""

from typing import Any, Literal, NotRequired, TypedDict

SessionStatus = Literal["pending", "active", "completed", "failed", "expired"]
TaskStatus = Literal["pending", "blocked", "active", "completed", "failed", "cancelled"]
ApprovalStatus = Literal["pending", "approved", "rejected", "expired", "cancelled"]
Verdict = Literal["approved", "rejected"]
ApprovalKind = Literal["task", "action"]
SetAside = Literal["withdrawn", "cut-off", "same-person"]
Json = dict[str, Any]


class Session(TypedDict):
    """An agent's piece of work."""

    session_id: str
    agent_role: str
    task_id: str | None
    status: SessionStatus
    state: SessionStatus
    metadata: Json
    created_at: str
    updated_at: str
    expires_at: str
    created_by: str
    version: int
    reason: str | None
    allowed_transitions: list[SessionStatus]


class Lease(TypedDict):
    """Who holds a task, and until when."""

    holder: str
    epoch: int
    expires_at: str


class GrantedLease(Lease):
    """A lease of one's own, with the token that proves it."""

    token: str


class Progress(TypedDict, total=False):
    """How far a holder is."""

    percent: float
    message: str


class Failure(TypedDict):
    """Why an attempt, or a task, failed."""

    code: str
    message: str


class _Work(TypedDict):
    task_id: str
    task_type: str
    description: str
    status: TaskStatus
    version: int
    from_role: str
    to_role: str
    data: Json
    context: Json
    priority: int
    not_before: str | None
    deadline: str | None
    attempt: int
    max_attempts: int
    cancel_requested: bool
    progress: Progress | None
    output: Json | None
    error: Failure | None
    retry_of: str | None
    trace_id: str
    created_by: str
    on_behalf_of: str | None
    created_at: str
    updated_at: str
    allowed_transitions: list[TaskStatus]


class Task(_Work):
    """Work that one agent role routes to another."""

    lease: Lease | None


class ClaimedTask(_Work):
    """A task that the caller holds from now on."""

    lease: GrantedLease


class Attempt(TypedDict):
    """Who held a task, from when to when, and how it ended."""

    epoch: int
    attempt: int
    holder: str
    claimed_at: str
    ended_at: str | None
    outcome: (
        Literal["completed", "failed", "released", "lease-lost", "lost-delivery", "force-released", "deadline-exceeded"]
        | None
    )
    error: Failure | None


class Decision(TypedDict):
    """What a person decided. A decision that was set aside does not count."""

    decider: str
    decision: Verdict
    comments: str
    decided_at: str
    set_aside_at: str | None
    set_aside_reason: SetAside | None


class Earlier(TypedDict):
    """A settled request of the same subject, from before this one."""

    approval_id: str
    outcome: Literal["approved", "rejected", "expired", "cancelled"]
    approver_role: str
    deciders: list[str]
    comments: str
    at: str


class Approval(TypedDict):
    """A request that people agree to a task (`kind` is `task`), or to one action without a task (`action`)."""

    approval_id: str
    kind: ApprovalKind
    task_id: str | None
    session_id: str | None
    approver_role: str
    status: ApprovalStatus
    version: int
    reason: str
    action: Json | None
    action_digest: str | None
    required_approvals: int
    decisions: list[Decision]
    requested_by: str
    on_behalf_of: str | None
    expires_at: str
    decision_at: str | None
    use_within_seconds: int | None
    approved_until: str | None
    consumed_at: str | None
    reopens: str | None
    replaces: str | None
    earlier: list[Earlier]
    created_at: str
    allowed_transitions: list[ApprovalStatus]


class Decided(TypedDict):
    """What a decision by the task's id came to."""

    approval_id: str
    status: ApprovalStatus


class TaskWithParts(Task):
    """A task, with what was asked to be shown beside it."""

    sessions: NotRequired[list[Session]]
    approvals: NotRequired[list[Approval]]
    attempts: NotRequired[list[Attempt]]


class Kept(TypedDict):
    """What a heartbeat is answered."""

    lease: Lease
    cancel_requested: bool


Event = TypedDict(
    "Event",
    {
        "event_id": str,
        "event_type": str,
        "subject_type": Literal["session", "task", "approval", "person"] | None,
        "subject_id": str | None,
        "seq": int | None,
        "from": str | None,
        "to": str | None,
        "actor": str,
        "actor_kind": Literal["person", "agent", "service_account", "job"],
        "on_behalf_of": str | None,
        "role": str,
        "via": Literal["api", "admin", "job", "mesh"],
        "reason": str,
        "changes": Json,
        "cause": str | None,
        "request_id": str,
        "trace_id": str,
        "ip": str | None,
        "timestamp": str,
        "prev_hash": str | None,
        "hash": str,
    },
)


class Ingested(TypedDict):
    """The event as which something was kept."""

    event_id: str


class _Page(TypedDict):
    page_size: int
    next_cursor: str | None
    total: NotRequired[int]
    page: NotRequired[int]


class SessionPage(_Page):
    """Some of the sessions; `total` and `page` on a page by number only, here and below."""

    sessions: list[Session]


class TaskPage(_Page):
    """Some of the tasks."""

    tasks: list[Task]


class ApprovalPage(_Page):
    """Some of the approvals."""

    approvals: list[Approval]


class EventPage(_Page):
    """Some of the events."""

    events: list[Event]
