"""An approval, coming in and going out."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from audit_app.trail import instant
from orchestrator.pagination import LARGEST, SMALLEST
from sessions_app.models import Approval, Decision
from sessions_app.models.approval import MOST_REQUIRED, ApprovalStatus
from sessions_app.models.decision import Verdict
from sessions_app.serializers.fields import MAX_TEXT, Choice, Document, Id, Name, Text, Whole

SHORTEST, LONGEST, USUAL = 60, 2_592_000, 86_400
"""How long an approval may be answered, in seconds."""

_ACTION = "Exactly what is to be agreed to, at most 64 KiB as compact UTF-8; without it nothing can be consumed."
_COMMENTS = "Kept with the decision."


class QuestionBody(serializers.Serializer[Any]):
    """What is asked, and of whom. Null is as if it were absent."""

    approver_role = Name(max_length=50, help_text="The role whose people are to decide.")
    reason = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True, help_text="Why it is asked.")
    required_approvals = Whole(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MOST_REQUIRED,
        help_text="How many different people have to agree; 1 unless given. One who refuses is enough to reject.",
    )
    expires_in_seconds = Whole(
        required=False,
        allow_null=True,
        min_value=SHORTEST,
        max_value=LONGEST,
        help_text=f"For how long it may be answered; {USUAL} unless given.",
    )
    action = Document(required=False, allow_null=True, help_text=_ACTION)


class RequestBody(QuestionBody):
    """What `POST /approvals` takes to ask."""

    task_id = Id("task", help_text="A task that the caller may see.")
    decision = Choice(choices=["pending"], required=False, allow_null=True)


class DecisionByTaskBody(serializers.Serializer[Any]):
    """What `POST /approvals` takes to decide the one open approval of a task."""

    task_id = Id("task", help_text="A task that the caller may see.")
    decision = Choice(choices=Verdict.values)
    comments = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True, help_text=_COMMENTS)


class CommentsBody(serializers.Serializer[Any]):
    """What `POST /approvals/{id}/approve` and `/reject` take."""

    comments = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True, help_text=_COMMENTS)


class ConsumeBody(serializers.Serializer[Any]):
    """What `POST /approvals/{id}/consume` takes."""

    action = Document(help_text="What is about to be done.")


class DecisionOut(serializers.Serializer[Any]):
    """One person's word, for the API's document alone."""

    decider = serializers.CharField(help_text="`<issuer>|<subject>`.")
    decision = serializers.ChoiceField(Verdict.values)
    comments = serializers.CharField(allow_blank=True)
    decided_at = serializers.DateTimeField()


@extend_schema_serializer(component_name="Approval", description="An approval, the same everywhere.")
class ApprovalOut(serializers.Serializer[Any]):
    """What `approval_out()` makes, for the API's document alone."""

    approval_id = serializers.UUIDField()
    task_id = serializers.UUIDField()
    approver_role = serializers.CharField(max_length=50)
    status = serializers.ChoiceField(ApprovalStatus.values)
    version = serializers.IntegerField(min_value=1)
    reason = serializers.CharField(allow_blank=True)
    action = serializers.DictField(allow_null=True)
    action_digest = serializers.CharField(
        allow_null=True, help_text="SHA-256 of the action as canonical JSON (RFC 8785), in hex."
    )
    required_approvals = serializers.IntegerField(min_value=1, max_value=MOST_REQUIRED)
    decisions = DecisionOut(many=True, help_text="In the order in which they were made.")
    requested_by = serializers.CharField(help_text="`<issuer>|<subject>`.")
    on_behalf_of = serializers.CharField(allow_null=True, help_text="The person an agent asked for.")
    expires_at = serializers.DateTimeField(help_text="Past it nothing but expiry is legal.")
    decision_at = serializers.DateTimeField(allow_null=True, help_text="When people settled it.")
    consumed_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    allowed_transitions = serializers.ListField(child=serializers.ChoiceField(ApprovalStatus.values))


class DecidedOut(serializers.Serializer[Any]):
    """What `POST /approvals` answers to a decision, for the API's document alone."""

    approval_id = serializers.UUIDField()
    status = serializers.ChoiceField(ApprovalStatus.values)


@extend_schema_serializer(many=False, description="A page; `total` and `page` are there on a page by number only.")
class ApprovalPage(serializers.Serializer[Any]):
    """What `GET /approvals` answers, for the API's document alone."""

    approvals = ApprovalOut(many=True)
    total = serializers.IntegerField(required=False, min_value=0, help_text="How many there are on all pages.")
    page = serializers.IntegerField(required=False, min_value=1)
    page_size = serializers.IntegerField(min_value=SMALLEST, max_value=LARGEST)
    next_cursor = serializers.CharField(allow_null=True, help_text="What `cursor` takes for the next page.")


def approval_out(approval: Approval, decisions: Sequence[Decision]) -> dict[str, Any]:
    """An approval, the same everywhere."""
    return {
        "approval_id": str(approval.id),
        "task_id": str(approval.task_id),
        "approver_role": approval.approver_role,
        "status": approval.status,
        "version": approval.version,
        "reason": approval.reason,
        "action": approval.action,
        "action_digest": bytes(approval.action_digest).hex() if approval.action_digest else None,
        "required_approvals": approval.required_approvals,
        "decisions": [decision_out(decision) for decision in decisions],
        "requested_by": str(approval.created_by),
        "on_behalf_of": str(approval.on_behalf_of) if approval.on_behalf_of else None,
        "expires_at": instant(approval.expires_at),
        "decision_at": instant(approval.decision_at) if approval.decision_at else None,
        "consumed_at": instant(approval.consumed_at) if approval.consumed_at else None,
        "created_at": instant(approval.created_at),
        "allowed_transitions": list(approval.allowed_transitions()),
    }


def decision_out(decision: Decision) -> dict[str, Any]:
    """One person's word."""
    return {
        "decider": str(decision.decider),
        "decision": decision.decision,
        "comments": decision.comments,
        "decided_at": instant(decision.decided_at),
    }
