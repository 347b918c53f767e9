"""What the API's document says of /approvals."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, PolymorphicProxySerializer, extend_schema, extend_schema_view

from orchestrator.openapi_examples import JSON, answered, sent
from orchestrator.openapi_headers import IF_MATCH, IF_NONE_MATCH, etag, location, retry_after
from orchestrator.openapi_parameters import id_of, made, pages, query, status
from orchestrator.problem_schemas import refusals
from orchestrator.problems import (
    AnswerTooLarge,
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
    AlreadyRejected,
    AlreadyRequested,
    ApprovalExpired,
    ApprovalLapsed,
    DeadlineExceeded,
    IllegalTransition,
    NoApprover,
    NoDecision,
    NoPendingApproval,
    SeveralPendingApprovals,
    StillDecidable,
    TooManyOpenApprovals,
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
from sessions_app.views.approval_examples import (
    ACTION,
    ACTION_REJECTED_BEFORE,
    APPROVED,
    CANCELLED,
    CONSUMED,
    DECIDED,
    FOR_AN_ACTION,
    NUMBERED,
    PENDING,
    REJECTED,
    REOPENED,
    WALKED,
    WITHDRAWN,
    approval_answer,
)
from sessions_app.views.task_parameters import WAIT

ID = id_of("approval")
_FILTERS = [
    status(ApprovalStatus),
    query("approver_role", OpenApiTypes.STR, "The role whose people are to decide, as it stands."),
    query("task_id", OpenApiTypes.UUID, "The task that it is about."),
    query("session_id", OpenApiTypes.UUID, "The session that its action belongs to."),
    query(
        "assignee",
        {"type": "string", "enum": ["me"]},
        "Only what awaits the caller's own decision now: their inbox.",
    ),
    *made("requested", "approvals"),
]
_SIGNATURE = (
    "The token must be of a client that may decide (`OIDC_DECIDING_CLIENTS`), and the login behind it as strong and as"
    " recent as the service requires."
)
_DECISION = (
    "For approvers of its role, people only, and not in their own matter: neither the requester, nor a present or"
    " former holder of the task, nor its creator, nor a person on whose behalf one of these acted. Linked identities"
    f" count as one person. An operator has no way round. {_SIGNATURE}"
)
_SIGNING = (InsufficientUserAuthentication, ClientMayNotDecide)
_DECIDING = (*_SIGNING, SeparationOfDuties, IllegalTransition, ApprovalExpired, AlreadyDecided)
_REQUESTING = (AlreadyRequested, AlreadyRejected, TooManyOpenApprovals, NoApprover, StillDecidable)


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
                [answered("numbered", NUMBERED, "By number"), answered("walked", WALKED, "By cursor")],
            )
        },
        extensions=refusals(InvalidRequest, AnswerTooLarge),
    ),
    create=extend_schema(
        operation_id="request_or_decide_approval",
        summary="Request an approval, or decide the only open one of a task",
        description="Without a `decision`, or with `pending`, it requests agreement: to a task (`task_id`), which waits"
        " for the answer while it is pending and stays with its holder while it is active, or to one `action` of the"
        " caller without a task, which may belong to a session (`session_id`). Operators can reopen a rejected request"
        " (`reopens`), and replace an open one that too few people can decide (`replaces`). With `approved` or"
        " `rejected` it decides the one open approval of the task that the caller may decide.",
        parameters=[etag(201), location(201)],
        request={
            JSON: PolymorphicProxySerializer(
                "RequestOrDecision", [RequestBody, DecisionByTaskBody], resource_type_field_name=None
            )
        },
        responses={
            201: OpenApiResponse(
                ApprovalOut,
                "The new approval.",
                [
                    answered("approval", PENDING, "About a task"),
                    answered("action", FOR_AN_ACTION, "About an action in a session"),
                    answered("reopened", REOPENED, "About an action that was rejected before"),
                ],
            ),
            202: OpenApiResponse(DecidedOut, "What was decided.", [answered("decided", DECIDED, "Decided")]),
        },
        examples=[
            sent(
                "least",
                {"task_id": PENDING["task_id"], "approver_role": "manager"},
                "About a task, with no more than it needs",
            ),
            sent(
                "all",
                {
                    "task_id": PENDING["task_id"],
                    "approver_role": "manager",
                    "reason": "Above the limit of the role.",
                    "required_approvals": 2,
                    "expires_in_seconds": 3600,
                    "use_within_seconds": 600,
                    "action": ACTION,
                },
                "About a task, with all there is to say",
            ),
            sent("action", {"approver_role": "manager", "action": ACTION}, "About an action without a task"),
            sent(
                "session",
                {"session_id": FOR_AN_ACTION["session_id"], "approver_role": "manager", "action": ACTION},
                "About an action in a session",
            ),
            sent(
                "reopen",
                {
                    "approver_role": "manager",
                    "action": ACTION_REJECTED_BEFORE,
                    "reopens": REOPENED["reopens"],
                    "reason": "The budget was raised.",
                },
                "Reopen a rejected request about an action",
            ),
            sent(
                "replace",
                {
                    "task_id": PENDING["task_id"],
                    "approver_role": "board",
                    "replaces": PENDING["approval_id"],
                    "reason": "The managers have left.",
                },
                "Replace a request that too few people can decide",
            ),
            sent(
                "decide",
                {"task_id": PENDING["task_id"], "decision": "approved", "comments": "Checked."},
                "Decide",
            ),
        ],
        extensions=refusals(
            InvalidRequest,
            *_REQUESTING,
            *_DECIDING,
            DeadlineExceeded,
            NoPendingApproval,
            SeveralPendingApprovals,
        ),
    ),
    retrieve=extend_schema(
        operation_id="get_approval",
        summary="Read an approval, or wait until it moves on",
        description="Past its time it is never a 304: what is allowed has changed without a new version.",
        parameters=[ID, *WAIT, IF_NONE_MATCH, etag(200, 304), retry_after(200)],
        responses={
            200: approval_answer(PENDING, "The approval"),
            304: OpenApiResponse(description="It is at one of the versions that `If-None-Match` names."),
        },
        extensions=refusals(InvalidRequest, NotFound),
    ),
    approve=extend_schema(
        operation_id="approve_approval",
        summary="Approve a request",
        description=f"The last of the people needed settles it. Past the deadline of its task nothing is approved."
        f" {_DECISION}",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: CommentsBody},
        responses={200: approval_answer(APPROVED, "The approval as it is now")},
        examples=[sent("comments", {"comments": "Checked against the contract."}, "With a comment")],
        extensions=refusals(InvalidRequest, NotFound, PreconditionFailed, *_DECIDING, DeadlineExceeded),
    ),
    reject=extend_schema(
        operation_id="reject_approval",
        summary="Reject a request",
        description="One person who rejects settles it; a blocked task fails. The rejection stands: the same question"
        f" is refused until an operator reopens it. {_DECISION}",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: CommentsBody},
        responses={200: approval_answer(REJECTED, "The approval as it is now")},
        examples=[sent("comments", {"comments": "Not in this year's budget."}, "With a comment")],
        extensions=refusals(InvalidRequest, NotFound, PreconditionFailed, *_DECIDING),
    ),
    withdraw=extend_schema(
        operation_id="withdraw_decision",
        summary="Withdraw one's own approval",
        description="For the approver whose approval counts, while the request is open. The decision stays on record,"
        f" set aside, and the approver may decide again. {_SIGNATURE}",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: CommentsBody},
        responses={200: approval_answer(WITHDRAWN, "The approval as it is now")},
        examples=[sent("comments", {"comments": "The offer has changed."}, "With a comment")],
        extensions=refusals(
            InvalidRequest, NotFound, PreconditionFailed, *_SIGNING, IllegalTransition, ApprovalExpired, NoDecision
        ),
    ),
    cancel=extend_schema(
        operation_id="cancel_approval",
        summary="Cancel a request",
        description="For the agent who made it, and operators. A blocked task goes on without a request that was added"
        " later. A request that the task was created with takes the task with it, so that cancelling it needs the right"
        " to cancel the task.",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: ReasonBody},
        responses={200: approval_answer(CANCELLED, "The approval as it is now")},
        examples=[sent("reason", {"reason": "The offer was withdrawn."}, "With a reason")],
        extensions=refusals(InvalidRequest, NotFound, IllegalTransition, ApprovalExpired, PreconditionFailed),
    ),
    consume=extend_schema(
        operation_id="consume_approval",
        summary="Consume a grant, once",
        description="For the holder of the task, or the requester who never held it. The action must be the one that"
        " was approved: the same by its canonical JSON (RFC 8785). A grant lapses at `approved_until`. Grants of"
        " several roles for one action of one task are consumed together.",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: ConsumeBody},
        responses={200: approval_answer(CONSUMED, "The approval as it is now")},
        examples=[sent("action", {"action": ACTION}, "The action that was approved")],
        extensions=refusals(
            InvalidRequest,
            NotFound,
            IllegalTransition,
            DeadlineExceeded,
            ActionMismatch,
            AlreadyConsumed,
            ApprovalLapsed,
            PreconditionFailed,
        ),
    ),
)
"""Decorates the view set."""
