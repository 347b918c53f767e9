"""Callers that wait for something: they sleep, and one thread of the process looks for all of them.

Whoever waits holds no transaction and no connection. At most so many wait at once, so that threads are left for others;
when the process is told to stop, all are woken.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field

from django.db import connection

from orchestrator.boundary import is_away

Demand = Hashable
"""What somebody waits for, in the words of whoever looks."""

Look = Callable[[Mapping[Demand, int]], Mapping[Demand, int]]
"""From how many wait for each demand to how many of them have something to come back for."""

PAUSE_SECONDS = 0.2
"""How long after one look comes the next."""

log = logging.getLogger(__name__)


class TooManyWait(Exception):  # noqa: N818  the caller is answered at once instead
    """As many wait as may, or the process is about to end."""


@dataclass(eq=False, slots=True)
class _Waiter:
    demands: Collection[Demand]
    woken: threading.Event = field(default_factory=threading.Event)


class Waiters:
    """Those who wait in this process, first come first served."""

    def __init__(self, look: Look, *, most: int, pause: float = PAUSE_SECONDS) -> None:
        self._look, self._most, self._pause = look, most, pause
        self._asleep: list[_Waiter] = []
        self._changed = threading.Condition()
        self._looker: threading.Thread | None = None
        self._stopping: Callable[[], bool] = lambda: False

    def stop_when(self, stopping: Callable[[], bool]) -> None:
        """From when on nobody waits any more."""
        self._stopping = stopping

    def wait(self, demands: Collection[Demand], seconds: float) -> None:
        """Sleep until one of these may be met, for `seconds` at most. Gives the thread's connection back first.

        Raises TooManyWait instead of sleeping. Whether there is something now, the caller has to see: another may have
        been quicker.
        """
        waiter = _Waiter(demands)
        with self._changed:
            if len(self._asleep) >= self._most or self._stopping():
                raise TooManyWait
            self._asleep.append(waiter)
            self._start()
            self._changed.notify()
        try:
            connection.close()
            waiter.woken.wait(seconds)
        finally:
            with self._changed:
                if waiter in self._asleep:
                    self._asleep.remove(waiter)

    def _start(self) -> None:
        """The thread that looks, started where it is first needed: a forked worker has none of its parent's."""
        if self._looker is None or not self._looker.is_alive():
            self._looker = threading.Thread(target=self._watch, name="waiting", daemon=True)
            self._looker.start()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._asleep:
                    # Nobody waits: no connection is kept for them either.
                    connection.close()
                    self._changed.wait()
                asked: dict[Demand, int] = {}
                for waiter in self._asleep:
                    for demand in waiter.demands:
                        asked[demand] = asked.get(demand, 0) + 1
            self._wake(self._found(asked))
            time.sleep(self._pause)

    def _found(self, asked: Mapping[Demand, int]) -> Mapping[Demand, int] | None:
        """What there is for whom; None where nobody is to wait any longer."""
        if self._stopping():
            return None
        try:
            return self._look(asked)
        except Exception as error:
            # Who waits goes on waiting, and meets the database itself in the end.
            connection.close()
            log.warning("looking for those who wait failed", exc_info=None if is_away(error) else error)
            return {}

    def _wake(self, found: Mapping[Demand, int] | None) -> None:
        """Only as many as there is something for: a crowd that came for one thing would leave all but one empty."""
        with self._changed:
            left = dict(found or {})
            for waiter in list(self._asleep):
                met = next((demand for demand in waiter.demands if left.get(demand)), None)
                if found is not None and met is None:
                    continue
                if met is not None:
                    left[met] -= 1
                self._asleep.remove(waiter)
                waiter.woken.set()
