"""One call over HTTP: the token, the timeout, the attempts, and what comes back as JSON or as an exception."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx

from agent_mesh import __version__
from agent_mesh.problems import MeshError, NotTheService, Problem, Refused, Unreachable
from agent_mesh.retrying import Retry
from agent_mesh.tokens import TokenSource

T = TypeVar("T")

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Call:
    """What is sent, the same at each attempt.

    `key` is the Idempotency-Key; `version` goes into If-Match and `known_version` into If-None-Match; `wait` is for
    how many seconds the service may let it wait, beyond the timeout.
    """

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    key: str | None = None
    version: int | None = None
    known_version: int | None = None
    wait: float = 0.0
    media_type: str = "application/json"

    def headers(self) -> dict[str, str]:
        """Those of this call."""
        said = {
            "Content-Type": self.media_type if self.body is not None else None,
            "Idempotency-Key": self.key,
            "If-Match": None if self.version is None else f'"{self.version}"',
            "If-None-Match": None if self.known_version is None else f'"{self.known_version}"',
        }
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True)
class Answer:
    """A status below 400, and the JSON of the body; None where there is none."""

    status: int
    body: Any


class Connection:
    """The way to one service, as one caller. Threads may share it."""

    def __init__(
        self,
        base_url: str,
        tokens: TokenSource | None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.where = _address(base_url)
        self._tokens, self._timeout, self._trace_id = tokens, timeout, ""
        self._retry = retry or Retry()
        headers = {"User-Agent": f"agent-mesh/{__version__}", "Accept": "application/json"}
        # As many at once as there are threads: whoever waits for news keeps nobody from a connection.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self._http = httpx.Client(
            base_url=self.where, transport=transport, headers=headers, limits=limits, follow_redirects=False
        )

    def traced(self, trace_id: str) -> "Connection":
        """The same connection, for calls that belong to a trace."""
        other = copy(self)
        other._trace_id = trace_id
        return other

    def acting_as(self, tokens: TokenSource) -> "Connection":
        """The same sockets, for somebody else."""
        other = copy(self)
        other._tokens = tokens
        return other

    def trying(self, retry: Retry, timeout: float) -> "Connection":
        """The same connection with another patience; `timeout` in seconds, for each attempt."""
        other = copy(self)
        other._retry, other._timeout = retry, timeout
        return other

    def close(self) -> None:
        """Let go of the sockets."""
        self._http.close()

    def send(self, call: Call) -> Answer:
        """Send it until there is an answer, or as often as it is to be tried. Raises MeshError."""
        try:
            return self._persist(lambda: self._ask(call))
        except MeshError as error:
            error.key = call.key or ""
            raise

    @contextmanager
    def lines(self, call: Call) -> Iterator[Iterator[str]]:
        """The lines of an answer too long for one piece. Nothing is tried again once it has begun. Raises MeshError."""
        response = self._persist(lambda: self._open(call))
        try:
            yield self._read_lines(response)
        finally:
            response.close()

    def _persist(self, attempt: Callable[[], T]) -> T:
        """Try it as often as there is hope. Raises what the last attempt failed by, and tells what any left open."""
        number, open_ = 1, False
        while True:
            failure: Refused | Unreachable
            try:
                return attempt()
            except httpx.TransportError as error:
                failure, after, open_ = Unreachable(self.where, number, error), None, True
            except Refused as refusal:
                failure, after, open_ = refusal, refusal.problem.retry_after, open_ or refusal.problem.leaves_open
            except MeshError as error:
                error.maybe_done = open_ or isinstance(error, NotTheService)
                raise
            failure.maybe_done = open_
            if isinstance(failure, Refused) and not self._retry.is_passing(failure.problem):
                raise failure
            number += 1
            pause = self._retry.pause_before(number, after)
            if pause is None:
                raise failure
            self._retry.sleep(pause)

    def _ask(self, call: Call) -> Answer:
        """One attempt. Raises Refused, and httpx.TransportError."""
        response = self._open(call)
        try:
            content = response.read()
        finally:
            response.close()
        if not content:
            return Answer(response.status_code, None)
        try:
            return Answer(response.status_code, response.json())
        except ValueError as error:
            raise NotTheService(f"What answers at {self.where} does not speak JSON.") from error

    def _open(self, call: Call) -> httpx.Response:
        """An answer that is no refusal, its body not read yet. Raises Refused, and httpx.TransportError."""
        token = self._tokens.token() if self._tokens else ""
        response = self._http.send(self._request(call, token), stream=True)
        if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
            return response
        try:
            response.read()
        finally:
            response.close()
        if response.status_code == httpx.codes.UNAUTHORIZED and self._tokens:
            self._tokens.refused(token)
        if response.is_redirect:
            raise NotTheService(f"What answers at {self.where} sends elsewhere: a token is not sent after it.")
        raise Refused(Problem.read(response.status_code, _document(response), _retry_after(response)))

    def _read_lines(self, response: httpx.Response) -> Iterator[str]:
        try:
            yield from response.iter_lines()
        except httpx.TransportError as error:
            raise Unreachable(self.where, 1, error) from error

    def _request(self, call: Call, token: str) -> httpx.Request:
        headers = call.headers()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if self._trace_id:
            headers["X-Trace-Id"] = self._trace_id
        return self._http.build_request(
            call.method,
            call.path,
            params={name: _text(value) for name, value in call.query.items() if value is not None},
            content=None if call.body is None else _content(call.body),
            headers=headers,
            timeout=httpx.Timeout(self._timeout, read=self._timeout + call.wait),
        )


def new_key() -> str:
    """An Idempotency-Key that nobody used before."""
    return str(uuid4())


def with_id(path: str, row: str | UUID) -> str:
    """A path with the id of a row in it, as it stands. Raises ValueError where it would become another path."""
    text = str(row).strip()
    if not text.strip("."):
        raise ValueError("The id is empty.")
    return path.replace("{id}", quote(text, safe=""))


def _address(base_url: str) -> str:
    address = httpx.URL(base_url.strip())
    if address.scheme not in ("http", "https") or not address.host:
        raise ValueError(f"The service's address must begin with http:// or https://, not {base_url!r}.")
    return str(address).rstrip("/")


def _text(value: Any) -> str:
    """A query parameter: of several values, with commas between them."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(str, value))
    return str(value)


def _content(body: Mapping[str, Any]) -> bytes:
    """JSON, as the service reads it. Raises ValueError or TypeError for what is none, NaN included."""
    return json.dumps(body, default=_plain, allow_nan=False, ensure_ascii=False).encode()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def _document(response: httpx.Response) -> object:
    try:
        return response.json()
    except ValueError:
        return None


def _retry_after(response: httpx.Response) -> float | None:
    """The header in seconds, as the service has it; a date, which RFC 9110 §10.2.3 allows as well, is passed over."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isascii() and said.isdigit() else None
