"""People's agreement to one act: request it, or find the request of an earlier call, wait for it, and use it once.

The service compares actions by their digest (SHA-256 of the canonical JSON) and refuses a second live request for the
same action of the same subject with 409 `already-requested`, which names the live one. So a request is found by making
it: a process that was killed while it waited makes the same call again and goes on with the same request.
"""

import copy
import functools
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, cast

from agent_mesh.calls.approvals import Approvals
from agent_mesh.connection import new_key
from agent_mesh.filters import Id
from agent_mesh.problems import IN_FLIGHT, MeshError, Refused, Unreachable
from agent_mesh.shapes import Approval, Earlier

PENDING: Literal["pending"] = "pending"
LAPSED = "lapsed"

_OUTCOMES = {"already-consumed": "consumed", "approval-lapsed": LAPSED}
_AWAY = (429, 500, 502, 503, 504)
_LONGEST_PAUSE_SECONDS = 10.0
_AT_ONCE_SECONDS = 1.0
_MAX_REPLACEMENTS = 10
_MAX_SEARCHED = 500


class NotApproved(MeshError):  # noqa: N818
    """People did not agree to an action, or their agreement cannot be used: the action must not be done.

    `outcome` says how the request ended: `rejected`, `expired`, `cancelled`; `pending` where the time was up first, so
    that the next call finds the open request; `consumed` where another call used the grant; `lapsed` where the grant
    was not used in time; `already-requested` where another requester, another role or fewer people are asked about the
    same action; else the kind of the refusal, such as `forbidden` or `deadline-exceeded`.

    `approval` is the request as it was last seen; None where this caller may not see it.
    """

    def __init__(self, outcome: str, message: str, *, approval_id: str, approval: Approval | None) -> None:
        super().__init__(message)
        self.outcome, self.approval_id, self.approval = outcome, approval_id, approval


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Who has to agree, about which task or in which session, and for how long a request and a grant are good."""

    approver_role: str
    reason: str | None = None
    task_id: Id | None = None
    session_id: Id | None = None
    required_approvals: int | None = None
    expires_in_seconds: int | None = None
    use_within_seconds: int | None = None


def _nothing() -> None:
    """Do nothing before a poll."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How to wait for people: by long polls of `share_seconds`, each after `before_each`, which may raise to stop.

    A service that is away is asked again for `patience_seconds`, after pauses that double up to ten seconds.
    """

    share_seconds: int = 20
    patience_seconds: float = 0.0
    before_each: Callable[[], object] = _nothing
    pause: Callable[[float], object] = time.sleep

    def until_settled(self, approvals: Approvals, approval: Approval, seconds: float) -> Approval:
        """Return a request once it is settled or past its time, or as it is when the seconds are over."""
        ends_at = time.monotonic() + seconds
        while is_open(approval):
            self.before_each()
            polled_at = time.monotonic()
            if polled_at >= ends_at:
                break
            seen, left = approval, ends_at - polled_at
            share = max(1, int(min(self.share_seconds, left)))
            poll = functools.partial(approvals.wait, seen["approval_id"], version=seen["version"], seconds=share)
            approval = self.persist(poll, left)
            now = time.monotonic()
            if approval["version"] == seen["version"] and now - polled_at < _AT_ONCE_SECONDS:
                # Too many callers wait already, so the service answered at once.
                self.pause(min(_AT_ONCE_SECONDS, max(0.0, ends_at - now)))
        return approval

    def persist(self, call: Callable[[], Approval], seconds: float = math.inf) -> Approval:
        """Make a call, and again while the service is away. Raise MeshError once patience or the seconds are over."""
        gives_up_at = time.monotonic() + min(self.patience_seconds, seconds)
        failures = 0
        while True:
            try:
                return call()
            except (Refused, Unreachable) as error:
                if not _is_away(error) or time.monotonic() >= gives_up_at:
                    raise
            failures += 1
            longest = min(_LONGEST_PAUSE_SECONDS, 0.25 * 2**failures)
            self.pause(random.uniform(0.5, 1) * longest)  # noqa: S311  it spreads callers
            self.before_each()


def _is_away(error: Refused | Unreachable) -> bool:
    """Return whether the same call may succeed later."""
    return isinstance(error, Unreachable) or error.status in _AWAY or error.slug == IN_FLIGHT


def is_open(approval: Approval) -> bool:
    """Return whether people can still decide a request: it is pending and not past its time."""
    return approval["status"] == PENDING and "approved" in approval["allowed_transitions"]


def obtain(
    approvals: Approvals,
    action: Mapping[str, Any],
    terms: Terms,
    waiting: Waiting,
    timeout_seconds: float | None = None,
) -> Approval:
    """Return the consumed grant for exactly this action: the caller does the action now, once.

    Uses the live request for the same action of the same task, session or requester if there is one, else makes one.
    A grant that lapses before it can be used is requested again, once. Without a timeout it waits until the request is
    settled or expires.

    Raises NotApproved, and MeshError for calls that fail.
    """
    ends_at = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
    # A caller may change its own copy while people read theirs.
    attempt = _Attempt(approvals, copy.deepcopy(dict(action)), terms, waiting, ends_at)
    try:
        return attempt.run()
    except NotApproved as why:
        if why.outcome != LAPSED:
            raise
    return attempt.run()


@dataclass(frozen=True)
class _Attempt:
    """One way from the request to the consumed grant."""

    approvals: Approvals
    action: dict[str, Any]
    terms: Terms
    waiting: Waiting
    ends_at: float

    def run(self) -> Approval:
        approval = self._settled(self._requested())
        if approval["status"] != "approved":
            raise _not_approved(approval)
        self.waiting.before_each()
        return self._consumed(approval)

    def _requested(self) -> Approval:
        """Return a new request, or the live one for the same action. Raises NotApproved."""
        terms = self.terms
        request = functools.partial(
            self.approvals.request,
            terms.task_id,
            terms.approver_role,
            session_id=terms.session_id,
            action=self.action,
            reason=terms.reason,
            required_approvals=terms.required_approvals,
            expires_in_seconds=terms.expires_in_seconds,
            use_within_seconds=terms.use_within_seconds,
            idempotency_key=new_key(),
        )
        try:
            return self.waiting.persist(request, self.ends_at - time.monotonic())
        except Refused as refusal:
            if refusal.slug == "already-rejected":
                raise self._rejected_before(refusal) from refusal
            if refusal.slug != "already-requested":
                raise
            return self._live(str(refusal.problem.members["approval_id"]))

    def _live(self, approval_id: str) -> Approval:
        """Return the live request, if it is one that these terms would have made. Raises NotApproved."""
        named = self._seen(approval_id)
        if named is not None and self._is_enough(named):
            return named
        if named is not None and self.terms.task_id is not None:
            # A task may have been created with requests to several roles for one action.
            found = self.approvals.page(
                1, 100, task_id=self.terms.task_id, status=[PENDING, "approved"], approver_role=self.terms.approver_role
            )
            for one in found["approvals"]:
                same = one["action_digest"] == named["action_digest"]
                if same and one["consumed_at"] is None and self._is_enough(one):
                    return one
        asked = f"{named['required_approvals']} of {named['approver_role']}" if named else "for another requester"
        message = f"Approval {approval_id} asks {asked} about the same action. Wait until it is settled, or cancel it."
        raise NotApproved("already-requested", message, approval_id=approval_id, approval=named)

    def _is_enough(self, approval: Approval) -> bool:
        """Return whether a request asks as many people of the same role, itself or by the one that it replaced."""
        if approval["required_approvals"] < (self.terms.required_approvals or 1):
            return False
        current: Approval | None = approval
        for _ in range(_MAX_REPLACEMENTS):
            if current is None or current["approver_role"] == self.terms.approver_role:
                return current is not None
            current = self._seen(current["replaces"]) if current["replaces"] else None
        return False

    def _settled(self, approval: Approval) -> Approval:
        """Wait. Where an operator replaces the request in that time, wait for the replacement."""
        for _ in range(_MAX_REPLACEMENTS):
            approval = self.waiting.until_settled(self.approvals, approval, self.ends_at - time.monotonic())
            replacement = self._replacement(approval) if approval["status"] == "cancelled" else None
            if replacement is None:
                break
            approval = replacement
        return approval

    def _replacement(self, approval: Approval) -> Approval | None:
        later = self.approvals.walk(
            task_id=approval["task_id"], session_id=approval["session_id"], created_after=approval["created_at"]
        )
        return next((one for one in islice(later, _MAX_SEARCHED) if one["replaces"] == approval["approval_id"]), None)

    def _consumed(self, approval: Approval) -> Approval:
        """Use the grant, under a key of this call's own: two calls that find the same grant do not both use it."""
        approval_id = approval["approval_id"]
        consume = functools.partial(self.approvals.consume, approval_id, self.action, idempotency_key=new_key())
        try:
            return self.waiting.persist(consume)
        except Refused as refusal:
            if refusal.status not in (403, 409) or refusal.slug == IN_FLIGHT:
                raise
            outcome = _OUTCOMES.get(refusal.slug, refusal.slug)
            message = f"Approval {approval_id} cannot be used: {refusal}"
            raise NotApproved(outcome, message, approval_id=approval_id, approval=approval) from refusal

    def _rejected_before(self, refusal: Refused) -> NotApproved:
        rejected = cast(Earlier, refusal.problem.members["rejected"])
        approval_id = rejected["approval_id"]
        message = f"{_rejection(approval_id, rejected['deciders'], rejected['comments'])} An operator can reopen it."
        return NotApproved("rejected", message, approval_id=approval_id, approval=self._seen(approval_id))

    def _seen(self, approval_id: str) -> Approval | None:
        """Return a request, or None where this caller may not see it."""
        try:
            return self.approvals.get(approval_id)
        except Refused as refusal:
            if refusal.status != 404:
                raise
            return None


def _not_approved(approval: Approval) -> NotApproved:
    """Return what a request without a grant means for the action."""
    approval_id, outcome = approval["approval_id"], str(approval["status"])
    if outcome == PENDING and not is_open(approval):
        outcome = "expired"
    message = f"Approval {approval_id} is {outcome}."
    if outcome == "rejected":
        no = [one for one in approval["decisions"] if one["decision"] == "rejected" and one["set_aside_at"] is None]
        message = _rejection(approval_id, [one["decider"] for one in no], " ".join(one["comments"] for one in no))
    elif outcome == PENDING:
        message = f"Approval {approval_id} is pending: {approval['approver_role']} has not decided. It stays open."
    return NotApproved(outcome, message, approval_id=approval_id, approval=approval)


def _rejection(approval_id: str, deciders: list[str], comments: str) -> str:
    who = f" by {', '.join(deciders)}" if deciders else ""
    return f"Approval {approval_id} is rejected{who}: {comments or 'no comments.'}"
