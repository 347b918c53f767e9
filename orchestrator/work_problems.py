"""Refusals that the state of the work gives rise to: all are 409, and nothing was changed."""

from collections.abc import Mapping, Sequence

from orchestrator.problems import Problem


class IllegalTransition(Problem):
    """The current state does not allow that move.

    `from` is the state as it is, `to` the one asked for, `allowed` what is possible now. Terminal states are final:
    nothing leaves them. Nothing was changed.
    """

    status = 409
    slug = "illegal-transition"
    title = "The current state does not allow that"

    def __init__(self, *, before: str, to: str | None, allowed: Sequence[str]) -> None:
        detail = f"It is {before} and cannot become {to}." if to else f"It is {before}, which is final."
        super().__init__(detail, members={"from": before, "to": to, "allowed": list(allowed)})


class SessionExpired(Problem):
    """The session is past `expires_at`. Nothing but expiry is legal, whether or not the sweep has come by.

    Open a new session to go on.
    """

    status = 409
    slug = "session-expired"
    title = "The session is past its time"


class LeaseLost(Problem):
    """The token you sent is not that of the task's present lease: it ran out, ended, or was somebody else's.

    Stop working on the task: somebody else may hold it, or it is over. The call that ended an attempt is answered again
    if it is sent again as it was; any other call with that attempt's token is refused, and the refusal is recorded.
    """

    status = 409
    slug = "lease-lost"
    title = "The lease is not yours any more"


class DeadlineExceeded(Problem):
    """The task is past its `deadline`. It cannot be completed any more, whether or not the sweep has come by.

    Stop working on it: it fails, or is cancelled.
    """

    status = 409
    slug = "deadline-exceeded"
    title = "The task is past its deadline"


class ApprovalExpired(Problem):
    """The approval is past `expires_at`. It can never be approved any more, whether or not the sweep has come by.

    Ask anew, if it is still wanted.
    """

    status = 409
    slug = "approval-expired"
    title = "The approval is past its time"


class AlreadyDecided(Problem):
    """You have said yes to this approval before; it waits for others. Nobody counts twice."""

    status = 409
    slug = "already-decided"
    title = "You have decided that already"


class NoPendingApproval(Problem):
    """The task has no open approval for a role of yours."""

    status = 409
    slug = "no-pending-approval"
    title = "No approval of the task awaits you"


class SeveralPendingApprovals(Problem):
    """The task has several open approvals that you may decide: `approval_ids`. Decide each by its own id."""

    status = 409
    slug = "several-pending-approvals"
    title = "Several approvals of the task await you"

    def __init__(self, approval_ids: Sequence[str]) -> None:
        super().__init__(f"Say which: {', '.join(approval_ids)}.", members={"approval_ids": list(approval_ids)})


class ActionMismatch(Problem):
    """The action is not the one that was approved: their digests differ. Or the approval was for none.

    The digest is the SHA-256 of the action as canonical JSON (RFC 8785). Ask for approval of what you mean to do.
    """

    status = 409
    slug = "action-mismatch"
    title = "That is not what was approved"


class AlreadyConsumed(Problem):
    """The approved action was consumed before: what people agreed to is done once."""

    status = 409
    slug = "already-consumed"
    title = "The approval has been consumed already"


class StillReferenced(Problem):
    """Something points to the task: a session, or the task that retries it. `by` counts each kind.

    Delete those first, or let the session point elsewhere.
    """

    status = 409
    slug = "still-referenced"
    title = "Something still points to it"

    def __init__(self, by: Mapping[str, int]) -> None:
        told = ", ".join(f"{noun} {count}" for noun, count in by.items())
        super().__init__(f"Pointing to it: {told}.", members={"by": dict(by)})


class AlreadyRetried(Problem):
    """The failed task has been retried: `retry_id` is the task that does its work now.

    If that one failed too, retry it in its turn.
    """

    status = 409
    slug = "already-retried"
    title = "The task has been retried already"

    def __init__(self, retry_id: str) -> None:
        super().__init__(f"The task {retry_id} retries it.", members={"retry_id": retry_id})
