"""How approvals are requested, decided, withdrawn, cancelled and consumed: the verbs that other packages call."""

from sessions_app.transitions.approvals.consumption import consume
from sessions_app.transitions.approvals.decisions import approve, cancel, reject, withdraw
from sessions_app.transitions.approvals.requests import Question, request, request_action

__all__ = ["Question", "approve", "cancel", "consume", "reject", "request", "request_action", "withdraw"]
