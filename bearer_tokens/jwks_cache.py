"""An issuer's signing keys, cached: fresh for ten minutes, usable for a day while the issuer is away.

PyJWT's own client drops its keys when a refresh fails. Here a key that was good stays good until it is too old.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from jwt import PyJWK, PyJWKSet, PyJWTError

from bearer_tokens.discovery import FETCH_ERRORS

FRESH_SECONDS = 600
STALE_SECONDS = 24 * 3600
UNKNOWN_SECONDS = 30

log = logging.getLogger(__name__)


class KeysUnavailable(Exception):  # noqa: N818  the issuer's trouble, not an error of ours
    """No key of an issuer is known, and the issuer cannot be reached. Try again after `retry_after` seconds."""

    retry_after = UNKNOWN_SECONDS


class KeyCache:
    """The keys of one issuer by id. `fetch` returns the issuer's key set (RFC 7517, section 5) or raises."""

    def __init__(self, fetch: Callable[[], dict[str, Any]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        # One fetch at a time: other threads wait for it, or use the keys that are known.
        self._flight = threading.Lock()

    def key(self, kid: str) -> PyJWK | None:
        """Return the key of an id, or None where the issuer has no such key.

        A known key is returned at once; once the keys are no longer fresh, a thread of its own fetches newer ones. An
        unknown id causes at most one fetch in thirty seconds, however many callers name one.

        Raises KeysUnavailable where no key is known at all and the issuer cannot be reached.
        """
        if self._age() > STALE_SECONDS:
            self._keys = {}
        known = self._keys.get(kid)
        if known is not None:
            if self._age() > FRESH_SECONDS and self._may_try():
                threading.Thread(target=self._refresh, daemon=True).start()
            return known
        if self._may_try() or self._flight.locked():
            self._refresh()
        if not self._keys:
            raise KeysUnavailable("No key of the issuer is known, and the issuer cannot be reached.")
        return self._keys.get(kid)

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    def _may_try(self) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= UNKNOWN_SECONDS

    def _refresh(self) -> None:
        """Fetch the keys, unless another thread fetched them while this one waited. Keep the old ones on failure."""
        with self._flight:
            if not self._may_try():
                return
            self._tried_at = self._clock()
            try:
                keys = _usable(self._fetch())
            except (*FETCH_ERRORS, PyJWTError) as error:
                log.warning("keys could not be fetched", extra={"why": f"{type(error).__name__}: {error}"})
                return
            self._keys, self._fetched_at = keys, self._clock()


def _usable(document: dict[str, Any]) -> dict[str, PyJWK]:
    """Return the keys that have an id. Raise ValueError where none has: such an answer replaces no good key."""
    keys = {key.key_id: key for key in PyJWKSet.from_dict(document).keys if key.key_id}
    if not keys:
        raise ValueError("no key has an id")
    return keys
