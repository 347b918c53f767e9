"""What the API's document says of /approvals."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, PolymorphicProxySerializer, extend_schema, extend_schema_view

from orchestrator.openapi_examples import JSON, answered, sent
from orchestrator.openapi_headers import IF_MATCH, IF_NONE_MATCH, etag, location, retry_after
from orchestrator.openapi_parameters import id_of, made, pages, query, status
from orchestrator.pagination import USUAL
from orchestrator.problem_schemas import refusals
from orchestrator.problems import (
    ClientMayNotDecide,
    InsufficientUserAuthentication,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    SeparationOfDuties,
)
from orchestrator.work_problems import (
    ActionMismatch,
    AlreadyConsumed,
    AlreadyDecided,
    ApprovalExpired,
    DeadlineExceeded,
    IllegalTransition,
    NoPendingApproval,
    SeveralPendingApprovals,
)
from sessions_app.models.approval import ApprovalStatus
from sessions_app.serializers.approval import (
    ApprovalOut,
    ApprovalPage,
    CommentsBody,
    ConsumeBody,
    DecidedOut,
    DecisionByTaskBody,
    RequestBody,
)
from sessions_app.serializers.task import ReasonBody
from sessions_app.views.task_parameters import WAIT

_ACTION = {"amount": 48000, "currency": "EUR", "pay": "Hansen Tools"}
_DIGEST = "4fc518be7a7affa52af814652cded4e8c49f32aa757aadef514c73f6e249cedb"
_PENDING = {
    "approval_id": "01a2071c-5b1e-7e0a-8f6d-0c1d2e3f4a5b",
    "task_id": "01a2071a-738b-748c-830f-c9446d69c2bb",
    "approver_role": "manager",
    "status": "pending",
    "version": 1,
    "reason": "Above the limit of the role.",
    "action": _ACTION,
    "action_digest": _DIGEST,
    "required_approvals": 2,
    "decisions": [],
    "requested_by": "local|finn",
    "on_behalf_of": None,
    "expires_at": "2026-11-25T09:00:00.000000Z",
    "decision_at": None,
    "consumed_at": None,
    "created_at": "2026-11-24T09:00:00.000000Z",
    "allowed_transitions": ["approved", "rejected", "expired", "cancelled"],
}


def _said(who: str, decision: str, at: str) -> dict[str, str]:
    return {"decider": f"local|{who}", "decision": decision, "comments": "", "decided_at": at}


_YES = [
    _said("mona", "approved", "2026-11-24T09:05:00.000000Z"),
    _said("max", "approved", "2026-11-24T09:07:00.000000Z"),
]
_SETTLED = {"decision_at": "2026-11-24T09:07:00.000000Z", "allowed_transitions": []}
_APPROVED = {**_PENDING, **_SETTLED, "status": "approved", "version": 3, "decisions": _YES}
_NO = [_said("mona", "rejected", "2026-11-24T09:07:00.000000Z")]
_REJECTED = {**_PENDING, **_SETTLED, "status": "rejected", "version": 2, "decisions": _NO}
_CANCELLED = {**_PENDING, "status": "cancelled", "version": 2, "allowed_transitions": []}
_CONSUMED = {**_APPROVED, "version": 4, "consumed_at": "2026-11-24T09:08:00.000000Z"}
_NUMBERED = {"approvals": [_PENDING], "total": 1, "page": 1, "page_size": USUAL, "next_cursor": None}
_WALKED = {"approvals": [_PENDING], "page_size": USUAL, "next_cursor": None}
_DECIDED = {"approval_id": _PENDING["approval_id"], "status": "approved"}

ID = id_of("approval")
_FILTERS = [
    status(ApprovalStatus),
    query("approver_role", OpenApiTypes.STR, "The role whose people are to decide, as it stands."),
    query("task_id", OpenApiTypes.UUID, "The task that it is about."),
    query(
        "assignee",
        {"type": "string", "enum": ["me"]},
        "Only what awaits the caller's own decision now: their inbox.",
    ),
    *made("requested", "approvals"),
]
_DECISION = (
    "For approvers of its role, people only, who neither asked for it, nor had it asked for them, nor hold the task."
    " An operator has no way round. The token must be of a client that may decide (`OIDC_DECIDING_CLIENTS`), and the"
    " login behind it as strong and as recent as the service requires."
)
_DECIDING = (
    *(InsufficientUserAuthentication, ClientMayNotDecide, SeparationOfDuties),
    *(IllegalTransition, ApprovalExpired, AlreadyDecided),
)


def _answer(value: object, summary: str) -> OpenApiResponse:
    return OpenApiResponse(ApprovalOut, f"{summary}.", [answered("approval", value, summary)])


documented = extend_schema_view(
    list=extend_schema(
        operation_id="list_approvals",
        summary="List approvals",
        description="The approvals that the caller may see, newest first. `?assignee=me&status=pending` is everyone's"
        " inbox. An unknown parameter, or one given twice, is a 400.",
        parameters=[*_FILTERS, *pages("approval")],
        responses={
            200: OpenApiResponse(
                ApprovalPage,
                "A page.",
                [answered("numbered", _NUMBERED, "By number"), answered("walked", _WALKED, "By cursor")],
            )
        },
        extensions=refusals(InvalidRequest),
    ),
    create=extend_schema(
        operation_id="request_or_decide_approval",
        summary="Ask for an approval, or decide the only open one of a task",
        description="Without a `decision`, or with `pending`, it asks: a pending task waits for the answer, an"
        " active one stays with its holder. With `approved` or `rejected` it decides the one open approval of the task"
        " that the caller may decide.",
        parameters=[etag(201), location(201)],
        request={
            JSON: PolymorphicProxySerializer(
                "RequestOrDecision", [RequestBody, DecisionByTaskBody], resource_type_field_name=None
            )
        },
        responses={
            201: _answer(_PENDING, "The new approval"),
            202: OpenApiResponse(DecidedOut, "What was decided.", [answered("decided", _DECIDED, "Decided")]),
        },
        examples=[
            sent(
                "least",
                {"task_id": _PENDING["task_id"], "approver_role": "manager"},
                "Ask, with no more than it needs",
            ),
            sent(
                "all",
                {
                    "task_id": _PENDING["task_id"],
                    "approver_role": "manager",
                    "reason": "Above the limit of the role.",
                    "required_approvals": 2,
                    "expires_in_seconds": 3600,
                    "action": _ACTION,
                },
                "Ask, with all there is to say",
            ),
            sent(
                "decide",
                {"task_id": _PENDING["task_id"], "decision": "approved", "comments": "Checked."},
                "Decide",
            ),
        ],
        extensions=refusals(InvalidRequest, *_DECIDING, NoPendingApproval, SeveralPendingApprovals),
    ),
    retrieve=extend_schema(
        operation_id="get_approval",
        summary="Read an approval, or wait until it moves on",
        description="Past its time it is never a 304: what is allowed has changed without a new version.",
        parameters=[ID, *WAIT, IF_NONE_MATCH, etag(200, 304), retry_after(200)],
        responses={
            200: _answer(_PENDING, "The approval"),
            304: OpenApiResponse(description="It is at one of the versions that `If-None-Match` names."),
        },
        extensions=refusals(InvalidRequest, NotFound),
    ),
    approve=extend_schema(
        operation_id="approve_approval",
        summary="Agree",
        description=f"The last of the people needed settles it. {_DECISION}",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: CommentsBody},
        responses={200: _answer(_APPROVED, "The approval as it is now")},
        examples=[sent("comments", {"comments": "Checked against the contract."}, "With a comment")],
        extensions=refusals(InvalidRequest, NotFound, PreconditionFailed, *_DECIDING),
    ),
    reject=extend_schema(
        operation_id="reject_approval",
        summary="Refuse",
        description=f"One who refuses settles it; a blocked task fails. {_DECISION}",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: CommentsBody},
        responses={200: _answer(_REJECTED, "The approval as it is now")},
        examples=[sent("comments", {"comments": "Not in this year's budget."}, "With a comment")],
        extensions=refusals(InvalidRequest, NotFound, PreconditionFailed, *_DECIDING),
    ),
    cancel=extend_schema(
        operation_id="cancel_approval",
        summary="Ask no more",
        description="For whoever asked, and operators. A task that waits for it is cancelled with it, unless it waits"
        " for another too.",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: ReasonBody},
        responses={200: _answer(_CANCELLED, "The approval as it is now")},
        examples=[sent("reason", {"reason": "The offer was withdrawn."}, "With a reason")],
        extensions=refusals(InvalidRequest, NotFound, IllegalTransition, ApprovalExpired, PreconditionFailed),
    ),
    consume=extend_schema(
        operation_id="consume_approval",
        summary="Use what was agreed to, once",
        description="For whoever holds the task, or asked and never held it. The action must be the one that was"
        " approved: the same by its canonical JSON (RFC 8785).",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: ConsumeBody},
        responses={200: _answer(_CONSUMED, "The approval as it is now")},
        examples=[sent("action", {"action": _ACTION}, "The action that was approved")],
        extensions=refusals(
            InvalidRequest,
            NotFound,
            IllegalTransition,
            DeadlineExceeded,
            ActionMismatch,
            AlreadyConsumed,
            PreconditionFailed,
        ),
    ),
)
"""Decorates the view set."""
