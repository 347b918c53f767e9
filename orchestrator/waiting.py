"""Callers that wait for something: they sleep, and one thread of the process looks for all of them.

A waiting caller holds no transaction and no database connection. At most so many wait at once, so that threads are left
for other calls, and one subject has at most a quarter of the places. A caller that hangs up gives its place back. When
the process is told to stop, all are woken.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connection

from orchestrator.boundary import is_away
from orchestrator.fair_shares import FairShares
from orchestrator.hang_ups import CallerHungUp

Demand = Hashable
"""What somebody waits for, in the words of whoever looks."""

Look = Callable[[Mapping[Demand, int]], Mapping[Demand, int]]
"""From how many wait for each demand to how many of them have something to come back for."""

Sleep = Callable[[float], None]
"""Sleep for so many seconds at most."""

PAUSE_SECONDS = 0.2
"""How long after one look comes the next."""

log = logging.getLogger(__name__)


class TooManyWait(Exception):  # noqa: N818  the caller is answered at once instead
    """As many wait as may, in all or for this subject, or the process is about to end."""


@dataclass(eq=False, slots=True)
class _Waiter:
    demands: Collection[Demand]
    hung_up: Callable[[], bool]
    woken: threading.Event = field(default_factory=threading.Event)
    asleep: bool = False


class Waiters:
    """Those who wait in this process, first come first served."""

    def __init__(self, look: Look, *, most: int, pause: float = PAUSE_SECONDS) -> None:
        self._look, self._pause = look, pause
        self._shares = FairShares(most)
        self._places: list[_Waiter] = []
        self._changed = threading.Condition()
        self._looker: threading.Thread | None = None
        self._stopping: Callable[[], bool] = lambda: False
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A forked process has nobody who waits, no thread that looks, and a lock that may never come free."""
        self._places, self._changed, self._looker = [], threading.Condition(), None

    def stop_when(self, stopping: Callable[[], bool]) -> None:
        """From when on nobody waits any more."""
        self._stopping = stopping

    @contextmanager
    def place(self, demands: Collection[Demand], subject: Hashable, hung_up: Callable[[], bool]) -> Iterator[Sleep]:
        """Keep a place in the queue for as long as the block runs, also for a waiter that is woken in vain.

        `subject` has at most a quarter of the places; `hung_up` says whether the caller has closed the connection.
        Yields how to sleep until one of the demands may be met, for so many seconds at most. A sleep gives the thread's
        database connection back first. The caller has to look whether the demand is met: another may have been quicker.

        Raises TooManyWait where there is no place, and out of a sleep that would begin when the process is to end.
        Raises CallerHungUp out of a sleep whose caller is gone. Raises RuntimeError inside a transaction, which the
        sleep would end.
        """
        if not self._shares.acquire(subject):
            raise TooManyWait
        waiter = _Waiter(demands, hung_up)
        try:
            with self._changed:
                self._places.append(waiter)
            yield lambda seconds: self._sleep(waiter, seconds)
        finally:
            with self._changed:
                self._places.remove(waiter)
            self._shares.release(subject)

    def _sleep(self, waiter: _Waiter, seconds: float) -> None:
        if connection.in_atomic_block:
            raise RuntimeError("Waiting inside a transaction.")
        if self._stopping():
            raise TooManyWait
        connection.close()
        with self._changed:
            waiter.woken.clear()
            waiter.asleep = True
            self._start()
            self._changed.notify()
        until = time.monotonic() + seconds
        # Each waiter checks for the end of the process itself: a query to a database that hangs must not delay it.
        while (left := until - time.monotonic()) > 0 and not self._stopping():
            if waiter.woken.wait(min(left, self._pause)):
                break
            if waiter.hung_up():
                raise CallerHungUp
        waiter.asleep = False

    def _start(self) -> None:
        """The thread that looks, started where it is first needed: a forked worker has none of its parent's."""
        if self._looker is None or not self._looker.is_alive():
            self._looker = threading.Thread(target=self._watch, name="waiting", daemon=True)
            self._looker.start()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not (asked := self._asked()):
                    # Nobody waits: no connection is kept for them either.
                    connection.close()
                    self._changed.wait()
            self._wake(self._found(asked))
            time.sleep(self._pause)

    def _asked(self) -> dict[Demand, int]:
        asked: dict[Demand, int] = {}
        for waiter in self._places:
            for demand in waiter.demands if waiter.asleep else ():
                asked[demand] = asked.get(demand, 0) + 1
        return asked

    def _found(self, asked: Mapping[Demand, int]) -> Mapping[Demand, int]:
        """What there is for whom."""
        try:
            return self._look(asked)
        except Exception as error:
            # Who waits goes on waiting, and meets the database itself in the end.
            connection.close()
            log.warning("looking for those who wait failed", exc_info=None if is_away(error) else error)
            return {}

    def _wake(self, found: Mapping[Demand, int]) -> None:
        """Only as many as there is something for: a crowd that came for one thing would leave all but one empty."""
        left = dict(found)
        with self._changed:
            for waiter in self._places:
                met = next((demand for demand in waiter.demands if left.get(demand)), None)
                if met is None or not waiter.asleep:
                    continue
                left[met] -= 1
                waiter.asleep = False
                waiter.woken.set()
