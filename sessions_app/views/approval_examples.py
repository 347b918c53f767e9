"""Approvals in the API's document."""

from drf_spectacular.utils import OpenApiResponse

from orchestrator.openapi_examples import answered
from orchestrator.pagination import USUAL
from sessions_app.serializers.approval import ApprovalOut

ACTION = {"amount": 48000, "currency": "EUR", "pay": "Hansen Tools"}
_DIGEST = "4fc518be7a7affa52af814652cded4e8c49f32aa757aadef514c73f6e249cedb"
ACTION_REJECTED_BEFORE = {"amount": 52000, "currency": "EUR", "pay": "Lind Print"}
PENDING = {
    "approval_id": "01a2071c-5b1e-7e0a-8f6d-0c1d2e3f4a5b",
    "kind": "task",
    "task_id": "01a2071a-738b-748c-830f-c9446d69c2bb",
    "session_id": None,
    "approver_role": "manager",
    "status": "pending",
    "version": 1,
    "reason": "Above the limit of the role.",
    "action": ACTION,
    "action_digest": _DIGEST,
    "required_approvals": 2,
    "decisions": [],
    "requested_by": "local|finn",
    "on_behalf_of": None,
    "expires_at": "2026-11-25T09:00:00.000000Z",
    "decision_at": None,
    "use_within_seconds": 86400,
    "approved_until": None,
    "consumed_at": None,
    "reopens": None,
    "replaces": None,
    "earlier": [],
    "created_at": "2026-11-24T09:00:00.000000Z",
    "allowed_transitions": ["approved", "rejected", "expired", "cancelled"],
}


def _decision(who: str, decision: str, at: str) -> dict[str, str | None]:
    made = {"decider": f"local|{who}", "decision": decision, "comments": "", "decided_at": at}
    return {**made, "set_aside_at": None, "set_aside_reason": None}


_YES = [
    _decision("mona", "approved", "2026-11-24T09:05:00.000000Z"),
    _decision("max", "approved", "2026-11-24T09:07:00.000000Z"),
]
_NO = [_decision("mona", "rejected", "2026-11-24T09:07:00.000000Z")]
_SETTLED = {"decision_at": "2026-11-24T09:07:00.000000Z", "allowed_transitions": []}
APPROVED = {
    **PENDING,
    **_SETTLED,
    "status": "approved",
    "version": 3,
    "decisions": _YES,
    "approved_until": "2026-11-25T09:07:00.000000Z",
}
REJECTED = {**PENDING, **_SETTLED, "status": "rejected", "version": 2, "decisions": _NO}
CANCELLED = {**PENDING, "status": "cancelled", "version": 2, "allowed_transitions": []}
CONSUMED = {**APPROVED, "version": 4, "consumed_at": "2026-11-24T09:08:00.000000Z"}
WITHDRAWN = {
    **PENDING,
    "version": 3,
    "decisions": [{**_YES[0], "set_aside_at": "2026-11-24T09:06:00.000000Z", "set_aside_reason": "withdrawn"}],
}
FOR_AN_ACTION = {**PENDING, "kind": "action", "task_id": None, "session_id": "01a2071a-1d3e-7a65-9a2b-7d3f0c1e5b42"}
REOPENED = {
    **FOR_AN_ACTION,
    "approval_id": "01a2072b-02c4-7c1d-9d5e-3a1b5c7d9e0f",
    "session_id": None,
    "action": ACTION_REJECTED_BEFORE,
    "action_digest": "44d4a348cc7e6aba4fadf3ef6162302ff0083d6ac8fbf27c7a204c3b83d34f35",
    "requested_by": "local|olga",
    "reason": "The budget was raised.",
    "reopens": PENDING["approval_id"],
    "earlier": [
        {
            "approval_id": PENDING["approval_id"],
            "outcome": "rejected",
            "approver_role": "manager",
            "deciders": ["local|mona"],
            "comments": "Not in this year's budget.",
            "at": "2026-11-24T09:07:00.000000Z",
        }
    ],
}
NUMBERED = {"approvals": [PENDING], "total": 1, "page": 1, "page_size": USUAL, "next_cursor": None}
WALKED = {"approvals": [PENDING], "page_size": USUAL, "next_cursor": None}
DECIDED = {"approval_id": PENDING["approval_id"], "status": "approved"}

_DELETION = {"act": "task.delete", "task_id": PENDING["task_id"]}
DELETING = {
    **FOR_AN_ACTION,
    "session_id": None,
    "approver_role": "operator",
    "reason": "Made by mistake.",
    "action": _DELETION,
    "action_digest": "b812f2c6984dd22476d8c3a89f96c5359826c2266c65940dd9d5fa80147965ce",
    "required_approvals": 1,
    "requested_by": "local|olga",
}


def approval_answer(value: object, summary: str) -> OpenApiResponse:
    """Return how an operation declares that it answers with an approval."""
    return OpenApiResponse(ApprovalOut, f"{summary}.", [answered("approval", value, summary)])
