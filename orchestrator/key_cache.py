"""An issuer's signing keys, kept: fresh for ten minutes, usable for a day while the issuer is away.

PyJWT's own client drops what it has when a refresh fails; here a key that was good stays good until it is too old.
"""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

from jwt import PyJWK, PyJWKSet, PyJWTError

from orchestrator.problems import ServiceUnavailable

FRESH_SECONDS = 600
STALE_SECONDS = 24 * 3600
UNKNOWN_SECONDS = 30
TIMEOUT_SECONDS = 2
FORM_TIMEOUT_SECONDS = 5
MAX_DOCUMENT_BYTES = 1024 * 1024

log = logging.getLogger(__name__)


class KeyCache:
    """The keys of one issuer by id. `fetch` returns its key set (RFC 7517, section 5) or raises."""

    def __init__(self, fetch: Callable[[], dict[str, Any]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        # One fetch at a time: the others wait for it, or go on with what there is.
        self._flight = threading.Lock()

    def key(self, kid: str) -> PyJWK | None:
        """The key of that id, or None where the issuer has no such key.

        A known key is answered at once; past its freshness a thread of its own looks for newer ones. An unknown id is
        looked for at most once in thirty seconds, whoever asks.

        Raises ServiceUnavailable where no key is known at all and the issuer cannot be reached.
        """
        if self._age() > STALE_SECONDS:
            self._keys = {}
        found = self._keys.get(kid)
        if found is not None:
            if self._age() > FRESH_SECONDS and self._may_try():
                threading.Thread(target=self._refresh, daemon=True).start()
            return found
        if self._may_try() or self._flight.locked():
            self._refresh()
        if not self._keys:
            raise ServiceUnavailable("The identity provider cannot be reached.", retry_after=UNKNOWN_SECONDS)
        return self._keys.get(kid)

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    def _may_try(self) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= UNKNOWN_SECONDS

    def _refresh(self) -> None:
        """Fetch, unless somebody did while we waited for our turn. Keeps what there is if it fails."""
        with self._flight:
            if not self._may_try():
                return
            self._tried_at = self._clock()
            try:
                keys = _usable(self._fetch())
            except (OSError, HTTPException, ValueError, PyJWTError) as error:
                log.warning("keys could not be fetched", extra={"why": f"{type(error).__name__}: {error}"})
                return
            self._keys, self._fetched_at = keys, self._clock()


def _usable(document: dict[str, Any]) -> dict[str, PyJWK]:
    """The keys that have an id. Raises ValueError where there is none: such an answer takes no good key away."""
    keys = {key.key_id: key for key in PyJWKSet.from_dict(document).keys if key.key_id}
    if not keys:
        raise ValueError("no key has an id")
    return keys


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer we did not ask for."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        """Refuse it."""
        raise HTTPError(req.full_url, code, "redirected", headers, fp)


# No proxy of the environment's either: the address is the one that was configured.
_opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))
_ACCEPT = {"Accept": "application/json"}


def fetch_json(url: str) -> dict[str, Any]:
    """A JSON object from an http or https address, within two seconds and a megabyte.

    Raises OSError, HTTPException or ValueError.
    """
    return _json(urllib.request.Request(_judged(url), headers=_ACCEPT), TIMEOUT_SECONDS)  # noqa: S310  judged


def post_form(url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object that a form is answered with, within five seconds and a megabyte. Raises the same."""
    asked = urllib.request.Request(_judged(url), urlencode(form).encode(), {**_ACCEPT, **headers})  # noqa: S310  judged
    return _json(asked, FORM_TIMEOUT_SECONDS)


def _judged(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise ValueError("not an http or https address")
    return url


def _json(asked: urllib.request.Request, timeout: float) -> dict[str, Any]:
    try:
        document = json.loads(_body(asked, timeout))
    except RecursionError as error:
        raise ValueError("the document is nested too deep") from error
    if not isinstance(document, dict):
        raise ValueError("the document is no object")
    return document


def _body(asked: urllib.request.Request, timeout: float) -> bytes:
    until = time.monotonic() + timeout
    body = b""
    with _opener.open(asked, timeout=timeout) as got:
        while part := got.read1(65536):
            body += part
            if len(body) > MAX_DOCUMENT_BYTES:
                raise ValueError("the document is too large")
            # The socket's own timeout starts anew with every byte.
            if time.monotonic() > until:
                raise TimeoutError("timed out")
    return body


def discovered(issuer: str) -> dict[str, Any]:
    """The discovery document of an issuer (OpenID Connect Discovery, section 4). Raises as `fetch_json` does."""
    found = fetch_json(issuer.rstrip("/") + "/.well-known/openid-configuration")
    if found.get("issuer") != issuer:
        raise ValueError("the discovery document is of another issuer")
    return found


def discovered_keys(issuer: str) -> Callable[[], dict[str, Any]]:
    """How to fetch the keys of an issuer by its discovery document."""
    return lambda: fetch_json(str(discovered(issuer).get("jwks_uri")))
