"""The calls on /sessions."""

from collections.abc import Iterator, Mapping
from typing import Any, Unpack, cast

from agent_mesh.calls.noun import Noun
from agent_mesh.connection import Call, new_key, with_id
from agent_mesh.filters import Id, SessionFilters, SessionPatch
from agent_mesh.shapes import Approval, Session, SessionPage, SessionStatus


class Sessions(Noun):
    """An agent's pieces of work. Each call raises MeshError; `version` is the one it is decided on (If-Match)."""

    def open(
        self,
        agent_role: str,
        *,
        task_id: Id | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl_seconds: int | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """POST /sessions: a new one, pending."""
        body = {"agent_role": agent_role, "task_id": task_id, "metadata": metadata, "ttl_seconds": ttl_seconds}
        return cast(Session, self._write("POST", "/sessions", body, key=idempotency_key))

    def get(self, session_id: Id) -> Session:
        """GET /sessions/{id}"""
        return cast(Session, self._read(with_id("/sessions/{id}", session_id)))

    def get_if_changed(self, session_id: Id, version: int) -> Session | None:
        """GET /sessions/{id} with If-None-Match: None where it is still at that version."""
        return cast(Session | None, self._read_if_changed(with_id("/sessions/{id}", session_id), version))

    def update(
        self,
        session_id: Id,
        *,
        status: SessionStatus | None = None,
        task_id: Id | None = None,
        metadata: Mapping[str, Any] | None = None,
        reason: str | None = None,
        ttl_seconds: int | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """PUT /sessions/{id}: move it, change what it carries, or both. What is not given stays."""
        body = {
            "status": status,
            "task_id": task_id,
            "metadata": metadata,
            "reason": reason,
            "ttl_seconds": ttl_seconds,
        }
        path = with_id("/sessions/{id}", session_id)
        return cast(Session, self._write("PUT", path, body, key=idempotency_key, version=version))

    def patch(
        self,
        session_id: Id,
        patch: SessionPatch,
        *,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """PATCH /sessions/{id}: a merge patch (RFC 7396), in which null removes."""
        call = Call(
            "PATCH",
            with_id("/sessions/{id}", session_id),
            body=cast(Mapping[str, Any], patch),
            key=idempotency_key or new_key(),
            version=version,
            media_type="application/merge-patch+json",
        )
        return cast(Session, self._connection.send(call).body)

    def delete(
        self, session_id: Id, *, reason: str, version: int | None = None, idempotency_key: str | None = None
    ) -> Approval | None:
        """DELETE /sessions/{id}: one that is over, by an operator.

        Returns None once it is deleted. Where a second person has to approve, returns the request to that person: the
        same call deletes once the request is approved.
        """
        return self._delete(with_id("/sessions/{id}", session_id), reason, version=version, key=idempotency_key)

    def page(self, page: int = 1, page_size: int = 20, **filters: Unpack[SessionFilters]) -> SessionPage:
        """GET /sessions by number, newest first, with a total."""
        query = {**_query(filters), "page": page, "page_size": page_size}
        return cast(SessionPage, self._read("/sessions", query))

    def walk(self, page_size: int = 100, **filters: Unpack[SessionFilters]) -> Iterator[Session]:
        """GET /sessions by cursor: all of them, newest first, none twice."""
        return self._walk("/sessions", "sessions", _query(filters), page_size)


def _query(filters: SessionFilters) -> dict[str, Any]:
    """Each path of `metadata` is a parameter of its own."""
    query: dict[str, Any] = {**filters}
    paths: Mapping[str, str] = query.pop("metadata", None) or {}
    return query | {f"metadata.{path}": value for path, value in paths.items()}
