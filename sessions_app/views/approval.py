"""/approvals"""

import json
from collections.abc import Callable, Collection
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator import conditional, pagination
from orchestrator.actors import Role
from orchestrator.filters import conditions, filter_scope
from orchestrator.pagination import PARAMETERS
from orchestrator.problems import InvalidRequest, NotFound
from orchestrator.views import ApiViewSet, given, one, read_body, read_id, unchanged
from orchestrator.work_problems import NoPendingApproval, SeveralPendingApprovals
from sessions_app import inbox, permissions
from sessions_app.filters import APPROVAL_FILTERS
from sessions_app.models import Approval, Session, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.decision import Verdict
from sessions_app.serializers.approval import (
    CommentsBody,
    ConsumeBody,
    DecisionByTaskBody,
    RequestBody,
)
from sessions_app.serializers.task import ReasonBody
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions.approvals import Question
from sessions_app.transitions.refusing import remembering
from sessions_app.views import waiting
from sessions_app.views.approval_docs import documented
from sessions_app.views.approval_shapes import approvals_out
from sessions_app.views.asking import question, reason_and_comments

ASSIGNEE = "assignee"
_ASSIGNED = ("me",)


@documented
class ApprovalViewSet(ApiViewSet):
    """What people are asked to agree to."""

    guards = True
    query_parameters: ClassVar = {
        "list": {*PARAMETERS, *APPROVAL_FILTERS, ASSIGNEE},
        "retrieve": waiting.PARAMETERS,
    }
    needed_roles: ClassVar = {
        **dict.fromkeys(("create", "cancel", "consume"), (Role.AGENT, Role.OPERATOR)),
        **dict.fromkeys(("approve", "reject", "withdraw"), (Role.APPROVER,)),
    }

    @classmethod
    def roles_for(cls, action: str, body: Any) -> Collection[Role]:
        """Return the roles that an action requires one of: `create` decides, steers or requests, as the body says."""
        if action == "create" and _is_decision(body):
            return (Role.APPROVER,)
        if action == "create" and _is_steering(body):
            return (Role.OPERATOR,)
        return super().roles_for(action, body)

    def list(self, request: Request) -> Response:
        """GET /approvals"""
        query = request.query_params.dict()
        ask = pagination.wanted(query)
        filters = {name: text for name, text in query.items() if name not in PARAMETERS}
        rows = permissions.visible(Approval, self.actor)
        if ASSIGNEE in filters:
            if filters[ASSIGNEE] not in _ASSIGNED:
                raise InvalidRequest([(ASSIGNEE, "It must be me.")])
            rows = inbox.awaiting(self.actor)
        rows = rows.filter(conditions(filters, APPROVAL_FILTERS))
        # An inbox is somebody's own: so are its cursors.
        whose = str(self.actor.identity) if ASSIGNEE in filters else None
        scope = json.dumps(["approvals", self.actor.tenant, whose, filter_scope(filters)])
        return Response(pagination.page(rows, ask, name="approvals", scope=scope, shapes=approvals_out))

    def create(self, request: Request) -> Response:
        """POST /approvals: a request, or a decision, as `decision` has it."""
        if not _is_decision(request.data):
            return self._request(request)
        body = read_body(DecisionByTaskBody, request)
        approval = self._only_open_one(body["task_id"], body.get("approver_role"))
        decide = transitions.approve if body["decision"] == Verdict.APPROVED else transitions.reject
        decided = decide(approval, actor=self.actor, comments=reason_and_comments(body))
        return Response({"approval_id": str(decided.id), "status": decided.status}, status=202)

    def retrieve(self, request: Request, pk: str) -> Response:
        """GET /approvals/{id}"""
        pk_read = read_id(pk, "approval")
        query = request.query_params.dict()
        approval, headers = waiting.found_or_moved(Approval, pk_read, self.actor, query, self.has_hung_up)
        if conditional.matches_none(request._request, approval.version) and approval.is_told_by_version():
            return unchanged(approval.version)
        return _one(approval, headers=dict(headers))

    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """POST /approvals/{id}/approve"""
        return self._decide(request, pk, transitions.approve)

    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """POST /approvals/{id}/reject"""
        return self._decide(request, pk, transitions.reject)

    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """POST /approvals/{id}/withdraw"""
        return self._decide(request, pk, transitions.withdraw)

    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """POST /approvals/{id}/cancel"""
        body, if_match = read_body(ReasonBody, request), conditional.if_match(request._request)
        approval = permissions.find(Approval, read_id(pk, "approval"), self.actor)
        with remembering(approval, "cancel", actor=self.actor):
            permissions.insist_may_withdraw(self.actor, approval)
        reason = body.get("reason") or ""
        return _one(transitions.cancel(approval, actor=self.actor, reason=reason, if_match=if_match))

    @action(detail=True, methods=["post"])
    def consume(self, request: Request, pk: str) -> Response:
        """POST /approvals/{id}/consume"""
        body, if_match = read_body(ConsumeBody, request), conditional.if_match(request._request)
        approval = permissions.find(Approval, read_id(pk, "approval"), self.actor)
        with remembering(approval, "consume", actor=self.actor):
            permissions.insist_may_use(self.actor)
        return _one(transitions.consume(approval, body["action"], actor=self.actor, if_match=if_match))

    def _request(self, request: Request) -> Response:
        body = given(read_body(RequestBody, request))
        asked = question(body)
        if former := asked.reopens or asked.replaces:
            self._require_may_steer(former, "reopen" if asked.reopens else "replace")
            _check_steering(body)
        if "task_id" in body:
            approval = self._request_about_task(body, asked)
        else:
            permissions.insist_may_request(self.actor)
            session = self._session(body["session_id"]) if "session_id" in body else None
            approval = transitions.request_action(session, asked, actor=self.actor)
        return _one(approval, status=201, headers={"Location": f"/approvals/{approval.id}"})

    def _require_may_steer(self, pk: UUID, verb: str) -> None:
        """Check that the caller may reopen or replace a request. Raises Forbidden, recorded; InvalidRequest."""
        try:
            former = permissions.find(Approval, pk, self.actor)
        except NotFound as problem:
            permissions.insist_may_steer(self.actor)
            raise InvalidRequest([(f"{verb}s", "The request does not exist, or you may not see it.")]) from problem
        with remembering(former, verb, actor=self.actor):
            permissions.insist_may_steer(self.actor)

    def _request_about_task(self, body: dict[str, Any], asked: Question) -> Approval:
        if "session_id" in body:
            raise InvalidRequest([("session_id", "A request is about a task or belongs to a session, not both.")])
        task = self._task(body["task_id"])
        with remembering(task, "ask", actor=self.actor):
            permissions.insist_may_request(self.actor)
        return transitions.request(task, asked, actor=self.actor)

    def _decide(self, request: Request, pk: str, decide: Callable[..., Approval]) -> Response:
        body, if_match = read_body(CommentsBody, request), conditional.if_match(request._request)
        approval = permissions.find(Approval, read_id(pk, "approval"), self.actor)
        with remembering(approval, decide.__name__, actor=self.actor):
            permissions.insist_may_decide(self.actor, approval)
        return _one(decide(approval, actor=self.actor, comments=body.get("comments") or "", if_match=if_match))

    def _only_open_one(self, task_id: UUID, role: str | None) -> Approval:
        """The open approval of a task that awaits the caller, of that role if one is named.

        Raises NoPendingApproval, SeveralPendingApprovals.

        Where it is the only one of their roles it is the one they mean, even if they must not decide it.
        """
        task = self._task(task_id)
        with remembering(task, "decide", actor=self.actor):
            permissions.insist_is_approver(self.actor)
        of_role = Q(task=task, status=ApprovalStatus.PENDING, approver_role__in=self.actor.agent_roles)
        if role is not None:
            of_role &= Q(approver_role=role)
        found = list(permissions.visible(Approval, self.actor).filter(of_role).order_by("created_at", "id"))
        if len(found) > 1:
            found = list(inbox.awaiting(self.actor).filter(of_role).order_by("created_at", "id")) or found[:1]
        if not found:
            raise NoPendingApproval
        if len(found) > 1:
            raise SeveralPendingApprovals([str(one.id) for one in found])
        return found[0]

    def _session(self, pk: UUID) -> Session:
        """Return the session that a body names, which the caller may move. A missing or unseen one is a 400."""
        try:
            session = permissions.find(Session, pk, self.actor)
        except NotFound as problem:
            message = "The session does not exist, or you may not see it."
            raise InvalidRequest([("session_id", message)]) from problem
        with remembering(session, "ask", actor=self.actor):
            permissions.insist_may_move(self.actor, session)
        return session

    def _task(self, pk: UUID) -> Task:
        """The task a body names. One that is missing or unseen is a 400."""
        try:
            return permissions.find(Task, pk, self.actor)
        except NotFound as problem:
            raise InvalidRequest([("task_id", "There is no such task, or it is not yours to see.")]) from problem


def _check_steering(body: dict[str, Any]) -> None:
    """Raise InvalidRequest where an operator reopens or replaces a request without a reason, or both at once."""
    errors = []
    if not body.get("reason", "").strip():
        errors.append(("reason", "Give the reason for reopening or replacing a request."))
    if "reopens" in body and "replaces" in body:
        errors.append(("replaces", "A request reopens or replaces another one, not both."))
    if errors:
        raise InvalidRequest(errors)


def _is_decision(body: Any) -> bool:
    """Whether it says more than that the answer is pending."""
    said = body.get("decision") if isinstance(body, dict) else None
    return not (said is None or (isinstance(said, str) and said.lower() == ApprovalStatus.PENDING))


def _is_steering(body: Any) -> bool:
    """Return whether a body reopens or replaces an earlier request."""
    return isinstance(body, dict) and (body.get("reopens") is not None or body.get("replaces") is not None)


def _one(approval: Approval, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    (shape,) = approvals_out([approval])
    return one(shape, status=status, headers=headers)
