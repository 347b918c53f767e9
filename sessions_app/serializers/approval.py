"""An approval, coming in and going out."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from audit_app.trail import instant
from orchestrator.fields import MAX_TEXT, Choice, Document, Id, Name, Text, Whole
from orchestrator.pagination import LARGEST, SMALLEST
from sessions_app.earlier_requests import Earlier
from sessions_app.models import Approval, Decision
from sessions_app.models.approval import (
    MAX_USE_WITHIN_SECONDS,
    MIN_USE_WITHIN_SECONDS,
    MOST_REQUIRED,
    ApprovalKind,
    ApprovalStatus,
)
from sessions_app.models.decision import SetAside, Verdict

SHORTEST, LONGEST, USUAL = 60, 2_592_000, 86_400
"""How long an approval may be answered, in seconds."""

_ACTION = "Exactly what is to be agreed to, at most 64 KiB as compact UTF-8; without it nothing can be consumed."
_USE_WITHIN = "For how many seconds after the approval the action may be consumed; the service has a default."
_REASON = "Why it is asked. A request that reopens or replaces another one needs it."
_SESSION = "The session that the action belongs to; a request about an action ends with it."
_REOPENS = "Operators: the rejected request of the same subject, role and action that this one opens again."
_REPLACES = (
    "Operators: the open request of the same subject that this one replaces, since too few people can decide it."
)
_COMMENTS = "Kept with the decision."
_MORE = f"Kept below the reason. Together they may have {MAX_TEXT:,} characters."
_ITS_ROLE = "Only an approval that this role is to decide is meant."


class QuestionBody(serializers.Serializer[Any]):
    """What is asked, and of whom. Null is as if it were absent."""

    approver_role = Name(max_length=50, help_text="The role whose people are to decide.")
    reason = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True, help_text=_REASON)
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
    use_within_seconds = Whole(
        required=False,
        allow_null=True,
        min_value=MIN_USE_WITHIN_SECONDS,
        max_value=MAX_USE_WITHIN_SECONDS,
        help_text=_USE_WITHIN,
    )
    action = Document(required=False, allow_null=True, help_text=_ACTION)


class RequestBody(QuestionBody):
    """What `POST /approvals` takes to ask: about a task, or about an action, which a session may hold."""

    task_id = Id("task", required=False, allow_null=True, help_text="A task that the caller may see.")
    session_id = Id("session", required=False, allow_null=True, help_text=_SESSION)
    reopens = Id("approval", required=False, allow_null=True, help_text=_REOPENS)
    replaces = Id("approval", required=False, allow_null=True, help_text=_REPLACES)
    decision = Choice(choices=["pending"], required=False, allow_null=True)
    comments = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True, help_text=_MORE)


class DecisionByTaskBody(serializers.Serializer[Any]):
    """What `POST /approvals` takes to decide the one open approval of a task."""

    task_id = Id("task", help_text="A task that the caller may see.")
    approver_role = Name(max_length=50, required=False, allow_null=True, help_text=_ITS_ROLE)
    decision = Choice(choices=Verdict.values)
    reason = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True, help_text=_COMMENTS)
    comments = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True, help_text=_MORE)


class CommentsBody(serializers.Serializer[Any]):
    """What `POST /approvals/{id}/approve`, `/reject` and `/withdraw` take."""

    comments = Text(max_length=MAX_TEXT, required=False, allow_null=True, allow_blank=True, help_text=_COMMENTS)


class ConsumeBody(serializers.Serializer[Any]):
    """What `POST /approvals/{id}/consume` takes."""

    action = Document(help_text="What is about to be done.")


class DecisionOut(serializers.Serializer[Any]):
    """One person's decision, for the API's document alone."""

    decider = serializers.CharField(help_text="`<issuer>|<subject>`.")
    decision = serializers.ChoiceField(Verdict.values)
    comments = serializers.CharField(allow_blank=True)
    decided_at = serializers.DateTimeField()
    set_aside_at = serializers.DateTimeField(allow_null=True, help_text="From then on it does not count.")
    set_aside_reason = serializers.ChoiceField(SetAside.values, allow_null=True)


class EarlierOut(serializers.Serializer[Any]):
    """An earlier request of the same subject, for the API's document alone."""

    approval_id = serializers.UUIDField()
    outcome = serializers.ChoiceField([status for status in ApprovalStatus.values if status != "pending"])
    approver_role = serializers.CharField()
    deciders = serializers.ListField(child=serializers.CharField(), help_text="`<issuer>|<subject>` each.")
    comments = serializers.CharField(allow_blank=True, help_text="Those of the decision that settled it.")
    at = serializers.DateTimeField()


@extend_schema_serializer(component_name="Approval", description="An approval, the same everywhere.")
class ApprovalOut(serializers.Serializer[Any]):
    """What `approval_out()` makes, for the API's document alone."""

    approval_id = serializers.UUIDField()
    kind = serializers.ChoiceField(ApprovalKind.values, help_text="What it is about.")
    task_id = serializers.UUIDField(allow_null=True, help_text="Null for an action without a task.")
    session_id = serializers.UUIDField(
        allow_null=True, help_text="The session that an action without a task is part of."
    )
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
    use_within_seconds = serializers.IntegerField(allow_null=True, help_text="Null: asked before this limit existed.")
    approved_until = serializers.DateTimeField(allow_null=True, help_text="Until when the action may be consumed.")
    consumed_at = serializers.DateTimeField(allow_null=True)
    reopens = serializers.UUIDField(allow_null=True, help_text="The rejected request that this one opens again.")
    replaces = serializers.UUIDField(allow_null=True, help_text="The request that this one replaced.")
    earlier = EarlierOut(many=True, help_text="The settled requests of the same subject, the latest first; at most 20.")
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


def approval_out(approval: Approval, decisions: Sequence[Decision], earlier: Sequence[Earlier]) -> dict[str, Any]:
    """An approval, the same everywhere."""
    until = approval.approved_until
    return {
        "approval_id": str(approval.id),
        "kind": str(approval.kind),
        "task_id": _id(approval.task_id),
        "session_id": _id(approval.session_id),
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
        "use_within_seconds": approval.use_within_seconds,
        "approved_until": instant(until) if until else None,
        "consumed_at": instant(approval.consumed_at) if approval.consumed_at else None,
        "reopens": _id(approval.reopens_id),
        "replaces": _id(approval.replaces_id),
        "earlier": [one.out() for one in earlier],
        "created_at": instant(approval.created_at),
        "allowed_transitions": list(approval.allowed_transitions()),
    }


def _id(pk: UUID | None) -> str | None:
    return str(pk) if pk else None


def decision_out(decision: Decision) -> dict[str, Any]:
    """One person's decision."""
    return {
        "decider": str(decision.decider),
        "decision": decision.decision,
        "comments": decision.comments,
        "decided_at": instant(decision.decided_at),
        "set_aside_at": instant(decision.set_aside_at) if decision.set_aside_at else None,
        "set_aside_reason": decision.set_aside_reason,
    }
