"""What the API's document says of /sessions."""

from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view

from orchestrator.openapi_examples import JSON, MERGE_PATCH, answered, sent
from orchestrator.openapi_headers import IF_MATCH, IF_NONE_MATCH, etag, location
from orchestrator.pagination import USUAL
from orchestrator.problem_schemas import refusals
from orchestrator.problems import AnswerTooLarge, InvalidRequest, NotFound, PreconditionFailed, QuotaExceeded
from orchestrator.work_problems import IllegalTransition, SessionExpired, TooManyOpenSessions
from sessions_app.serializers.session import NewSessionBody, SessionBody, SessionOut, SessionPage, SessionPatchBody
from sessions_app.views.deletion_docs import DELETED, DELETION, KEEPING, REASON
from sessions_app.views.session_parameters import FILTERS, ID, PAGES

_SESSION = {
    "session_id": "01a2071a-738b-748c-830f-c9446d69c2bb",
    "agent_role": "finance",
    "task_id": None,
    "status": "pending",
    "state": "pending",
    "metadata": {"quarter": "2026-Q4"},
    "created_at": "2026-11-23T06:31:43.755701Z",
    "updated_at": "2026-11-23T06:31:43.755701Z",
    "expires_at": "2026-11-30T06:31:43.755701Z",
    "created_by": "local|alice",
    "version": 1,
    "reason": None,
    "allowed_transitions": ["active", "expired"],
}
_ACTIVE = {**_SESSION, "status": "active", "state": "active", "version": 2}
_ACTIVE["allowed_transitions"] = ["completed", "failed", "expired"]
_NUMBERED = {"sessions": [_SESSION], "total": 1, "page": 1, "page_size": USUAL, "next_cursor": None}
_WALKED = {"sessions": [_SESSION], "page_size": USUAL, "next_cursor": None}

_CHANGING = (IllegalTransition, SessionExpired, TooManyOpenSessions)

_WRITTEN = "A write that changes nothing is a 200 with the version as it was."

documented = extend_schema_view(
    list=extend_schema(
        operation_id="list_sessions",
        summary="List sessions",
        description="The sessions that the caller may see, newest first. An unknown parameter, or one given twice, is"
        " a 400.",
        parameters=[*FILTERS, *PAGES],
        responses={
            200: OpenApiResponse(
                SessionPage,
                "A page.",
                [
                    answered("numbered", _NUMBERED, "By number"),
                    answered("walked", _WALKED, "By cursor"),
                ],
            )
        },
        extensions=refusals(InvalidRequest, AnswerTooLarge),
    ),
    create=extend_schema(
        operation_id="open_session",
        summary="Open a session",
        description="Agents open sessions for their own agent roles, operators for any.",
        parameters=[etag(201), location(201)],
        request={JSON: NewSessionBody},
        responses={201: OpenApiResponse(SessionOut, "The new session.", [answered("session", _SESSION, "A session")])},
        examples=[
            sent("role", {"agent_role": "finance"}, "No more than it needs"),
            sent(
                "all",
                {"agent_role": "finance", "task_id": None, "metadata": {"quarter": "2026-Q4"}, "ttl_seconds": 3600},
                "All there is to say",
            ),
        ],
        extensions=refusals(InvalidRequest, TooManyOpenSessions, QuotaExceeded),
    ),
    retrieve=extend_schema(
        operation_id="get_session",
        summary="Read a session",
        description="Past its time it is never a 304: what is allowed has changed without a new version.",
        parameters=[ID, IF_NONE_MATCH, etag(200, 304)],
        responses={
            200: OpenApiResponse(SessionOut, "The session.", [answered("session", _SESSION, "A session")]),
            304: OpenApiResponse(description="It is at one of the versions that `If-None-Match` names."),
        },
        extensions=refusals(InvalidRequest, NotFound),
    ),
    update=extend_schema(
        operation_id="update_session",
        summary="Move or change a session",
        description=f"What is absent or null stays as it is; `metadata` is replaced. {_WRITTEN}",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: SessionBody},
        responses={
            200: OpenApiResponse(SessionOut, "The session as it is now.", [answered("active", _ACTIVE, "Active")])
        },
        examples=[
            sent("move", {"status": "active", "reason": "The books are open."}, "Move it"),
            sent("change", {"metadata": {"quarter": "2027-Q1"}}, "Replace what it carries"),
            sent("extend", {"ttl_seconds": 86400}, "Let it last a day from now"),
        ],
        extensions=refusals(InvalidRequest, NotFound, PreconditionFailed, *_CHANGING),
    ),
    partial_update=extend_schema(
        operation_id="patch_session",
        summary="Patch a session",
        description="As PUT, but by RFC 7396: null inside `metadata` removes that member, `metadata: null` empties it,"
        f" `task_id: null` clears it. {_WRITTEN}",
        parameters=[ID, IF_MATCH, etag(200)],
        request={MERGE_PATCH: SessionPatchBody, JSON: SessionPatchBody},
        responses={
            200: OpenApiResponse(SessionOut, "The session as it is now.", [answered("active", _ACTIVE, "Active")])
        },
        examples=[
            sent("merge", {"metadata": {"quarter": None, "year": 2027}}, "Remove one member, set another", MERGE_PATCH),
            sent("clear", {"task_id": None, "metadata": None}, "Point nowhere, carry nothing", MERGE_PATCH),
            sent("move", {"status": "active"}, "Move it"),
        ],
        extensions=refusals(InvalidRequest, NotFound, PreconditionFailed, *_CHANGING),
    ),
    destroy=extend_schema(
        operation_id="delete_session",
        summary="Delete a session",
        description="For operators, once the session is completed, failed or expired. Its approvals go with it; all"
        f" trails stay. {DELETION}",
        parameters=[ID, REASON, IF_MATCH, location(202)],
        responses=DELETED,
        extensions=refusals(InvalidRequest, NotFound, IllegalTransition, SessionExpired, PreconditionFailed, *KEEPING),
    ),
)
"""Decorates the view set."""
