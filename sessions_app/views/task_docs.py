"""What the API's document says of /tasks."""

from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view

from orchestrator.openapi_examples import JSON, answered, sent
from orchestrator.openapi_headers import IF_MATCH, IF_NONE_MATCH, etag, location, retry_after
from orchestrator.problem_schemas import refusals
from orchestrator.problems import AnswerTooLarge, InvalidRequest, NotFound, PreconditionFailed, QuotaExceeded
from orchestrator.work_problems import AlreadyRetried, IllegalTransition, NoApprover, StillReferenced
from sessions_app.serializers.task import (
    NeededReasonBody,
    NewTaskBody,
    ReasonBody,
    RouteBody,
    TaskPage,
    TaskWithPartsOut,
)
from sessions_app.views.deletion_docs import DELETED, DELETION, KEEPING, REASON
from sessions_app.views.lease_docs import HOLDING
from sessions_app.views.task_examples import (
    CANCELLED,
    NUMBERED,
    RELEASED,
    RETRIED,
    TASK,
    WALKED,
    WITH_PARTS,
    task_answer,
)
from sessions_app.views.task_parameters import FILTERS, ID, INCLUDE, PAGES, WAIT

documented = extend_schema_view(
    **HOLDING,
    list=extend_schema(
        operation_id="list_tasks",
        summary="List tasks",
        description="The tasks that the caller may see, newest first. An unknown parameter, or one given twice, is a"
        " 400.",
        parameters=[*FILTERS, *PAGES],
        responses={
            200: OpenApiResponse(
                TaskPage,
                "A page.",
                [answered("numbered", NUMBERED, "By number"), answered("walked", WALKED, "By cursor")],
            )
        },
        extensions=refusals(InvalidRequest, AnswerTooLarge),
    ),
    create=extend_schema(
        operation_id="create_task",
        summary="Create a task",
        description="Agents create tasks from their own agent roles, operators from any. With `requires_approval` the"
        " task waits as `blocked` until people agreed.",
        parameters=[etag(201), location(201)],
        request={JSON: NewTaskBody},
        responses={201: task_answer(TASK, "The new task")},
        examples=[
            sent("least", {"task_type": "routing", "to_role": "finance"}, "No more than it needs"),
            sent(
                "all",
                {
                    "task_type": "routing",
                    "to_role": "finance",
                    "from_role": "manager",
                    "description": "Check the invoices of October.",
                    "data": {"invoices": 41},
                    "context": {"quarter": "2026-Q4"},
                    "priority": 7,
                    "not_before": "2026-11-24T09:00:00Z",
                    "deadline": "2099-11-24T18:00:00Z",
                    "max_attempts": 5,
                },
                "All there is to say",
            ),
        ],
        extensions=refusals(InvalidRequest, NoApprover, QuotaExceeded),
    ),
    route=extend_schema(
        operation_id="route_task",
        summary="Route a task to a role",
        description="As `POST /tasks`, in another form. `Idempotency-Key` is required.",
        parameters=[etag(202), location(202)],
        request={JSON: RouteBody},
        responses={202: task_answer(TASK, "The new task")},
        examples=[
            sent(
                "routed",
                {
                    "target": "finance",
                    "task": {
                        "task_type": "routing",
                        "description": "Check the invoices of October.",
                        "data": {"invoices": 41},
                    },
                    "context": {"quarter": "2026-Q4"},
                },
                "Work for finance",
            )
        ],
        extensions={**refusals(InvalidRequest, QuotaExceeded), "x-needs-key": True},
    ),
    retrieve=extend_schema(
        operation_id="get_task",
        summary="Read a task, or wait until it moves on",
        description="While its holder may report progress, and past its deadline, it is never a 304.",
        parameters=[ID, *WAIT, INCLUDE, IF_NONE_MATCH, etag(304), etag(200, required=False), retry_after(200)],
        responses={
            200: OpenApiResponse(
                TaskWithPartsOut,
                "The task.",
                [
                    answered("task", TASK, "The task"),
                    answered("parts", WITH_PARTS, "With `include=sessions,approvals,attempts`"),
                ],
            ),
            304: OpenApiResponse(description="It is at one of the versions that `If-None-Match` names."),
        },
        extensions=refusals(InvalidRequest, NotFound, AnswerTooLarge),
    ),
    destroy=extend_schema(
        operation_id="delete_task",
        summary="Delete a task",
        description="For operators, once it is completed, failed or cancelled. Its attempts and approvals go with it;"
        f" all trails stay. {DELETION}",
        parameters=[ID, REASON, IF_MATCH, location(202)],
        responses=DELETED,
        extensions=refusals(InvalidRequest, NotFound, IllegalTransition, StillReferenced, PreconditionFailed, *KEEPING),
    ),
    cancel=extend_schema(
        operation_id="cancel_task",
        summary="Call a task off",
        description="For who created it, and operators. At once where nobody holds it; its holder is told at the next"
        " heartbeat, and it is cancelled when the lease ends, unless it is completed first.",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: ReasonBody},
        responses={200: task_answer(CANCELLED, "The task as it is now")},
        examples=[sent("reason", {"reason": "The auditors came early."}, "With a reason")],
        extensions=refusals(InvalidRequest, NotFound, IllegalTransition, PreconditionFailed),
    ),
    retry=extend_schema(
        operation_id="retry_task",
        summary="Try a failed task again",
        description="For operators: a new pending task with the same work, which points back. Once for each.",
        parameters=[ID, IF_MATCH, etag(201), location(201)],
        request={JSON: ReasonBody},
        responses={201: task_answer(RETRIED, "The new task")},
        examples=[sent("reason", {"reason": "The ledger is open again."}, "With a reason")],
        extensions=refusals(
            InvalidRequest, NotFound, IllegalTransition, AlreadyRetried, NoApprover, PreconditionFailed
        ),
    ),
    force_release=extend_schema(
        operation_id="force_release_task",
        summary="Take a task from its holder",
        description="For operators. The holder's token counts for nothing from then on.",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: NeededReasonBody},
        responses={200: task_answer(RELEASED, "The task as it is now")},
        examples=[sent("reason", {"reason": "The worker hangs."}, "With a reason")],
        extensions=refusals(InvalidRequest, NotFound, IllegalTransition, PreconditionFailed),
    ),
)
"""Decorates the view set."""
