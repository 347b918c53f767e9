"""The calls on /approvals."""

from collections.abc import Iterator, Mapping
from typing import Any, Unpack, cast

from agent_mesh.calls.noun import Noun
from agent_mesh.connection import with_id
from agent_mesh.filters import ApprovalFilters, Id
from agent_mesh.shapes import Approval, ApprovalPage, Decided, Verdict

_ONE = "/approvals/{id}"


class Approvals(Noun):
    """Requests that people agree. Each call raises MeshError; `version` is the one it is decided on (If-Match)."""

    def request(
        self,
        task_id: Id | None = None,
        approver_role: str = "",
        *,
        session_id: Id | None = None,
        action: Mapping[str, Any] | None = None,
        reason: str | None = None,
        required_approvals: int | None = None,
        expires_in_seconds: int | None = None,
        use_within_seconds: int | None = None,
        reopens: Id | None = None,
        replaces: Id | None = None,
        idempotency_key: str | None = None,
    ) -> Approval:
        """POST /approvals without a decision: ask the people of a role about a task, or about an action without one.

        An action without a task may belong to a session. `reopens` and `replaces` are for operators.

        Raises ValueError where the role is missing, where neither a task nor an action is given, or where both a task
        and a session are.
        """
        if not approver_role:
            raise ValueError("approver_role is missing: name the role whose people decide.")
        if task_id is None and action is None:
            raise ValueError("Neither task_id nor action is given: name the task, or say exactly what is to be done.")
        if task_id is not None and session_id is not None:
            raise ValueError("Both task_id and session_id are given: a request is about a task or part of a session.")
        body = {
            "task_id": task_id,
            "session_id": session_id,
            "approver_role": approver_role,
            "reason": reason,
            "required_approvals": required_approvals,
            "expires_in_seconds": expires_in_seconds,
            "use_within_seconds": use_within_seconds,
            "action": action,
            "reopens": reopens,
            "replaces": replaces,
        }
        return cast(Approval, self._write("POST", "/approvals", body, key=idempotency_key))

    def decide(
        self, task_id: Id, decision: Verdict, *, comments: str | None = None, idempotency_key: str | None = None
    ) -> Decided:
        """POST /approvals with a decision: on the only open question of a task that the caller may decide."""
        body = {"task_id": task_id, "decision": decision, "comments": comments}
        return cast(Decided, self._write("POST", "/approvals", body, key=idempotency_key))

    def get(self, approval_id: Id) -> Approval:
        """GET /approvals/{id}"""
        return cast(Approval, self._read(with_id(_ONE, approval_id)))

    def get_if_changed(self, approval_id: Id, version: int) -> Approval | None:
        """GET /approvals/{id} with If-None-Match: None where it is still at that version."""
        return cast(Approval | None, self._read_if_changed(with_id(_ONE, approval_id), version))

    def wait(self, approval_id: Id, *, version: int | None = None, seconds: int = 30) -> Approval:
        """GET /approvals/{id}?wait=: as it is once it has left that version, or when the time, 30 s at most, is up."""
        query = {"wait": seconds, "version": version}
        return cast(Approval, self._read(with_id(_ONE, approval_id), query, wait=seconds))

    def page(self, page: int = 1, page_size: int = 20, **filters: Unpack[ApprovalFilters]) -> ApprovalPage:
        """GET /approvals by number, newest first, with a total."""
        return cast(ApprovalPage, self._read("/approvals", {**filters, "page": page, "page_size": page_size}))

    def walk(self, page_size: int = 100, **filters: Unpack[ApprovalFilters]) -> Iterator[Approval]:
        """GET /approvals by cursor: all of them, newest first, none twice."""
        return self._walk("/approvals", "approvals", filters, page_size)

    def approve(
        self,
        approval_id: Id,
        *,
        comments: str | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Approval:
        """POST /approvals/{id}/approve: a person's yes."""
        return self._act(approval_id, "approve", {"comments": comments}, version, idempotency_key)

    def reject(
        self,
        approval_id: Id,
        *,
        comments: str | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Approval:
        """POST /approvals/{id}/reject: a person's no."""
        return self._act(approval_id, "reject", {"comments": comments}, version, idempotency_key)

    def withdraw(
        self,
        approval_id: Id,
        *,
        comments: str | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Approval:
        """POST /approvals/{id}/withdraw: take back one's own decision while the request is open."""
        return self._act(approval_id, "withdraw", {"comments": comments}, version, idempotency_key)

    def cancel(
        self,
        approval_id: Id,
        *,
        reason: str | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Approval:
        """POST /approvals/{id}/cancel: it is asked no more."""
        return self._act(approval_id, "cancel", {"reason": reason}, version, idempotency_key)

    def consume(
        self,
        approval_id: Id,
        action: Mapping[str, Any],
        *,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Approval:
        """POST /approvals/{id}/consume: use what was agreed to, once, for exactly that action."""
        return self._act(approval_id, "consume", {"action": action}, version, idempotency_key)

    def _act(
        self, approval_id: Id, verb: str, body: Mapping[str, Any], version: int | None, key: str | None
    ) -> Approval:
        path = with_id(f"{_ONE}/{verb}", approval_id)
        return cast(Approval, self._write("POST", path, body, key=key, version=version))
