"""Slots of one process, of which no subject holds more than its share."""

import os
import threading
from collections import Counter
from collections.abc import Hashable
from queue import Empty, SimpleQueue

SUBJECTS_SERVED = 4
"""How many subjects can hold slots at least, where there are as many slots: each holds a quarter at most."""


class FairShares:
    """A number of slots for subjects. One subject holds at most a quarter of them, but always may hold one."""

    def __init__(self, slots: int) -> None:
        self._slots, self._share = slots, max(1, slots // SUBJECTS_SERVED)
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """Start empty in a forked process, which has none of its parent's threads."""
        self._held: Counter[Hashable] = Counter()
        self._given_back: SimpleQueue[Hashable] = SimpleQueue()
        self._lock = threading.Lock()

    def has_reached_share(self, subject: Hashable) -> bool:
        """Return whether the subject holds as many slots as one subject may."""
        with self._lock:
            self._take_back()
            return self._held[subject] >= self._share

    def acquire(self, subject: Hashable) -> bool:
        """Take a slot for the subject and return True, or return False where none is free for it."""
        with self._lock:
            self._take_back()
            if self._held.total() >= self._slots or self._held[subject] >= self._share:
                return False
            self._held[subject] += 1
            return True

    def release(self, subject: Hashable) -> None:
        """Give back a slot that `acquire` took for the subject.

        Takes no lock: a finaliser may call it in the middle of `acquire`, in the thread that has the lock.
        """
        self._given_back.put(subject)

    def _take_back(self) -> None:
        while True:
            try:
                subject = self._given_back.get_nowait()
            except Empty:
                return
            self._held[subject] -= 1
            if not self._held[subject]:
                del self._held[subject]
