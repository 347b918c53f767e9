"""Approvals as the API answers them, with their decisions and what was decided before."""

from collections.abc import Sequence
from typing import Any

from sessions_app import permissions
from sessions_app.earlier_requests import earlier_requests
from sessions_app.models import Approval
from sessions_app.serializers.approval import approval_out


def approvals_out(approvals: Sequence[Approval]) -> list[dict[str, Any]]:
    """Return the shapes of visible approvals, in their order; two queries, however many."""
    decisions, earlier = permissions.decisions_on(approvals), earlier_requests(approvals)
    return [approval_out(one, decisions[one.pk], earlier[one.pk]) for one in approvals]
