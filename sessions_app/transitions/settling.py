"""How long approvals were open, counted once it is committed that they are no more."""

from collections.abc import Sequence

from django.db import transaction

from orchestrator.metrics import APPROVAL_DECISION_SECONDS
from sessions_app.models import Approval
from sessions_app.models.approval import ApprovalStatus

for _status in ApprovalStatus:
    if _status != ApprovalStatus.PENDING:
        APPROVAL_DECISION_SECONDS.labels(str(_status))


def count_settled(approvals: Sequence[Approval]) -> None:
    """Of approvals that were just moved to a final state, by the database's clock."""
    told = [(str(one.status), (one.now - one.created_at).total_seconds()) for one in approvals]

    def count() -> None:
        for outcome, seconds in told:
            APPROVAL_DECISION_SECONDS.labels(outcome).observe(seconds)

    transaction.on_commit(count, robust=True)
