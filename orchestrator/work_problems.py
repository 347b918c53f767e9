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
    """Your decision counts already: on this request, or on another one that the same task waits for.

    One person counts once, with all linked identities. Another person must decide. To decide this request yourself,
    withdraw the other decision first (`POST /approvals/{id}/withdraw`), while its request is open.
    """

    status = 409
    slug = "already-decided"
    title = "Your decision counts already"


class NoDecision(Problem):
    """You have no decision on this request that counts, so there is none to withdraw."""

    status = 409
    slug = "no-decision"
    title = "No decision to withdraw"


class AlreadyRequested(Problem):
    """The same action of the same task, session or requester has a request that is open, or granted and not consumed.

    `approval_id` names it. Wait for that request and consume its grant instead of asking again.
    """

    status = 409
    slug = "already-requested"
    title = "Already requested"

    def __init__(self, approval_id: str) -> None:
        super().__init__(f"Approval {approval_id} asks for the same.", members={"approval_id": approval_id})


class AlreadyRejected(Problem):
    """People rejected the same question before: the same task, session or requester, role and action.

    `rejected` shows that request: its outcome, its deciders, their comments and the time. An operator can reopen it by
    a new request that names it as `reopens` and gives a reason.
    """

    status = 409
    slug = "already-rejected"
    title = "Already rejected"

    def __init__(self, rejected: Mapping[str, object]) -> None:
        approval_id = rejected["approval_id"]
        detail = f"Approval {approval_id} was rejected. An operator can reopen it."
        super().__init__(detail, members={"approval_id": approval_id, "rejected": dict(rejected)})


class ApprovalLapsed(Problem):
    """The action was approved, but not consumed in time: within `use_within_seconds` after the approval.

    Request it again if it is still wanted.
    """

    status = 409
    slug = "approval-lapsed"
    title = "The grant has lapsed"


class TooManyOpenApprovals(Problem):
    """The task, the session or the requester has as many open requests as it may have: `limit`.

    Wait until some of them are settled, or cancel some. An action without a task can name a session, each of which has
    a limit of its own.
    """

    status = 409
    slug = "too-many-open-approvals"
    title = "Too many open requests"

    def __init__(self, limit: int) -> None:
        super().__init__(f"At most {limit} requests may be open.", members={"limit": limit})


class TooManyOpenSessions(Problem):
    """The task has as many open sessions as it may have: `limit`.

    Complete, fail or expire some of them first.
    """

    status = 409
    slug = "too-many-open-sessions"
    title = "Too many open sessions"

    def __init__(self, limit: int) -> None:
        super().__init__(f"At most {limit} sessions of a task may be open.", members={"limit": limit})


class NoApprover(Problem):
    """Too few known people can decide a request to this role, so that it would wait in vain.

    The service refuses such requests where its directory of people is complete (`APPROVER_DIRECTORY=people`).
    `known` says how many people can decide it, `needed` how many must approve.
    """

    status = 409
    slug = "no-approver"
    title = "Too few approvers"

    def __init__(self, role: str, known: int, needed: int) -> None:
        detail = f"{known} known people can decide a request to {role}; {needed} must approve."
        super().__init__(detail, members={"known": known, "needed": needed})


class StillDecidable(Problem):
    """Enough known people can decide the request, so an operator must not replace it.

    Ask those people to decide it. A request can be replaced when too few people can decide it.
    """

    status = 409
    slug = "still-decidable"
    title = "The request can still be decided"

    def __init__(self, role: str) -> None:
        super().__init__(f"Known people of {role} can decide it.")


class Retained(Problem):
    """People decided about the task or session, so it is kept: `retained_until` says until when.

    What was approved stays readable for that time (`APPROVAL_RETENTION_DAYS` after the end).
    """

    status = 409
    slug = "retained"
    title = "Retained for its approvals"

    def __init__(self, until: str) -> None:
        super().__init__(f"It can be deleted from {until} on.", members={"retained_until": until})


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
