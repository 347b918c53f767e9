"""The tool that tells how something stands."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from agent_mesh import ids
from agent_mesh.answers import Answer, Mistake, answering, told
from agent_mesh.callers import Asked, Callers
from agent_mesh.client import Client
from agent_mesh.problems import Refused
from agent_mesh.shapes import Approval, Session, Task, TaskWithParts

_LONGEST_METADATA = 200
_NOT_FOUND = 404
_MOST_APPROVALS = 20


class Looking:
    """fetch_status."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    @answering
    def fetch_status(
        self,
        ctx: Asked,
        task_id: Annotated[
            str,
            Field(
                description="The id of a task, a session or an approval: a UUID, with or without `task-`, `session-` "
                "or `approval-` before it."
            ),
        ],
    ) -> Answer:
        """Tell how a task, a session or an approval stands: its state, agent role, metadata, approvals and trace."""
        kind, uuid = ids.read(task_id)
        status = _found(self._callers.client(ctx), kind, uuid)
        return told(_sentence(status), status)


def _found(client: Client, kind: str, uuid: str) -> dict[str, Any]:
    """The first that there is. Raises Mistake where there is none, and MeshError."""
    ways = {"task": _task, "session": _session, "approval": _approval}
    for one in [kind] if kind else ways:
        try:
            return ways[one](client, uuid)
        except Refused as refusal:
            if refusal.status != _NOT_FOUND:
                raise
    what = kind or "task, session or approval"
    raise Mistake(f"There is no {what} {uuid}, or your token may not see it.")


def _task(client: Client, uuid: str) -> dict[str, Any]:
    task = client.tasks.get(uuid, include=["approvals"])
    carried = {"data": task["data"], "context": task["context"]}
    return {
        "kind": "task",
        "id": uuid,
        **_common(task, task["to_role"], carried, task["trace_id"], task.get("approvals", ())),
        "task_type": task["task_type"],
        "description": task["description"],
        "from_role": task["from_role"],
        "attempt": task["attempt"],
        "held_by": task["lease"]["holder"] if task["lease"] else None,
        "cancel_requested": task["cancel_requested"],
        "progress": task["progress"],
        "output": task["output"],
        "error": task["error"],
        "updated_at": task["updated_at"],
    }


def _session(client: Client, uuid: str) -> dict[str, Any]:
    session = client.sessions.get(uuid)
    task = _task_of(client, session["task_id"])
    about_task = task.get("approvals", []) if task else []
    own = client.approvals.page(1, _MOST_APPROVALS, session_id=uuid)["approvals"]
    approvals = [*about_task, *own]
    return {
        "kind": "session",
        "id": uuid,
        **_common(session, session["agent_role"], session["metadata"], task["trace_id"] if task else None, approvals),
        "task_id": session["task_id"],
        "reason": session["reason"],
        "expires_at": session["expires_at"],
        "updated_at": session["updated_at"],
    }


def _approval(client: Client, uuid: str) -> dict[str, Any]:
    approval = client.approvals.get(uuid)
    task = _task_of(client, approval["task_id"])
    asked = {"reason": approval["reason"], "action": approval["action"]}
    return {
        "kind": "approval",
        "id": uuid,
        **_common(approval, approval["approver_role"], asked, task["trace_id"] if task else None, [approval]),
        "task_id": approval["task_id"],
        "session_id": approval["session_id"],
        "expires_at": approval["expires_at"],
        "approved_until": approval["approved_until"],
        "consumed_at": approval["consumed_at"],
    }


def _task_of(client: Client, task_id: str | None) -> TaskWithParts | None:
    """The task in question, if there is one that the caller sees."""
    if task_id is None:
        return None
    try:
        return client.tasks.get(task_id, include=["approvals"])
    except Refused as refusal:
        if refusal.status != _NOT_FOUND:
            raise
        return None


def _common(
    row: Session | Task | Approval,
    agent_role: str,
    metadata: Mapping[str, Any],
    trace_id: str | None,
    approvals: Sequence[Approval],
) -> dict[str, Any]:
    """What all three have, under the same names."""
    shown, cut = _cut(metadata)
    return {
        "status": row["status"],
        "version": row["version"],
        "agent_role": agent_role,
        "trace_id": trace_id,
        "metadata": shown,
        "metadata_cut": cut,
        "approvals": [_short(one) for one in approvals],
        "allowed_transitions": row["allowed_transitions"],
        "created_at": row["created_at"],
    }


def _short(approval: Approval) -> dict[str, Any]:
    return {
        "approval_id": approval["approval_id"],
        "status": approval["status"],
        "approver_role": approval["approver_role"],
        "reason": approval["reason"],
        "decisions": approval["decisions"],
        "expires_at": approval["expires_at"],
    }


def _cut(metadata: Mapping[str, Any]) -> tuple[str, bool]:
    """As JSON of 200 characters at most, and whether something is missing: a model's context is short."""
    text = json.dumps(metadata, ensure_ascii=False)
    return text[:_LONGEST_METADATA], len(text) > _LONGEST_METADATA


def _sentence(status: Mapping[str, Any]) -> str:
    open_ones = sum(one["status"] == "pending" for one in status["approvals"])
    waits = f" {open_ones} approvals are pending." if open_ones and status["kind"] != "approval" else ""
    return f"The {status['kind']} {status['id']} of {status['agent_role']} is {status['status']}.{waits}"
