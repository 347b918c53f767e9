"""Reading a question from a body."""

from datetime import timedelta
from typing import Any

from orchestrator.fields import MAX_TEXT
from orchestrator.problems import InvalidRequest
from sessions_app.serializers.approval import USUAL
from sessions_app.transitions.approvals import Question

_TAKEN = ("reason", "required_approvals", "use_within_seconds", "action", "reopens", "replaces")


def reason_and_comments(body: dict[str, Any]) -> str:
    """Return the reason and the comments of a body as one text, the reason first.

    Raises InvalidRequest where together they are too long.
    """
    reason, comments = (body.get(name) or "" for name in ("reason", "comments"))
    text = f"{reason}\n\n{comments}" if reason.strip() and comments.strip() else reason or comments
    if len(text) > MAX_TEXT:
        raise InvalidRequest([("comments", f"With the reason it may have {MAX_TEXT:,} characters.")])
    return text


def question(body: dict[str, Any]) -> Question:
    """Return the question of a body. Null counts as absent."""
    body = {**body, "reason": reason_and_comments(body) or None}
    given = {name: body[name] for name in _TAKEN if body.get(name) is not None}
    lasting = timedelta(seconds=body.get("expires_in_seconds") or USUAL)
    return Question(approver_role=body["approver_role"], lasting=lasting, **given)
