"""Keeping a lease while its task is worked on: a thread that sends heartbeats, and hears what comes back."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from agent_mesh.calls.tasks import Tasks
from agent_mesh.problems import MeshError, Refused
from agent_mesh.retrying import Retry
from agent_mesh.shapes import Kept, Progress
from agent_mesh.work import Work

_PASSING = (401, 429, 500, 502, 503, 504)
_NOT_TAKEN = (400, 413)
_logger = logging.getLogger(__name__)


class Keeper:
    """Sends a heartbeat at once and then every so many seconds, for as long as the block runs.

    The first one tells the service that the task arrived: a lease that nobody used is a lost delivery and no attempt.

    A cancel that is asked for, or a lease that is gone, is told to the work. While the service cannot be reached it
    goes on trying, and takes the lease for lost once it has run out by this machine's clock. Whether it has is for the
    service to say: what comes too late is refused there.
    """

    def __init__(self, work: Work, lease_seconds: float, every_seconds: float) -> None:
        self._work, self._lasts = work, lease_seconds
        self._interval = every_seconds
        # One attempt each, not longer than until the next: the loop here is what tries again.
        self._tasks = work.client.trying(Retry(attempts=1), timeout=max(1.0, every_seconds)).tasks
        self._ends_at = time.monotonic() + lease_seconds
        self._over = threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{work.task['task_id']}", daemon=True)

    def __enter__(self) -> "Keeper":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def instead(self, call: Callable[[Tasks], object]) -> None:
        """Say something else while no heartbeat is on its way, and send none once it is taken: it would be too late.

        It has one attempt, as a heartbeat has: between two of them the lease is kept.
        """
        with self._turn:
            call(self._tasks)
            self._over.set()

    def _keep(self) -> None:
        pause = 0.0
        while not self._over.wait(pause) and not self._work.lost:
            with self._turn:
                pause = self._interval if self._over.is_set() or self._beat() else min(1.0, self._interval / 3)

    def _beat(self) -> bool:
        """One heartbeat; whether it arrived."""
        sent_at, progress = time.monotonic(), self._work.progress_to_tell()
        try:
            called_off = self._send(progress)["cancel_requested"]
        except Exception as error:
            # Whatever it is, the thread lives on: without it the lease would run out, and nobody would hear of it.
            if isinstance(error, Refused) and error.status not in _PASSING:
                self._work.stop(f"The lease is gone: {error.slug or error.status}.", lost=True)
            elif time.monotonic() >= self._ends_at:
                self._work.stop("The lease ran out while the service could not be reached.", lost=True)
            else:
                trace = None if isinstance(error, MeshError) else error
                task_id = self._work.task["task_id"]
                _logger.warning("A heartbeat of task %s did not arrive: %s", task_id, error, exc_info=trace)
                self._work.progress_not_told(progress)
            return False
        self._ends_at = sent_at + self._lasts
        if called_off:
            self._work.stop("The task was called off.")
        return True

    def _send(self, progress: Progress | None) -> Kept:
        """With the progress, or without one that the service will not have: the lease matters more."""
        task_id, lease_token = self._work.task["task_id"], self._work.lease_token
        try:
            return self._tasks.heartbeat(task_id, lease_token, progress=progress)
        except (Refused, TypeError, ValueError) as error:
            if not progress or (isinstance(error, Refused) and error.status not in _NOT_TAKEN):
                raise
            _logger.warning("The progress of task %s is not taken: %s", task_id, error)
        return self._tasks.heartbeat(task_id, lease_token)
