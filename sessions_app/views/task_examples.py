"""Tasks in the API's document."""

from drf_spectacular.utils import OpenApiResponse

from orchestrator.openapi_examples import answered
from orchestrator.pagination import USUAL
from sessions_app.serializers.task import TaskOut

TASK = {
    "task_id": "01a2071a-738b-748c-830f-c9446d69c2bb",
    "task_type": "routing",
    "description": "Check the invoices of October.",
    "status": "pending",
    "version": 1,
    "from_role": "manager",
    "to_role": "finance",
    "data": {"invoices": 41},
    "context": {},
    "priority": 5,
    "not_before": None,
    "deadline": None,
    "attempt": 1,
    "max_attempts": 3,
    "lease": None,
    "cancel_requested": False,
    "progress": None,
    "output": None,
    "error": None,
    "retry_of": None,
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "created_by": "local|mona",
    "on_behalf_of": None,
    "created_at": "2026-11-24T09:00:00.000000Z",
    "updated_at": "2026-11-24T09:00:00.000000Z",
    "allowed_transitions": ["blocked", "active", "failed", "cancelled"],
}
LEASE = {"holder": "local|finn", "epoch": 1, "expires_at": "2026-11-24T09:02:00.000000Z"}
TOKEN = "l6vXh3WcVd0Nn2o1b1mM0f2E4m5b1mXoQk3T9r8uJ7s"  # noqa: S105  an example
ACTIVE = {**TASK, "status": "active", "version": 2, "lease": LEASE}
ACTIVE["allowed_transitions"] = ["pending", "completed", "failed", "cancelled"]
CLAIMED = {"tasks": [{**ACTIVE, "lease": {"token": TOKEN, **LEASE}}]}
OVER = {"version": 3, "allowed_transitions": []}
DONE = {**TASK, **OVER, "status": "completed", "output": {"unpaid": 3}}
FAILED = {**TASK, **OVER, "status": "failed", "error": {"code": "no-access", "message": "The ledger is closed."}}
RELEASED = {**TASK, "version": 3}
CANCELLED = {**TASK, **OVER, "status": "cancelled"}
RETRIED = {**TASK, "task_id": "01a2071b-0c5e-7d3a-9c1b-5a9e3f7d2c11", "retry_of": TASK["task_id"]}
NUMBERED = {"tasks": [TASK], "total": 1, "page": 1, "page_size": USUAL, "next_cursor": None}
WALKED = {"tasks": [TASK], "page_size": USUAL, "next_cursor": None}


WITH_PARTS = {
    **DONE,
    "sessions": [],
    "approvals": [],
    "attempts": [
        {
            "epoch": 1,
            "attempt": 1,
            "holder": "local|finn",
            "claimed_at": "2026-11-24T09:01:00.000000Z",
            "ended_at": "2026-11-24T09:01:30.000000Z",
            "outcome": "completed",
            "error": None,
        }
    ],
}


def task_answer(value: object, summary: str) -> OpenApiResponse:
    """A task that is answered."""
    return OpenApiResponse(TaskOut, f"{summary}.", [answered("task", value, summary)])
