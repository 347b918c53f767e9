"""Tokens that were verified a moment ago: known by their hash, never past their end."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

MOST = 4096
LONGEST_SECONDS = 60
"""So that a key which its issuer withdraws stops working within a minute."""

T = TypeVar("T")


class Remembered(Generic[T]):
    """What was found in a token, by the token's SHA-256. The token itself is not kept."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._found: OrderedDict[bytes, tuple[float, T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, token: str) -> T | None:
        """What was found in it, if that still stands."""
        with self._lock:
            until, found = self._found.get(_digest(token), (0.0, None))
        return found if self._clock() < until else None

    def put(self, token: str, found: T, *, expires_at: float) -> None:
        """Remember it until it expires, a minute at most; the oldest goes where there are too many."""
        with self._lock:
            self._found[_digest(token)] = (min(expires_at, self._clock() + LONGEST_SECONDS), found)
            while len(self._found) > MOST:
                self._found.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
