"""Reading a question from a body."""

from datetime import timedelta
from typing import Any

from sessions_app.serializers.approval import USUAL
from sessions_app.transitions.approvals import Question

_TAKEN = ("reason", "required_approvals", "use_within_seconds", "action", "reopens", "replaces")


def question(body: dict[str, Any]) -> Question:
    """Return the question of a body. Null counts as absent."""
    given = {name: body[name] for name in _TAKEN if body.get(name) is not None}
    lasting = timedelta(seconds=body.get("expires_in_seconds") or USUAL)
    return Question(approver_role=body["approver_role"], lasting=lasting, **given)
