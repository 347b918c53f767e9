"""What the API's document says of claims and of what the holder of a task calls."""

from drf_spectacular.utils import OpenApiResponse, extend_schema

from orchestrator.openapi_examples import JSON, answered, sent
from orchestrator.openapi_headers import IF_MATCH, etag, retry_after
from orchestrator.problem_schemas import refusals
from orchestrator.problems import InvalidRequest, NotFound, PreconditionFailed, QuotaExceeded
from orchestrator.work_problems import DeadlineExceeded, LeaseLost
from sessions_app.serializers.lease import (
    ClaimBody,
    ClaimOut,
    CompleteBody,
    FailBody,
    HeartbeatBody,
    HeartbeatOut,
    ReleaseBody,
)
from sessions_app.views.task_examples import CLAIMED, DONE, FAILED, LEASE, RELEASED, TOKEN, task_answer
from sessions_app.views.task_parameters import ID

_AGAIN = "The very same call again is answered with the task as it then is; any other call with that token is refused."
_FENCED = f"It counts only with the token of the present lease, before that has run out. {_AGAIN}"

HOLDING = {
    "claim": extend_schema(
        operation_id="claim_tasks",
        summary="Claim tasks",
        description="Takes pending tasks of the caller's roles, highest priority first, then oldest, each with a lease."
        " Every task goes to exactly one caller. The answer is not remembered under an `Idempotency-Key`: it holds a"
        " secret, and a lost one is healed by its lease. Where too many wait already it is answered at once, with"
        " `Retry-After`.",
        parameters=[retry_after(200)],
        request={JSON: ClaimBody},
        responses={
            200: OpenApiResponse(
                ClaimOut,
                "What was taken; empty where there is none.",
                [answered("claimed", CLAIMED, "One task"), answered("none", {"tasks": []}, "None")],
            )
        },
        examples=[
            sent("least", {}, "One task of one's own roles"),
            sent(
                "all",
                {
                    "roles": ["finance"],
                    "task_types": ["routing"],
                    "max": 5,
                    "lease_seconds": 120,
                    "wait_seconds": 1,
                },
                "All there is to say",
            ),
        ],
        extensions=refusals(InvalidRequest, QuotaExceeded),
    ),
    "heartbeat": extend_schema(
        operation_id="heartbeat_task",
        summary="Keep a lease",
        description="Makes the lease last anew, as long as the claim asked for. It leaves no event and no version, and"
        " is not remembered under an `Idempotency-Key`.",
        parameters=[ID, IF_MATCH],
        request={JSON: HeartbeatBody},
        responses={
            200: OpenApiResponse(
                HeartbeatOut,
                "The lease.",
                [answered("kept", {"lease": LEASE, "cancel_requested": False}, "Go on")],
            )
        },
        examples=[
            sent(
                "progress",
                {"lease_token": TOKEN, "progress": {"percent": 40, "message": "16 of 41 invoices"}},
                "With progress",
            )
        ],
        extensions=refusals(InvalidRequest, NotFound, LeaseLost, DeadlineExceeded, PreconditionFailed),
    ),
    "complete": extend_schema(
        operation_id="complete_task",
        summary="Complete a task",
        description=_FENCED,
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: CompleteBody},
        responses={200: task_answer(DONE, "The task as it is now")},
        examples=[sent("output", {"lease_token": TOKEN, "output": {"unpaid": 3}}, "With what came of it")],
        extensions=refusals(InvalidRequest, NotFound, LeaseLost, DeadlineExceeded, PreconditionFailed),
    ),
    "fail": extend_schema(
        operation_id="fail_task",
        summary="Fail an attempt",
        description="Where another attempt makes sense and there is one left, the task goes back to pending after a"
        f" pause; else it fails. {_FENCED}",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: FailBody},
        responses={200: task_answer(FAILED, "The task as it is now")},
        examples=[
            sent(
                "final",
                {
                    "lease_token": TOKEN,
                    "error": {"code": "no-access", "message": "The ledger is closed."},
                    "retryable": False,
                },
                "For good",
            )
        ],
        extensions=refusals(InvalidRequest, NotFound, LeaseLost, PreconditionFailed),
    ),
    "release": extend_schema(
        operation_id="release_task",
        summary="Hand a task back",
        description=f"Another may claim it at once, and the attempt does not count. {_FENCED}",
        parameters=[ID, IF_MATCH, etag(200)],
        request={JSON: ReleaseBody},
        responses={200: task_answer(RELEASED, "The task as it is now")},
        examples=[sent("release", {"lease_token": TOKEN}, "Hand it back")],
        extensions=refusals(InvalidRequest, NotFound, LeaseLost, PreconditionFailed),
    ),
}
"""By the name of the action."""
