"""Tools that ask people for agreement, wait for it and use it. None decides: that is for people."""

import functools
from typing import Annotated, Any

from pydantic import Field

from agent_mesh import ids
from agent_mesh.agreement import PENDING, Waiting
from agent_mesh.answers import Answer, Mistake, answering, told
from agent_mesh.callers import Asked, Callers
from agent_mesh.client import Client
from agent_mesh.shapes import Approval
from agent_mesh.tools.arguments import Action, ApprovalId, Key

_LONGEST_WAIT = 240
_SHARE_SECONDS = 5
_MAX_QUOTED, _LONGEST_QUOTE = 3, 200


class Asking:
    """request_approval, await_approval and consume_approval."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    @answering
    def request_approval(
        self,
        ctx: Asked,
        approver_role: Annotated[str, Field(description="The role whose people are to decide, such as `manager`.")],
        reason: Annotated[str, Field(description="Why it is asked: what people read before they decide.")],
        decision: Annotated[str, Field(description="Always `pending`: people decide, tools do not.")] = PENDING,
        comments: Annotated[str, Field(description="More to read, after the reason.")] = "",
        action: Annotated[
            dict[str, Any],
            Field(
                description="Exactly what is to be agreed to. Needed without a task, and for `consume_approval`, which "
                "takes the same."
            ),
        ] = {},  # noqa: B006
        task_id: Annotated[
            str, Field(description="The task it is about. Leave it out to gate one act of your own: give `action`.")
        ] = "",
        session_id: Annotated[
            str, Field(description="The session that an act without a task is part of, if any. It ends the request.")
        ] = "",
        required_approvals: Annotated[int, Field(description="How many people have to agree, 1 to 10.")] = 1,
        expires_in_seconds: Annotated[int, Field(description="For how long they may, 60 to 2592000.")] = 86400,
        use_within_seconds: Annotated[
            int, Field(description="How long a grant may be used, 60 to 2592000; 0 leaves it to the service.")
        ] = 0,
        idempotency_key: Key = "",
    ) -> Answer:
        """Ask the people of a role about a task, or about one act of your own without a task.

        Until they answer, a task that no agent holds cannot be claimed. Asking twice for the same fails: the failure
        says which approval to await.
        """
        if decision.strip().lower() not in ("", PENDING):
            raise Mistake(f"decision is {decision!r}, but no tool decides: leave it out, and people will.")
        client, words = self._callers.client(ctx), f"{reason}\n\n{comments}" if comments.strip() else reason
        asked: dict[str, Any] = {
            "task_id": ids.of("task", task_id, "task_id") if task_id.strip() else None,
            "session_id": ids.of("session", session_id, "session_id") if session_id.strip() else None,
            "approver_role": approver_role,
            "reason": words,
            "action": action or None,
            "required_approvals": required_approvals,
            "expires_in_seconds": expires_in_seconds,
            "use_within_seconds": use_within_seconds or None,
        }
        key = idempotency_key or self._callers.key(ctx, "request_approval", asked)
        approval = client.approvals.request(**asked, idempotency_key=key)
        return told(_requested(approval), approval)

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
        return told(_state(approval), approval)

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


def _requested(approval: Approval) -> str:
    """Return a sentence about a new request, with what people rejected before about the same subject."""
    sentence = f"Approval {approval['approval_id']} is pending: people of {approval['approver_role']} decide"
    if approval["action"] is not None and approval["use_within_seconds"] is not None:
        sentence += f", and it can be used for {approval['use_within_seconds']} seconds after that"
    rejected = [one for one in approval["earlier"] if one["outcome"] == "rejected"][:_MAX_QUOTED]
    said = [f"Rejected before by {one['approver_role']}: {_quoted(one['comments'])}." for one in rejected]
    return " ".join([f"{sentence}.", *said])


def _quoted(comments: str) -> str:
    """Return what a person wrote as one short quoted line."""
    return repr(" ".join(comments.split())[:_LONGEST_QUOTE])


def _state(approval: Approval) -> str:
    """Return a sentence about how a request stands, and until when its grant can be used."""
    sentence = f"Approval {approval['approval_id']} is {approval['status']}"
    if approval["consumed_at"] is not None:
        return f"{sentence}, and was used at {approval['consumed_at']}."
    until = approval["approved_until"]
    return f"{sentence}: use it before {until}, then it lapses." if until and approval["action"] else f"{sentence}."


def _awaited(client: Client, approval_id: str, seconds: float, lease_token: str) -> Approval:
    """Wait in shares, before each of which the lease is kept. Raises Mistake for a lease without a task."""
    approval = client.approvals.get(approval_id)
    task_id = approval["task_id"]
    if not lease_token:
        waiting = Waiting(share_seconds=_SHARE_SECONDS)
    elif task_id is None:
        raise Mistake("This approval is about no task, so there is no lease to keep: leave lease_token out.")
    else:
        keep = functools.partial(client.tasks.heartbeat, task_id, lease_token)
        waiting = Waiting(share_seconds=_SHARE_SECONDS, before_each=keep)
    return waiting.until_settled(client.approvals, approval, seconds)
