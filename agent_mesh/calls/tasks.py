"""The calls on /tasks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Unpack, cast

from agent_mesh.calls.noun import Noun
from agent_mesh.connection import Call, with_id
from agent_mesh.filters import Id, Moment, Question, TaskFilters
from agent_mesh.shapes import Approval, ClaimedTask, Kept, Progress, Task, TaskPage, TaskWithParts

Part = Literal["sessions", "approvals", "attempts"]

_ONE = "/tasks/{id}"


class Tasks(Noun):
    """Work that one role routes to another. Each call raises MeshError; `version` is the one it is decided on."""

    def route(
        self,
        target: str,
        task_type: str,
        *,
        description: str | None = None,
        data: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        requires_approval: Question | Sequence[Question] | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """POST /tasks/route: work for the agents of a role."""
        said = {"task_type": task_type, "description": description, "data": data}
        task = {name: value for name, value in said.items() if value is not None}
        body = {"target": target, "task": task, "context": context, "requires_approval": requires_approval}
        return cast(Task, self._write("POST", "/tasks/route", body, key=idempotency_key))

    def create(
        self,
        task_type: str,
        to_role: str,
        *,
        from_role: str | None = None,
        description: str | None = None,
        data: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        priority: int | None = None,
        not_before: Moment | None = None,
        deadline: Moment | None = None,
        max_attempts: int | None = None,
        requires_approval: Question | Sequence[Question] | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """POST /tasks: with all there is to say of it."""
        body = {
            "task_type": task_type,
            "to_role": to_role,
            "from_role": from_role,
            "description": description,
            "data": data,
            "context": context,
            "priority": priority,
            "not_before": not_before,
            "deadline": deadline,
            "max_attempts": max_attempts,
            "requires_approval": requires_approval,
        }
        return cast(Task, self._write("POST", "/tasks", body, key=idempotency_key))

    def get(self, task_id: Id, *, include: Sequence[Part] = ()) -> TaskWithParts:
        """GET /tasks/{id}, with what is to be shown beside it."""
        return cast(TaskWithParts, self._read(with_id(_ONE, task_id), {"include": include or None}))

    def get_if_changed(self, task_id: Id, version: int) -> Task | None:
        """GET /tasks/{id} with If-None-Match: None where it is known to be still at that version."""
        return cast(Task | None, self._read_if_changed(with_id(_ONE, task_id), version))

    def wait(self, task_id: Id, *, version: int | None = None, seconds: int = 30) -> Task:
        """GET /tasks/{id}?wait=: as it is once it has left that version, or when the time, 30 s at most, is up."""
        return cast(Task, self._read(with_id(_ONE, task_id), {"wait": seconds, "version": version}, wait=seconds))

    def page(self, page: int = 1, page_size: int = 20, **filters: Unpack[TaskFilters]) -> TaskPage:
        """GET /tasks by number, newest first, with a total."""
        return cast(TaskPage, self._read("/tasks", {**filters, "page": page, "page_size": page_size}))

    def walk(self, page_size: int = 100, **filters: Unpack[TaskFilters]) -> Iterator[Task]:
        """GET /tasks by cursor: all of them, newest first, none twice."""
        return self._walk("/tasks", "tasks", filters, page_size)

    def claim(
        self,
        *,
        roles: Sequence[str] | None = None,
        task_types: Sequence[str] | None = None,
        at_most: int = 1,
        lease_seconds: int | None = None,
        wait_seconds: int = 0,
    ) -> list[ClaimedTask]:
        """POST /tasks/claim: take up to `at_most` tasks, or wait. It has no key: a lease heals a lost answer."""
        said = {"roles": roles, "task_types": task_types, "max": at_most, "lease_seconds": lease_seconds}
        body = {name: value for name, value in said.items() if value is not None} | {"wait_seconds": wait_seconds}
        answer = self._connection.send(Call("POST", "/tasks/claim", body=body, wait=wait_seconds))
        return cast(list[ClaimedTask], answer.body["tasks"])

    def heartbeat(
        self, task_id: Id, lease_token: str, *, progress: Progress | None = None, version: int | None = None
    ) -> Kept:
        """POST /tasks/{id}/heartbeat: the lease lasts anew from now."""
        body = {"lease_token": lease_token} | ({"progress": progress} if progress else {})
        path = with_id(f"{_ONE}/heartbeat", task_id)
        return cast(Kept, self._connection.send(Call("POST", path, body=body, version=version)).body)

    def complete(
        self,
        task_id: Id,
        lease_token: str,
        *,
        output: Mapping[str, Any] | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """POST /tasks/{id}/complete: it is done."""
        return self._act(task_id, "complete", {"lease_token": lease_token, "output": output}, version, idempotency_key)

    def fail(
        self,
        task_id: Id,
        lease_token: str,
        *,
        code: str,
        message: str,
        retryable: bool | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """POST /tasks/{id}/fail: this attempt failed."""
        body = {"lease_token": lease_token, "error": {"code": code, "message": message}, "retryable": retryable}
        return self._act(task_id, "fail", body, version, idempotency_key)

    def release(
        self, task_id: Id, lease_token: str, *, version: int | None = None, idempotency_key: str | None = None
    ) -> Task:
        """POST /tasks/{id}/release: hand it back; the attempt does not count."""
        return self._act(task_id, "release", {"lease_token": lease_token}, version, idempotency_key)

    def cancel(
        self,
        task_id: Id,
        *,
        reason: str | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """POST /tasks/{id}/cancel: call it off, or have its holder told."""
        return self._act(task_id, "cancel", {"reason": reason}, version, idempotency_key)

    def force_release(
        self, task_id: Id, *, reason: str, version: int | None = None, idempotency_key: str | None = None
    ) -> Task:
        """POST /tasks/{id}/force-release: take it from its holder, as an operator."""
        return self._act(task_id, "force-release", {"reason": reason}, version, idempotency_key)

    def retry(
        self,
        task_id: Id,
        *,
        reason: str | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """POST /tasks/{id}/retry: a new task with the work of a failed one, as an operator."""
        return self._act(task_id, "retry", {"reason": reason}, version, idempotency_key)

    def delete(
        self, task_id: Id, *, reason: str, version: int | None = None, idempotency_key: str | None = None
    ) -> Approval | None:
        """DELETE /tasks/{id}: one that is over, by an operator.

        Returns None once it is deleted. Where a second person has to approve, returns the request to that person: the
        same call deletes once the request is approved.
        """
        return self._delete(with_id("/tasks/{id}", task_id), reason, version=version, key=idempotency_key)

    def _act(self, task_id: Id, verb: str, body: Mapping[str, Any], version: int | None, key: str | None) -> Task:
        path = with_id(f"{_ONE}/{verb}", task_id)
        return cast(Task, self._write("POST", path, body, key=key, version=version))
