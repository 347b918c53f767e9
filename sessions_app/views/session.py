"""/sessions"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator import conditional
from orchestrator.problems import InvalidRequest
from orchestrator.views import ApiViewSet, one, read_body, read_id
from sessions_app import permissions
from sessions_app.models import Session, Task
from sessions_app.serializers.session import RETENTION, NewSessionBody, SessionBody, session_out
from sessions_app.transitions import session as transitions


class SessionViewSet(ApiViewSet):
    """Agents' pieces of work."""

    def create(self, request: Request) -> Response:
        """POST /sessions"""
        body = read_body(NewSessionBody, request)
        permissions.insist_may_open(self.actor, body["agent_role"])
        session = transitions.open_session(
            actor=self.actor,
            role=body["agent_role"],
            task=self._task(body.get("task_id")),
            metadata=body.get("metadata") or {},
            lasting=_lasting(body) or RETENTION,
        )
        return one(session_out(session), status=201, headers={"Location": f"/sessions/{session.id}"})

    def retrieve(self, request: Request, pk: str) -> Response:
        """GET /sessions/{id}"""
        session = permissions.find(Session, read_id(pk), self.actor)
        if conditional.matches_none(request._request, session.version) and not session.is_overdue():
            return Response(status=304, headers={"ETag": conditional.etag(session.version)})
        return one(session_out(session))

    def update(self, request: Request, pk: str) -> Response:
        """PUT /sessions/{id}"""
        if_match = conditional.if_match(request._request)
        body = read_body(SessionBody, request)
        session = permissions.find(Session, read_id(pk), self.actor)
        permissions.insist_may_move(self.actor, session)
        amended = transitions.amend(
            session,
            actor=self.actor,
            status=body.get("status"),
            fields=self._fields(body),
            lasting=_lasting(body),
            reason=body.get("reason"),
            if_match=if_match,
        )
        return one(session_out(amended))

    def _fields(self, body: dict[str, Any]) -> dict[str, Any]:
        """The attributes that a body sets anew: null keeps, as absent does."""
        fields: dict[str, Any] = {}
        if body.get("metadata") is not None:
            fields["metadata"] = body["metadata"]
        if (task := self._task(body.get("task_id"))) is not None:
            fields["task_id"] = task.id
        return fields

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
