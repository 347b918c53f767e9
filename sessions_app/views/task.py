"""/tasks"""

import json
from collections.abc import Callable
from typing import Any, ClassVar, cast

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator import conditional, pagination
from orchestrator.actors import Role
from orchestrator.filters import conditions, filter_scope
from orchestrator.middleware import Call
from orchestrator.pagination import PARAMETERS
from orchestrator.problems import Forbidden, InvalidRequest
from orchestrator.views import given, one, read_body, read_id, refuse_body, unchanged
from sessions_app import permissions
from sessions_app.filters import TASK_FILTERS
from sessions_app.models import Task
from sessions_app.quotas import PENDING_TASKS, counts
from sessions_app.serializers.task import NeededReasonBody, NewTaskBody, ReasonBody, RouteBody, task_out, tasks_out
from sessions_app.transitions import lease
from sessions_app.transitions import task as transitions
from sessions_app.transitions.refusing import remembering
from sessions_app.transitions.task import Work
from sessions_app.views import waiting
from sessions_app.views.asking import question
from sessions_app.views.deleting import REASON, awaiting_second_person, needed_reason
from sessions_app.views.including import PARAMETER, included, wanted
from sessions_app.views.lease import Holding
from sessions_app.views.task_docs import documented

_PAGES = PARAMETERS | {"limit"}
_OPERATORS_ROLE = "orchestrator"


@documented
class TaskViewSet(Holding):
    """Work that one role routes to another."""

    query_parameters: ClassVar = {
        "list": {*_PAGES, *TASK_FILTERS},
        "retrieve": {*waiting.PARAMETERS, PARAMETER},
        "destroy": {REASON},
    }
    needed_roles: ClassVar = {
        **Holding.needed_roles,
        **dict.fromkeys(("create", "route", "cancel"), (Role.AGENT, Role.OPERATOR)),
        **dict.fromkeys(("destroy", "retry", "force_release"), (Role.OPERATOR,)),
    }

    def list(self, request: Request) -> Response:
        """GET /tasks"""
        query = request.query_params.dict()
        ask = pagination.wanted(query)
        filters = {name: text for name, text in query.items() if name not in _PAGES}
        rows = permissions.visible(Task, self.actor).filter(conditions(filters, TASK_FILTERS))
        scope = json.dumps(["tasks", self.actor.tenant, filter_scope(filters)])
        return Response(pagination.page(rows, ask, name="tasks", scope=scope, shapes=tasks_out))

    def create(self, request: Request) -> Response:
        """POST /tasks"""
        body = given(read_body(NewTaskBody, request))
        return self._route(request, {**body, "from_role": self._from_role(body.get("from_role"))}, status=201)

    @action(detail=False, methods=["post"])
    def route(self, request: Request) -> Response:
        """POST /tasks/route"""
        if cast(Call, request._request).key_hash is None:
            raise InvalidRequest([("Idempotency-Key", "This header is required here.")])
        body = read_body(RouteBody, request)
        beside = {"context": body.get("context"), "requires_approval": body.get("requires_approval")}
        asked = given({**body["task"], **beside, "to_role": body["target"]})
        return self._route(request, {**asked, "from_role": self._from_role(None)}, status=202)

    def retrieve(self, request: Request, pk: str) -> Response:
        """GET /tasks/{id}"""
        query, pk_read = request.query_params.dict(), read_id(pk, "task")
        parts = wanted(query)
        task, headers = waiting.found_or_moved(Task, pk_read, self.actor, query, self.has_hung_up)
        if parts:
            return Response({**task_out(task), **included(parts, task, self.actor)}, headers=dict(headers))
        if conditional.matches_none(request._request, task.version) and task.is_told_by_version():
            return unchanged(task.version)
        return one(task_out(task), headers=dict(headers))

    def destroy(self, request: Request, pk: str) -> Response:
        """DELETE /tasks/{id}"""
        refuse_body(request)
        reason = needed_reason(request.query_params)
        if_match = conditional.if_match(request._request)
        task = permissions.find(Task, read_id(pk, "task"), self.actor)
        with remembering(task, "delete", actor=self.actor):
            permissions.insist_may_delete(self.actor)
        waits = transitions.delete(task, reason=reason, actor=self.actor, if_match=if_match)
        return Response(status=204) if waits is None else awaiting_second_person(waits)

    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """POST /tasks/{id}/cancel"""
        body, if_match = read_body(ReasonBody, request), conditional.if_match(request._request)
        task = permissions.find(Task, read_id(pk, "task"), self.actor)
        with remembering(task, "cancel", actor=self.actor):
            permissions.insist_may_cancel(self.actor, task)
        reason = body.get("reason") or ""
        return one(task_out(transitions.cancel(task, actor=self.actor, reason=reason, if_match=if_match)))

    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """POST /tasks/{id}/retry"""
        body = read_body(ReasonBody, request)
        again = self._steered(request, pk, transitions.retry, body.get("reason") or "")
        return one(task_out(again), status=201, headers={"Location": f"/tasks/{again.id}"})

    @action(detail=True, methods=["post"], url_path="force-release")
    def force_release(self, request: Request, pk: str) -> Response:
        """POST /tasks/{id}/force-release"""
        body = read_body(NeededReasonBody, request)
        return one(task_out(self._steered(request, pk, lease.force_release, body["reason"])))

    def _steered(self, request: Request, pk: str, move: Callable[..., Task], reason: str) -> Task:
        if_match = conditional.if_match(request._request)
        task = permissions.find(Task, read_id(pk, "task"), self.actor)
        with remembering(task, move.__name__.replace("_", "-"), actor=self.actor):
            permissions.insist_may_steer(self.actor)
        return move(task, actor=self.actor, reason=reason, if_match=if_match)

    def _route(self, request: Request, asked: dict[str, Any], *, status: int) -> Response:
        permissions.insist_may_route(self.actor, asked["from_role"])
        counts.require(PENDING_TASKS, self.actor.tenant)
        questions = [question(one) for one in asked.pop("requires_approval", ())]
        key = cast(Call, request._request).key_hash
        task = transitions.route(Work(**asked), questions=questions, actor=self.actor, idempotency_key=key)
        counts.add(PENDING_TASKS, self.actor.tenant, 1)
        return one(task_out(task), status=status, headers={"Location": f"/tasks/{task.id}"})

    def _from_role(self, named: str | None) -> str:
        """The role that a task comes from: the one named, or the only one. Raises InvalidRequest, Forbidden."""
        roles = sorted(self.actor.agent_roles)
        if named is not None or len(roles) == 1:
            return named or roles[0]
        if roles:
            raise InvalidRequest([("from_role", f"Say from which: you have {', '.join(roles)}.")])
        if self.actor.has(Role.OPERATOR):
            return _OPERATORS_ROLE
        raise Forbidden("You may create tasks from your own agent roles only.")
