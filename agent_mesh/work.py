"""A task in the hands of its holder: what is to be done, whether it is still wanted, and how far it is."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from agent_mesh import agreement
from agent_mesh.agreement import NotApproved
from agent_mesh.client import Client
from agent_mesh.problems import MeshError
from agent_mesh.shapes import Approval, ClaimedTask, Progress

NotAgreed = NotApproved
"""The name that NotApproved has in handlers that were written before it."""

_SHARE_SECONDS = 5
_PATIENCE_SECONDS = 300.0
_ALL = 100
_LONGEST_WAIT = 1.0
_LONGEST_MESSAGE = 4000


class NotWanted(MeshError):  # noqa: N818
    """Stop: the task was cancelled, its lease is lost, or the worker is to end. `why` says which, in words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class CannotDo(Exception):  # noqa: N818
    """What a handler raises where a task cannot be done; `retryable` where another attempt may fare better."""

    def __init__(self, code: str, message: str = "", *, retryable: bool = False) -> None:
        super().__init__(message or code)
        self.code, self.message, self.retryable = code, message or code, retryable


class Work:
    """What a handler is given. It may ask `wanted` at every step, and `check()` stops it where it is not."""

    def __init__(self, client: Client, task: ClaimedTask) -> None:
        self.client = client.traced(task["trace_id"])
        self.task = task
        self._unwanted = threading.Event()
        self._why = ""
        self._lost = False
        self._progress: Progress | None = None
        self._lock = threading.Lock()

    @property
    def data(self) -> dict[str, Any]:
        """What is needed to do it."""
        return self.task["data"]

    @property
    def context(self) -> dict[str, Any]:
        """What it belongs to."""
        return self.task["context"]

    @property
    def lease_token(self) -> str:
        """What the holder proves itself by. A secret: it belongs in no log."""
        return self.task["lease"]["token"]

    @property
    def wanted(self) -> bool:
        """Whether to go on."""
        return not self._unwanted.is_set()

    @property
    def lost(self) -> bool:
        """Whether the lease is gone: whatever is said of the task now, nobody takes it from this holder."""
        return self._lost

    def check(self) -> None:
        """Raises NotWanted where the work is to stop."""
        if not self.wanted:
            raise NotWanted(self._why)

    def wait(self, seconds: float) -> None:
        """Sleep, unless it is to stop before that: then raises NotWanted."""
        ends_at = time.monotonic() + seconds
        # A signal that comes right before a wait begins is heard only once that is over: so none is long.
        while self.wanted and (left := ends_at - time.monotonic()) > 0:
            self._unwanted.wait(min(_LONGEST_WAIT, left))
        self.check()

    def report(self, percent: float | None = None, message: str | None = None) -> None:
        """How far it is; told with the next heartbeat. What is not given stays as it was said.

        Raises ValueError for a percentage that is not from 0 to 100, or a message of more than 4,000 characters.
        """
        if percent is not None and not 0 <= percent <= _ALL:
            raise ValueError(f"percent is from 0 to {_ALL}, not {percent}.")
        if message is not None and len(message) > _LONGEST_MESSAGE:
            raise ValueError(f"message has {len(message)} characters, and may have {_LONGEST_MESSAGE}.")
        said: Progress = {}
        if percent is not None:
            said["percent"] = percent
        if message is not None:
            said["message"] = message
        with self._lock:
            self._progress = {**(self._progress or {}), **said}

    def agreement(
        self,
        approver_role: str,
        action: Mapping[str, Any],
        *,
        reason: str | None = None,
        required_approvals: int | None = None,
        expires_in_seconds: int | None = None,
        use_within_seconds: int | None = None,
    ) -> Approval:
        """Ask people for exactly this action, wait for them, and use their grant: do the action once this returns.

        A worker that is started again finds the request of the same task and action, open or granted, and does not ask
        again. A grant that was used before is not used again: people are asked again, and see what they agreed to
        before. The lease is kept while it waits.

        Raises NotApproved, which ends the task as failed unless the handler catches it, and NotWanted.
        """
        terms = agreement.Terms(
            approver_role=approver_role,
            reason=reason,
            task_id=self.task["task_id"],
            required_approvals=required_approvals,
            expires_in_seconds=expires_in_seconds,
            use_within_seconds=use_within_seconds,
        )
        waiting = agreement.Waiting(
            share_seconds=_SHARE_SECONDS,
            patience_seconds=_PATIENCE_SECONDS,
            before_each=self.check,
            pause=self.wait,
        )
        return agreement.obtain(self.client.approvals, action, terms, waiting)

    # What the worker tells, from other threads.

    def stop(self, why: str, *, lost: bool = False) -> None:
        """Let the handler know that it is to stop; the first reason stays, but for a lost lease."""
        if lost or self.wanted:
            self._why = why
        self._lost = self._lost or lost
        self._unwanted.set()

    def progress_to_tell(self) -> Progress | None:
        """What was reported since it was last asked."""
        with self._lock:
            said, self._progress = self._progress, None
        return said

    def progress_not_told(self, progress: Progress | None) -> None:
        """It is told the next time, but for what was reported since."""
        with self._lock:
            if progress:
                self._progress = {**progress, **(self._progress or {})}
