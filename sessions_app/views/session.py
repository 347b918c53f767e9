"""/sessions"""

import json
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator import conditional, pagination
from orchestrator.actors import Role
from orchestrator.filters import conditions, filter_scope
from orchestrator.pagination import PARAMETERS
from orchestrator.problems import InvalidRequest
from orchestrator.views import ApiViewSet, one, read_body, read_id, refuse_body, unchanged
from sessions_app import permissions
from sessions_app.filters import METADATA, SESSION_BEGINNINGS, SESSION_FILTERS
from sessions_app.models import Session, Task
from sessions_app.quotas import OPEN_SESSIONS, counts
from sessions_app.serializers.session import (
    RETENTION,
    NewSessionBody,
    SessionBody,
    SessionPatchBody,
    session_out,
    sessions_out,
)
from sessions_app.transitions import session as transitions
from sessions_app.transitions.refusing import remembering
from sessions_app.views.deleting import REASON, awaiting_second_person, needed_reason
from sessions_app.views.session_docs import documented

_FIELDS = ("metadata", "task_id")


@documented
class SessionViewSet(ApiViewSet):
    """Agents' pieces of work."""

    query_parameters: ClassVar = {"list": {*PARAMETERS, *SESSION_FILTERS, METADATA}, "destroy": {REASON}}
    needed_roles: ClassVar = {
        **dict.fromkeys(("create", "update", "partial_update"), (Role.AGENT, Role.OPERATOR)),
        "destroy": (Role.OPERATOR,),
    }

    def list(self, request: Request) -> Response:
        """GET /sessions"""
        query = request.query_params.dict()
        ask = pagination.wanted(query)
        filters = {name: text for name, text in query.items() if name not in PARAMETERS}
        rows = permissions.visible(Session, self.actor).filter(conditions(filters, SESSION_FILTERS, SESSION_BEGINNINGS))
        scope = json.dumps(["sessions", self.actor.tenant, filter_scope(filters)])
        return Response(pagination.page(rows, ask, name="sessions", scope=scope, shapes=sessions_out))

    def create(self, request: Request) -> Response:
        """POST /sessions"""
        body = read_body(NewSessionBody, request)
        permissions.insist_may_open(self.actor, body["agent_role"])
        counts.require(OPEN_SESSIONS, self.actor.tenant)
        session = transitions.open_session(
            actor=self.actor,
            role=body["agent_role"],
            task=self._task(body.get("task_id")),
            metadata=body.get("metadata") or {},
            lasting=_lasting(body) or RETENTION,
        )
        counts.add(OPEN_SESSIONS, self.actor.tenant, 1)
        return one(session_out(session), status=201, headers={"Location": f"/sessions/{session.id}"})

    def retrieve(self, request: Request, pk: str) -> Response:
        """GET /sessions/{id}"""
        session = permissions.find(Session, read_id(pk), self.actor)
        if conditional.matches_none(request._request, session.version) and not session.is_overdue():
            return unchanged(session.version)
        return one(session_out(session))

    def update(self, request: Request, pk: str) -> Response:
        """PUT /sessions/{id}"""
        body = read_body(SessionBody, request)
        kept = {name: value for name, value in body.items() if value is not None}
        return self._amend(request, pk, kept, {name: kept[name] for name in _FIELDS if name in kept})

    def partial_update(self, request: Request, pk: str) -> Response:
        """PATCH /sessions/{id}"""
        body = read_body(SessionPatchBody, request)
        fields = {"task_id": body["task_id"]} if "task_id" in body else {}
        if "metadata" in body and body["metadata"] is None:
            fields["metadata"] = {}
        return self._amend(request, pk, body, fields, metadata_patch=body.get("metadata"))

    def destroy(self, request: Request, pk: str) -> Response:
        """DELETE /sessions/{id}"""
        refuse_body(request)
        reason = needed_reason(request.query_params)
        if_match = conditional.if_match(request._request)
        session = permissions.find(Session, read_id(pk), self.actor)
        with remembering(session, "delete", actor=self.actor):
            permissions.insist_may_delete(self.actor)
        waits = transitions.delete(session, reason=reason, actor=self.actor, if_match=if_match)
        return Response(status=204) if waits is None else awaiting_second_person(waits)

    def _amend(
        self,
        request: Request,
        pk: str,
        body: dict[str, Any],
        fields: dict[str, Any],
        metadata_patch: dict[str, Any] | None = None,
    ) -> Response:
        if_match = conditional.if_match(request._request)
        session = permissions.find(Session, read_id(pk), self.actor)
        with remembering(session, "change", actor=self.actor):
            permissions.insist_may_move(self.actor, session)
        self._task(fields.get("task_id"))
        amended = transitions.amend(
            session,
            actor=self.actor,
            status=body.get("status"),
            lasting=_lasting(body),
            reason=body.get("reason"),
            if_match=if_match,
            fields=fields,
            metadata_patch=metadata_patch,
        )
        return one(session_out(amended))

    def _task(self, pk: UUID | None) -> Task | None:
        """The task a body points to, held so that it stays. One that is missing or unseen is a 400."""
        if pk is None:
            return None
        task = permissions.hold(Task, pk, self.actor)
        if task is None:
            raise InvalidRequest([("task_id", "There is no such task, or it is not yours to see.")])
        return task


def _lasting(body: dict[str, Any]) -> timedelta | None:
    seconds = body.get("ttl_seconds")
    return None if seconds is None else timedelta(seconds=seconds)
