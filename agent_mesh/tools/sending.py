"""Tools that give work to others, and word."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import Field

from agent_mesh.answers import Answer, Mistake, answering, told
from agent_mesh.callers import Asked, Callers
from agent_mesh.tools.arguments import FromRole, Key, Target

_GUARD = "requires_approval"
_OF_A_TASK = ("task_type", "description", "data", _GUARD)
_NOT_LETTERS = re.compile(r"[\W_]+")
_PRIORITIES = {"low": 2, "normal": 5, "high": 8}


class Sending:
    """send_task and notify."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    @answering
    def send_task(
        self,
        ctx: Asked,
        target: Target,
        task: Annotated[
            dict[str, Any],
            Field(
                description="What is to be done: `task_type` (what kind of work), `description` (in words) and `data` "
                "(an object with what is needed to do it). `requires_approval` says who has to agree first. Other "
                "members become part of `data`."
            ),
        ],
        context: Annotated[dict[str, Any], Field(description="What it belongs to.")] = {},  # noqa: B006  never changed
        from_role: FromRole = "",
        idempotency_key: Key = "",
    ) -> Answer:
        """Give a task to the agents of a role. One of them will claim it. Answers the task with its task_id."""
        said = {"target": target, "task": task, "context": context, "from_role": from_role}
        work = _work(task)
        tasks = self._callers.client(ctx).tasks
        key = idempotency_key or self._callers.key(ctx, "send_task", said)
        if from_role:
            made = tasks.create(
                **work, to_role=target, from_role=from_role, context=context or None, idempotency_key=key
            )
        else:
            made = tasks.route(target, **work, context=context or None, idempotency_key=key)
        return told(f"Task {made['task_id']} is {made['status']} for {made['to_role']}.", made)

    @answering
    def notify(
        self,
        ctx: Asked,
        target: Target,
        message: Annotated[str, Field(description="What they are to know, at most 4,000 characters.")],
        priority: Annotated[
            Literal["low", "normal", "high"], Field(description="How soon it is to be read.")
        ] = "normal",
        from_role: FromRole = "",
        idempotency_key: Key = "",
    ) -> Answer:
        """Let the agents of a role know something. Answers the notification: a task that its reader completes."""
        if not message.strip():
            raise Mistake("message is empty: say what they are to know.")
        said = {"target": target, "message": message, "priority": priority, "from_role": from_role}
        client = self._callers.client(ctx)
        key = idempotency_key or self._callers.key(ctx, "notify", said)
        made = client.tasks.create(
            "notification",
            target,
            description=message,
            from_role=from_role or None,
            priority=_PRIORITIES[priority],
            idempotency_key=key,
        )
        return told(f"Notification {made['task_id']} is {made['status']} for {made['to_role']}.", made)


def _work(task: Mapping[str, Any]) -> dict[str, Any]:
    """What the service takes of a task; what it would pass over stands in `data` instead. Raises Mistake."""
    data = task.get("data") or {}
    if not task.get("task_type") or not isinstance(data, dict):
        raise Mistake("task needs a task_type, such as `invoices`, and its data is an object.")
    others = {name: value for name, value in task.items() if name not in _OF_A_TASK}
    for name in others:
        if _is_like_guard(name):
            raise Mistake(f"task has {name!r}: say {_GUARD} where people have to agree first, or put it into data.")
    work = {
        "task_type": task["task_type"],
        "description": task.get("description"),
        "data": {**others, **data} or None,
        _GUARD: task.get(_GUARD),
    }
    return {name: value for name, value in work.items() if value is not None}


def _is_like_guard(name: str) -> bool:
    """Return whether a member may have been meant as `requires_approval`: then it must not become mere data."""
    form = _NOT_LETTERS.sub("", name).lower()
    return "approv" in form or bool(get_close_matches(form[:60], ["requiresapproval"], cutoff=0.7))
