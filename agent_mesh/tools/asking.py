"""Tools that ask people for agreement, wait for it and use it. None decides: that is for people."""

import time
from typing import Annotated, Any

from pydantic import Field

from agent_mesh import ids
from agent_mesh.answers import Answer, Mistake, answering, told
from agent_mesh.callers import Asked, Callers
from agent_mesh.client import Client
from agent_mesh.shapes import Approval
from agent_mesh.tools.arguments import Action, ApprovalId, Key, TaskId

_PENDING = "pending"
_LONGEST_WAIT = 240
_SHARE_SECONDS = 5


class Asking:
    """request_approval, await_approval and consume_approval."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    @answering
    def request_approval(
        self,
        ctx: Asked,
        task_id: TaskId,
        approver_role: Annotated[str, Field(description="The role whose people are to decide, such as `manager`.")],
        reason: Annotated[str, Field(description="Why it is asked: what people read before they decide.")],
        decision: Annotated[str, Field(description="Always `pending`: people decide, tools do not.")] = _PENDING,
        comments: Annotated[str, Field(description="More to read, after the reason.")] = "",
        action: Annotated[
            dict[str, Any],
            Field(description="Exactly what is to be agreed to. Needed for `consume_approval`, which takes the same."),
        ] = {},  # noqa: B006
        required_approvals: Annotated[int, Field(description="How many people have to agree, 1 to 10.")] = 1,
        expires_in_seconds: Annotated[int, Field(description="For how long they may, 60 to 2592000.")] = 86400,
        idempotency_key: Key = "",
    ) -> Answer:
        """Ask the people of a role about a task. Until they answer, a task that nobody holds cannot be claimed."""
        if decision.strip().lower() not in ("", _PENDING):
            raise Mistake(f"decision is {decision!r}, but no tool decides: leave it out, and people will.")
        client, uuid = self._callers.client(ctx), ids.of("task", task_id, "task_id")
        words = f"{reason}\n\n{comments}" if comments.strip() else reason
        said = {"task": uuid, "role": approver_role, "reason": words, "action": action}
        terms = {"required": required_approvals, "expires": expires_in_seconds}
        key = idempotency_key or self._callers.key(ctx, "request_approval", {**said, **terms})
        approval = client.approvals.request(
            uuid,
            approver_role,
            reason=words,
            action=action or None,
            required_approvals=required_approvals,
            expires_in_seconds=expires_in_seconds,
            idempotency_key=key,
        )
        return told(f"Approval {approval['approval_id']} is pending: people of {approver_role} decide.", approval)

    @answering
    def await_approval(
        self,
        ctx: Asked,
        approval_id: ApprovalId,
        timeout_seconds: Annotated[int, Field(description=f"How long to wait, 0 to {_LONGEST_WAIT}.")] = 30,
        lease_token: Annotated[
            str, Field(description="That of the task in question, where you hold it: it is kept meanwhile.")
        ] = "",
    ) -> Answer:
        """Wait for people's answer. Answers the approval as it is then, `pending` where the time was too short."""
        if not 0 <= timeout_seconds <= _LONGEST_WAIT:
            raise Mistake(f"timeout_seconds must be from 0 to {_LONGEST_WAIT}; call again to wait longer.")
        client, uuid = self._callers.client(ctx), ids.of("approval", approval_id, "approval_id")
        approval = _awaited(client, uuid, timeout_seconds, lease_token)
        return told(f"Approval {uuid} is {approval['status']}.", approval)

    @answering
    def consume_approval(
        self,
        ctx: Asked,
        approval_id: ApprovalId,
        action: Action,
        idempotency_key: Key = "",
    ) -> Answer:
        """Use what people agreed to, once, right before doing it. Fails unless it is exactly what they agreed to."""
        client, uuid = self._callers.client(ctx), ids.of("approval", approval_id, "approval_id")
        said = {"approval_id": uuid, "action": action}
        key = idempotency_key or self._callers.key(ctx, "consume_approval", said)
        approval = client.approvals.consume(uuid, action, idempotency_key=key)
        return told(f"Approval {uuid} is used: do it now, once.", approval)


def _awaited(client: Client, approval_id: str, seconds: float, lease_token: str) -> Approval:
    """In shares, between which the lease is kept."""
    ends_at = time.monotonic() + seconds
    approval = client.approvals.get(approval_id)
    while approval["status"] == _PENDING and "approved" in approval["allowed_transitions"]:
        if lease_token:
            client.tasks.heartbeat(approval["task_id"], lease_token)
        left = ends_at - time.monotonic()
        if left <= 0:
            break
        begun_at = time.monotonic()
        share = max(1, min(_SHARE_SECONDS, int(left)))
        approval = client.approvals.wait(approval_id, version=approval["version"], seconds=share)
        if approval["status"] == _PENDING and time.monotonic() - begun_at < 1:
            time.sleep(min(1.0, max(0.0, left)))  # where too many wait, the service answers at once
    return approval
