"""Where a bearer token comes from: a value, a file, or the identity provider."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote_plus

import httpx

from agent_mesh.problems import NoToken, Unreachable

_TIMEOUT_SECONDS = 10.0


class TokenSource(Protocol):
    """Something that has a token, whenever one is needed."""

    def token(self) -> str:
        """The token to send now. Raises NoToken."""

    def refused(self, token: str) -> None:
        """The service took this one for none: do not hand it out again if another can be had."""


class StaticToken:
    """One value for ever."""

    def __init__(self, value: str) -> None:
        self._value = value.strip()

    def token(self) -> str:
        """The value. Raises NoToken where it is empty."""
        return _sendable(self._value, "The token that was given")

    def refused(self, token: str) -> None:
        """There is no other."""


class TokenFile:
    """The content of a file, read each time, so that whoever renews it need not tell."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def token(self) -> str:
        """What the file holds now. Raises NoToken."""
        try:
            return _sendable(self._path.read_text("utf-8").strip(), f"The token in {self._path}")
        except (OSError, UnicodeDecodeError) as error:
            raise NoToken(f"The token file {self._path} cannot be read: {error}") from error

    def refused(self, token: str) -> None:
        """The file is read again anyway."""


class TokenEndpoint:
    """Where an identity provider grants tokens (RFC 6749 §3.2), to a client that proves itself by a secret."""

    def __init__(
        self, url: str, client_id: str, client_secret: str, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._url = url
        self._basic = (quote_plus(client_id), quote_plus(client_secret))  # RFC 6749 §2.3.1
        self._transport = transport

    def grant(self, **form: str) -> tuple[str, float]:
        """A token and for how many seconds it lasts; empty fields are left out. Raises NoToken, and Unreachable."""
        said = {name: value for name, value in form.items() if value}
        try:
            # Once in minutes: no connection is kept for that long.
            with httpx.Client(transport=self._transport, timeout=_TIMEOUT_SECONDS, follow_redirects=False) as http:
                answer = http.post(self._url, data=said, auth=self._basic)
        except httpx.TransportError as error:
            raise Unreachable(self._url, 1, error) from error
        if answer.status_code != httpx.codes.OK:
            raise NoToken(f"{self._url} gives no token: {answer.status_code} {_oauth_error(answer)}".rstrip())
        return _granted(answer)


class Renewed:
    """A token that is fetched when first needed and again `early` seconds before it ends.

    Where a renewal fails, the old one is used for as long as it lasts. Threads share one fetch.
    """

    def __init__(
        self, grant: Callable[[], tuple[str, float]], early: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._grant, self._early, self._clock = grant, early, clock
        self._lock = threading.Lock()
        self._value, self._renew_at, self._ends_at = "", 0.0, 0.0

    def token(self) -> str:
        """One that lasts a while yet. Raises NoToken, or Unreachable where the provider is away."""
        with self._lock:
            if not self._value or self._clock() >= self._renew_at:
                self._renew()
            return self._value

    def refused(self, token: str) -> None:
        """The next call gets another."""
        with self._lock:
            if token == self._value:
                self._value = ""

    def _renew(self) -> None:
        asked_at = self._clock()
        try:
            self._value, lasts = self._grant()
        except (NoToken, Unreachable):
            if not self._value or self._clock() >= self._ends_at:
                raise
            return
        self._ends_at = asked_at + lasts
        # A token shorter than twice the margin is renewed half-way, rather than before each call.
        self._renew_at = asked_at + max(lasts - self._early, lasts / 2)


class ClientCredentials(Renewed):
    """An access token for this client itself (RFC 6749 §4.4)."""

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        scope: str = "",
        audience: str = "",
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        endpoint = TokenEndpoint(token_url, client_id, client_secret, transport=transport)
        super().__init__(
            lambda: endpoint.grant(grant_type="client_credentials", scope=scope, audience=audience), clock=clock
        )


def _sendable(token: str, what: str) -> str:
    """Raises NoToken unless it can stand in a header; the token itself is not shown."""
    if not token:
        raise NoToken(f"{what} is empty.")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise NoToken(f"{what} has characters that no token has.")
    return token


def _granted(answer: httpx.Response) -> tuple[str, float]:
    """The token and for how many seconds it lasts (RFC 6749 §5.1)."""
    try:
        said = answer.json()
        return _sendable(str(said["access_token"]), "The token granted"), float(said.get("expires_in", 60))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoToken(f"{answer.url} answers without an access token.") from error


def _oauth_error(answer: httpx.Response) -> str:
    """The error code (RFC 6749 §5.2), and nothing else of the body."""
    try:
        return str(answer.json()["error"])[:100]
    except (ValueError, KeyError, TypeError):
        return ""
