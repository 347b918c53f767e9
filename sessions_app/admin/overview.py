"""What the admin's first page tells the person who comes in."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from orchestrator.admin.acting import actor_of
from sessions_app import inbox, permissions

MOST = 100
"""How far the approvals that await somebody are counted."""


def told(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The page's context, with how many approvals await somebody who decides any."""
    actor = actor_of(request)
    if not permissions.may_decide(actor):
        return context
    count = inbox.awaiting(actor).order_by().values("pk")[:MOST].count()
    page = f"{reverse('admin:sessions_app_approval_changelist')}?assignee=me" if count else None
    return {**context, "notices": [{"name": "inbox", "text": _sentence(count), "page": page}]}


def _sentence(count: int) -> str:
    if not count:
        return "No approval awaits your decision."
    if count == 1:
        return "One approval awaits your decision."
    return f"{count}{' or more' if count == MOST else ''} approvals await your decision."
