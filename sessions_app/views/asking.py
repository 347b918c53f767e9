"""What a body asks of people."""

from datetime import timedelta
from typing import Any

from sessions_app.serializers.approval import USUAL
from sessions_app.transitions.approval import Question


def question(body: dict[str, Any]) -> Question:
    """What a body asks. Null is as if it were absent."""
    given = {name: body[name] for name in ("reason", "required_approvals", "action") if body.get(name) is not None}
    lasting = timedelta(seconds=body.get("expires_in_seconds") or USUAL)
    return Question(approver_role=body["approver_role"], lasting=lasting, **given)
