"""A worker: claims tasks, keeps their leases, hands them to the function that knows how, and says how they ended."""

import logging
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from types import FrameType
from typing import Any

from agent_mesh import agreement, ending
from agent_mesh.client import Client
from agent_mesh.connection import new_key
from agent_mesh.keeping import Keeper
from agent_mesh.problems import MeshError, NoToken, Refused, Unreachable
from agent_mesh.shapes import ClaimedTask
from agent_mesh.work import CannotDo, NotWanted, Work

Handler = Callable[[Work], Mapping[str, Any] | None]

_PASSING = (429, 500, 502, 503, 504)
_NO_TOKEN = 401
_NO_SIGNAL = 0
_MOST_TYPES = 20
_AT_ONCE_SECONDS = 1.0
_LONGEST_PAUSE = 30.0
_logger = logging.getLogger(__name__)


class Worker:
    """Works on tasks of some roles and types, one at a time; run more processes for more.

    A handler returns the task's output. It raises CannotDo where the task cannot be done; any other exception fails
    this attempt, and another may follow. `lease_seconds` (10 to 3600) is for how long the service waits for a sign of
    life, which is given every `heartbeat_seconds`, a third of that unless given; `wait_seconds` (0 to 30) for how long
    a claim waits for something to do, and so the longest that an idle worker takes to end; `grace_seconds` how long a
    handler may go on once the worker is to end, before it is told to stop.
    """

    def __init__(
        self,
        client: Client,
        *,
        roles: Sequence[str] | None = None,
        lease_seconds: int = 60,
        heartbeat_seconds: float | None = None,
        wait_seconds: int = 10,
        grace_seconds: float = 20.0,
    ) -> None:
        self._client, self._roles = client, roles
        self._lease_seconds, self._heartbeat_seconds = lease_seconds, heartbeat_seconds or lease_seconds / 3
        self._wait_seconds, self._grace_seconds = wait_seconds, grace_seconds
        self._handlers: dict[str, Handler] = {}
        self._stopping = threading.Event()
        self._work: Work | None = None

    def handles(self, *task_types: str) -> Callable[[Handler], Handler]:
        """A decorator: the function does tasks of these types."""

        def register(handler: Handler) -> Handler:
            for task_type in task_types:
                if task_type in self._handlers:
                    raise ValueError(f"Tasks of the type {task_type!r} have a handler already.")
                self._handlers[task_type] = handler
            return handler

        return register

    def run(self) -> None:
        """Work until SIGTERM, SIGINT or `stop()`: then claim no more, end what is at hand, and return.

        Raises Refused where the service will not have this worker: a wrong role, or a token that it takes for none;
        ValueError where nothing is handled.
        """
        self._insist_on_handlers()
        with self._until_signalled():
            failures, former = 0, 0
            while not self._stopping.is_set():
                asked_at = time.monotonic()
                try:
                    done = self._claim_and_do(self._wait_seconds)
                except MeshError as error:
                    status = error.status if isinstance(error, Refused) else 0
                    # A token may have ended, and another be had: once.
                    if not _may_pass(error) and not (status == _NO_TOKEN != former):
                        raise
                    failures, former = failures + 1, status
                    _logger.warning("Nothing can be claimed at the moment: %s", error)
                    self._stopping.wait(random.uniform(0.5, 1) * min(_LONGEST_PAUSE, 0.5 * 2**failures))  # noqa: S311
                    continue
                failures, former = 0, 0
                if not done and time.monotonic() - asked_at < _AT_ONCE_SECONDS:
                    # Too many wait already, or waiting is off: the answer came at once.
                    self._stopping.wait(random.uniform(0.5, 1) * _AT_ONCE_SECONDS)  # noqa: S311

    def run_until_empty(self) -> int:
        """Do what there is now, without waiting for more; how many tasks that were. Raises MeshError and ValueError."""
        self._insist_on_handlers()
        done = 0
        with self._until_signalled():
            while not self._stopping.is_set() and self._claim_and_do(0):
                done += 1
        return done

    def stop(self) -> None:
        """Claim no more; what is at hand may go on for `grace_seconds`. Any thread may say so."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        threading.Thread(target=self._end_grace, name="grace", daemon=True).start()

    def _insist_on_handlers(self) -> None:
        if not 0 < len(self._handlers) <= _MOST_TYPES:
            raise ValueError(f"A worker handles 1 to {_MOST_TYPES} types of tasks, not {len(self._handlers)}.")

    def _end_grace(self) -> None:
        work = self._work
        if work is not None:
            time.sleep(self._grace_seconds)
            work.stop("The worker is to end.")

    def _claim_and_do(self, wait_seconds: int) -> bool:
        """Whether there was one."""
        tasks = self._client.tasks.claim(
            roles=self._roles,
            task_types=list(self._handlers),
            lease_seconds=self._lease_seconds,
            wait_seconds=wait_seconds,
        )
        for task in tasks:
            self._do(task)
        return bool(tasks)

    def _do(self, task: ClaimedTask) -> None:
        """Hand it to its handler and tell the service how it ended; no exception of a handler gets past here."""
        self._work = work = Work(self._client, task)
        _logger.info("Task %s, a %s, is begun, attempt %s.", task["task_id"], task["task_type"], task["attempt"])
        try:
            with Keeper(work, self._lease_seconds, self._heartbeat_seconds) as keeper:
                ending.tell(work, keeper, self._ending(work))
        except KeyboardInterrupt:
            with suppress(MeshError):
                ending.released(work)(work.client.tasks, new_key())
            raise
        finally:
            self._work = None

    def _ending(self, work: Work) -> ending.Ending:
        """Run the handler: what to tell the service of it."""
        try:
            if self._stopping.is_set():
                return ending.released(work)
            output = self._handlers[work.task["task_type"]](work)
        except NotWanted:
            return ending.released(work)
        except CannotDo as why:
            return ending.failed(work, why)
        except agreement.NotApproved as why:
            # Another attempt finds a request that is open still.
            is_open = why.outcome == agreement.PENDING
            return ending.failed(work, CannotDo(f"approval-{why.outcome}", str(why), retryable=is_open))
        except Exception as error:
            _logger.exception("The handler of task %s failed.", work.task["task_id"])
            return ending.failed(work, CannotDo("handler-failed", f"{type(error).__name__}: {error}", retryable=True))
        return ending.completed(work, output)

    @contextmanager
    def _until_signalled(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the worker, where this is the main thread; a second one interrupts it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        # The signal may come while this thread holds a lock, that of `_stopping` say: its handler takes none, and
        # leaves the rest to another thread. SimpleQueue.put() may be called from a signal's handler.
        signals: SimpleQueue[int] = SimpleQueue()
        signalled = False

        def stop(number: int, _frame: FrameType | None) -> None:
            nonlocal signalled
            if signalled:
                raise KeyboardInterrupt
            signalled = True
            signals.put(number)

        def listen() -> None:
            if number := signals.get():
                self.stop()
                _logger.info("%s: no more is claimed.", signal.Signals(number).name)

        threading.Thread(target=listen, name="signals", daemon=True).start()
        former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
            signals.put(_NO_SIGNAL)


def _may_pass(error: MeshError) -> bool:
    """Whether waiting may help."""
    if isinstance(error, Refused):
        return error.status in _PASSING
    return isinstance(error, Unreachable | NoToken)
