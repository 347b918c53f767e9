"""The keys of an issuer (RFC 7517): fetched when needed, kept while it is away, and not fetched for every stranger."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt

_FRESH_SECONDS = 600.0
_STALE_SECONDS = 86_400.0
_PAUSE_SECONDS = 30.0
_TIMEOUT_SECONDS = 2.0


class KeysAway(Exception):  # noqa: N818
    """No key is known, and the issuer cannot be asked."""


class Keys:
    """Fresh for ten minutes, usable for a day while the issuer is away; fetched at most once in 30 seconds."""

    def __init__(
        self,
        issuer: str,
        url: str = "",
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer, self._url, self._clock = issuer.rstrip("/"), url, clock
        self._transport = transport
        self._lock = threading.Lock()
        self._known: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = -_STALE_SECONDS

    def key(self, kid: str) -> jwt.PyJWK | None:
        """The key of that id, None where the issuer has none. Raises KeysAway."""
        with self._lock:
            age = self._clock() - self._fetched_at
            if (kid not in self._known or age > _FRESH_SECONDS) and self._clock() - self._tried_at > _PAUSE_SECONDS:
                self._fetch()
                age = self._clock() - self._fetched_at
            if age > _STALE_SECONDS or not self._known:
                raise KeysAway(f"The keys of {self._issuer} are not to be had.")
            return self._known.get(kid)

    def _fetch(self) -> None:
        """What goes wrong leaves the keys as they were."""
        self._tried_at = self._clock()
        try:
            url = self._url or str(self._json(f"{self._issuer}/.well-known/openid-configuration")["jwks_uri"])
            listed = self._json(url)["keys"]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
            return
        self._known = {kid: key for kid, key in map(_usable, listed) if key is not None}
        self._fetched_at = self._clock()

    def _json(self, url: str) -> dict[str, Any]:
        # Once in minutes: no connection is kept for that long.
        with httpx.Client(transport=self._transport, timeout=_TIMEOUT_SECONDS, follow_redirects=False) as http:
            answer = http.get(url)
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"{url} answers {answer.status_code}")
        document = answer.json()
        if not isinstance(document, dict):
            raise TypeError(f"{url} answers no object")
        return document


def _usable(document: Any) -> tuple[str, jwt.PyJWK | None]:
    """A key's id, and the key where signatures are checked with it."""
    try:
        kid = str(document["kid"])
        if document.get("use", "sig") != "sig" or document["kty"] not in ("RSA", "EC", "OKP"):
            return kid, None
        return kid, jwt.PyJWK(document)
    except (KeyError, TypeError, AttributeError, jwt.PyJWTError):
        return "", None
