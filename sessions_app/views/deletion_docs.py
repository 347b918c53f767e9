"""What the API's document says of the two DELETE calls: the reason, the second person, and what is kept."""

from drf_spectacular.utils import OpenApiResponse

from orchestrator.fields import MAX_TEXT
from orchestrator.openapi_examples import answered
from orchestrator.openapi_parameters import query
from orchestrator.work_problems import AlreadyRejected, AlreadyRequested, NoApprover, Retained, TooManyOpenApprovals
from sessions_app.serializers.approval import ApprovalOut
from sessions_app.views.approval_examples import DELETING
from sessions_app.views.deleting import REASON as NAME

REASON = query(
    NAME,
    {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
    "Why it is deleted. The reason is kept in the trail.",
    required=True,
)
DELETION = (
    "It is kept for `APPROVAL_RETENTION_DAYS` after its end where people decided about it. Where the service requires a"
    " second person (`DELETE_NEEDS_SECOND_PERSON`), the first call requests the approval of `DELETE_APPROVER_ROLE`, and"
    " the same call deletes once it is granted."
)
DELETED = {
    202: OpenApiResponse(
        ApprovalOut,
        "Nothing is deleted yet. This request must be approved first.",
        [answered("approval", DELETING, "The request for the deletion")],
    ),
    204: OpenApiResponse(description="It is gone."),
}
KEEPING = (Retained, AlreadyRequested, AlreadyRejected, TooManyOpenApprovals, NoApprover)
"""How a DELETE may be refused beyond its state."""
