"""What people do with approvals: they decide, or call off."""

from sessions_app import permissions
from sessions_app.admin.moves import Move, MoveForm, Words
from sessions_app.models import Approval
from sessions_app.models.approval import ApprovalStatus
from sessions_app.transitions import approvals as transitions


class CommentsForm(MoveForm):
    """What somebody who agrees may say."""

    kept = "Comments are kept with your decision."
    comments = Words(required=False)


class ObjectionForm(MoveForm):
    """Why somebody does not agree."""

    kept = "The comments are kept with your decision."
    comments = Words()


def _is_open(approval: Approval) -> bool:
    return ApprovalStatus.APPROVED in approval.allowed_transitions()


def _told(approval: Approval) -> str:
    if str(approval.status) == ApprovalStatus.PENDING:
        return f"You agreed: {approval.granted} of {approval.required_approvals} so far."
    return f"The approval is {approval.status}."


MOVES = {
    "approve": Move(
        model=Approval,
        verb="Approve",
        past="approved",
        ends=False,
        insist=permissions.insist_may_decide,
        is_legal=_is_open,
        make=transitions.approve,
        tell=_told,
        note="You agree to exactly what stands here, and cannot take it back.",
        form=CommentsForm,
    ),
    "reject": Move(
        model=Approval,
        verb="Reject",
        past="rejected",
        ends=True,
        insist=permissions.insist_may_decide,
        is_legal=_is_open,
        make=transitions.reject,
        tell=_told,
        note="One who refuses is enough: a task that waits for it fails.",
        form=ObjectionForm,
    ),
    "cancel": Move(
        model=Approval,
        verb="Cancel",
        past="called off",
        ends=True,
        insist=permissions.insist_may_withdraw,
        is_legal=lambda approval: ApprovalStatus.CANCELLED in approval.allowed_transitions(),
        make=transitions.cancel,
        tell=_told,
        note="Nobody is asked any more: a task that waits for nothing else is cancelled with it.",
    ),
}
"""By the words that the API has for them."""

DECISIONS = frozenset({"approve", "reject"})
