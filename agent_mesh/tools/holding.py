"""Tools of whoever does a task: claim it, keep it, end it."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from agent_mesh import ids
from agent_mesh.answers import Answer, answering, told
from agent_mesh.callers import Asked, Callers
from agent_mesh.shapes import Progress, Task
from agent_mesh.tools.arguments import Key, LeaseToken, TaskId

_PERCENT = {"type": "number", "minimum": 0, "maximum": 100, "description": "How far it is."}


class Holding:
    """claim_task, heartbeat, complete_task and fail_task."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    @answering
    def claim_task(
        self,
        ctx: Asked,
        roles: Annotated[list[str], Field(description="Agent roles whose tasks to take; yours unless given.")] = [],  # noqa: B006
        task_types: Annotated[list[str], Field(description="Kinds of work to take; any unless given.")] = [],  # noqa: B006
        lease_seconds: Annotated[
            int, Field(description="For how long it is yours without a heartbeat, 10 to 3600.")
        ] = 300,
        wait_seconds: Annotated[int, Field(description="How long to wait where there is none, 0 to 30.")] = 0,
    ) -> Answer:
        """Take the next task for your roles. It is yours until its lease runs out: send heartbeats, then end it.

        Answers `claimed` and `task`, null where there is none; `task.lease.token` is what the other tools need.
        """
        tasks = self._callers.client(ctx).tasks.claim(
            roles=roles or None,
            task_types=task_types or None,
            lease_seconds=lease_seconds,
            wait_seconds=wait_seconds,
        )
        if not tasks:
            return told("There is no task to claim.", {"claimed": False, "task": None})
        [task] = tasks
        sentence = f"Task {task['task_id']} is yours until {task['lease']['expires_at']}."
        return told(sentence, {"claimed": True, "task": task})

    @answering
    def heartbeat(
        self,
        ctx: Asked,
        task_id: TaskId,
        lease_token: LeaseToken,
        percent: Annotated[float | None, WithJsonSchema(_PERCENT)] = None,
        message: Annotated[str, Field(description="How far it is, in words.")] = "",
    ) -> Answer:
        """Keep a task that you hold. Where `cancel_requested` is true, stop working on it and do not complete it."""
        progress: Progress = {}
        if percent is not None:
            progress["percent"] = percent
        if message:
            progress["message"] = message
        client = self._callers.client(ctx)
        kept = client.tasks.heartbeat(ids.of("task", task_id, "task_id"), lease_token, progress=progress or None)
        sentence = f"It is yours until {kept['lease']['expires_at']}."
        return told("Stop: the task was called off." if kept["cancel_requested"] else sentence, kept)

    @answering
    def complete_task(
        self,
        ctx: Asked,
        task_id: TaskId,
        lease_token: LeaseToken,
        output: Annotated[dict[str, Any], Field(description="What came of it.")] = {},  # noqa: B006
        idempotency_key: Key = "",
    ) -> Answer:
        """Say that a task that you hold is done."""
        said = {"task_id": task_id, "lease_token": lease_token, "output": output}
        client, uuid = self._callers.client(ctx), ids.of("task", task_id, "task_id")
        key = idempotency_key or self._callers.key(ctx, "complete_task", said)
        done = client.tasks.complete(uuid, lease_token, output=output or None, idempotency_key=key)
        return told(_ended(done), done)

    @answering
    def fail_task(
        self,
        ctx: Asked,
        task_id: TaskId,
        lease_token: LeaseToken,
        message: Annotated[str, Field(description="Why it could not be done, in words.")],
        code: Annotated[str, Field(description="Why, as a short word for programs.")] = "failed",
        retryable: Annotated[bool, Field(description="Whether another attempt may fare better.")] = True,
        idempotency_key: Key = "",
    ) -> Answer:
        """Say that a task that you hold could not be done. It goes back to its role if another attempt may follow."""
        said = {"task_id": task_id, "token": lease_token, "code": code, "message": message, "retryable": retryable}
        client, uuid = self._callers.client(ctx), ids.of("task", task_id, "task_id")
        key = idempotency_key or self._callers.key(ctx, "fail_task", said)
        ended = client.tasks.fail(
            uuid, lease_token, code=code, message=message, retryable=retryable, idempotency_key=key
        )
        return told(_ended(ended), ended)


def _ended(task: Task) -> str:
    return f"Task {task['task_id']} is {task['status']}."
