"""What people do with approvals: they decide, withdraw a decision, cancel a request, reopen it or replace it."""

from dataclasses import replace
from typing import Self

from django import forms
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from orchestrator import names
from orchestrator.actors import Actor
from sessions_app import permissions
from sessions_app.admin.moves import Move, MoveForm, ReasonForm, Words
from sessions_app.models import Approval, Session, Task
from sessions_app.models.approval import MOST_REQUIRED, ApprovalStatus
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions.approvals import Question


class CommentsForm(MoveForm):
    """What a person may add to an approval, or to its withdrawal."""

    kept = "Comments are kept with your decision."
    comments = Words(required=False)


class WithdrawalForm(CommentsForm):
    """What a person may add when they withdraw their approval."""

    kept = "Comments are kept with the event."


class ObjectionForm(MoveForm):
    """Why a person does not agree."""

    kept = "The comments are kept with your decision."
    comments = Words()


class NewRequestForm(ReasonForm):
    """Why a rejected request is opened again."""

    kept = "The reason is shown to those who decide."


class ReplacementForm(NewRequestForm):
    """Why a request is replaced, of whom the new one is asked, and how many must approve."""

    approver_role = forms.CharField(max_length=50, widget=UnfoldAdminTextInputWidget)
    required_approvals = forms.IntegerField(
        min_value=1,
        max_value=MOST_REQUIRED,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How many people must approve: at least as many as now.",
    )
    field_order = ("approver_role", "required_approvals", "reason")

    @classmethod
    def for_row(cls, replaced: Approval) -> Self:
        """Return the form with the number of people that the replaced request needs."""
        form = cls(initial={"required_approvals": replaced.required_approvals})
        form.fields["required_approvals"].widget.attrs["min"] = replaced.required_approvals
        return form

    def clean_approver_role(self) -> str:
        """Return the role in Normalization Form C. Raises ValidationError where characters of it show nothing."""
        role = names.normal(self.cleaned_data["approver_role"])
        if not names.is_clear(role):
            raise forms.ValidationError("It has a character that cannot be seen.")
        return role


def _is_open(approval: Approval) -> bool:
    return ApprovalStatus.APPROVED in approval.allowed_transitions()


def _is_rejected(approval: Approval) -> bool:
    return str(approval.status) == ApprovalStatus.REJECTED


def _insist_may_steer(actor: Actor, _approval: Approval) -> None:
    permissions.insist_may_steer(actor)


def _reopen(approval: Approval, *, reason: str, actor: Actor) -> Approval:
    """Ask the same question again. Raises what the transition raises."""
    return _request(approval, replace(Question.of(approval), reason=reason, reopens=approval.pk), actor)


def _replace(approval: Approval, *, reason: str, approver_role: str, required_approvals: int, actor: Actor) -> Approval:
    """Ask other people the same question. Raises what the transition raises."""
    question = replace(
        Question.of(approval),
        reason=reason,
        approver_role=approver_role,
        required_approvals=required_approvals,
        replaces=approval.pk,
    )
    return _request(approval, question, actor)


def _request(approval: Approval, question: Question, actor: Actor) -> Approval:
    """Make a request about the task, the session or the action of another one."""
    if approval.task_id is not None:
        return transitions.request(permissions.find(Task, approval.task_id, actor), question, actor=actor)
    session = None
    if approval.session_id is not None:
        session = permissions.find(Session, approval.session_id, actor)
    return transitions.request_action(session, question, actor=actor)


def _result(approval: Approval) -> str:
    if str(approval.status) == ApprovalStatus.PENDING:
        return f"You approved: {approval.granted} of {approval.required_approvals} so far."
    return f"The approval is {approval.status}."


def _after_withdrawing(approval: Approval) -> str:
    return f"You withdrew your approval: {approval.granted} of {approval.required_approvals} so far."


def _before_approving(approval: Approval) -> str:
    if approval.granted + 1 < approval.required_approvals:
        return "You can withdraw your approval while the request is open."
    return "Your approval settles the request, so you cannot withdraw it."


def _before_cancelling(approval: Approval) -> str:
    if approval.task_id is None:
        return "Nothing else changes: the requester gets no grant."
    if approval.cancels_its_task:
        return (
            "The task was created with this request: the task is cancelled too,"
            " unless another request that is at least as strict takes its place."
        )
    if approval.blocks:
        return "The task was not created with this request. The task goes on once no request that it waits for is open."
    return "The task does not wait for this request, and stays as it is."


MOVES = {
    "approve": Move(
        model=Approval,
        verb="Approve",
        past="approved",
        ends=False,
        insist=permissions.insist_may_decide,
        is_legal=_is_open,
        make=transitions.approve,
        tell=_result,
        note="You agree to exactly what stands here.",
        foretell=_before_approving,
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
        tell=_result,
        note="One rejection settles the request, and cannot be withdrawn: a task that waits for the request fails.",
        form=ObjectionForm,
    ),
    "withdraw": Move(
        model=Approval,
        verb="Withdraw",
        label="Withdraw my approval",
        past="withdrawn",
        ends=False,
        insist=permissions.insist_may_decide,
        is_legal=_is_open,
        make=transitions.withdraw,
        tell=_after_withdrawing,
        note="Your approval stays visible, but does not count. You can decide again while the request is open.",
        form=WithdrawalForm,
    ),
    "cancel": Move(
        model=Approval,
        verb="Cancel",
        past="cancelled",
        ends=True,
        insist=permissions.insist_may_withdraw,
        is_legal=lambda approval: ApprovalStatus.CANCELLED in approval.allowed_transitions(),
        make=transitions.cancel,
        tell=_result,
        note="The request is closed without a decision.",
        foretell=_before_cancelling,
    ),
    "reopen": Move(
        model=Approval,
        verb="Reopen",
        past="reopened",
        ends=False,
        insist=_insist_may_steer,
        is_legal=_is_rejected,
        make=_reopen,
        tell=lambda approval: f"This request reopens {approval.reopens_id}.",
        note="A new request asks the same role the same question. It shows the rejection to those who decide.",
        form=NewRequestForm,
    ),
    "replace": Move(
        model=Approval,
        verb="Replace",
        past="replaced",
        ends=False,
        insist=_insist_may_steer,
        is_legal=_is_open,
        make=_replace,
        tell=lambda approval: f"This request replaces {approval.replaces_id}.",
        note="Too few known people can decide this request. A new request asks another role; this one is cancelled.",
        form=ReplacementForm,
    ),
}
"""By the words that the API has for them."""

DECISIONS = frozenset({"approve", "reject"})
