"""What the two DELETE calls share: the reason, and the answer while a second person has not agreed."""

from collections.abc import Mapping

from rest_framework.response import Response

from orchestrator import parsing
from orchestrator.fields import MAX_TEXT
from orchestrator.problems import InvalidRequest
from sessions_app.models import Approval
from sessions_app.views.approval_shapes import approvals_out

REASON = "reason"


def needed_reason(query: Mapping[str, str]) -> str:
    """Return the reason of a DELETE. Raises InvalidRequest where it is missing, blank, too long or not storable."""
    reason = query.get(REASON, "").strip()
    if not 0 < len(reason) <= MAX_TEXT or parsing.UNSTORABLE.search(reason):
        raise InvalidRequest([(REASON, f"Give the reason for deleting it, of at most {MAX_TEXT} characters.")])
    return reason


def awaiting_second_person(request: Approval) -> Response:
    """Return 202 with the approval that must be granted before the same call deletes."""
    (shape,) = approvals_out([request])
    return Response(shape, status=202, headers={"Location": f"/approvals/{request.pk}"})
