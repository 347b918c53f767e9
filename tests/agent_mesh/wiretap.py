"""A proxy before the service that writes down each request, and may cut the first ones off."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.listening import listening


@dataclass
class Tap:
    """Where to find it, and what came by: method, path and Idempotency-Key."""

    address: str
    to: str
    cut: int = 0
    """So many requests more are answered by closing the connection."""

    seen: list[tuple[str, str, str | None]] = field(default_factory=list)


@contextmanager
def tapped(to: str) -> Iterator[Tap]:
    """One before an address, for as long as the block runs."""
    with listening(_Handler) as (server, address):
        server.tap = tap = Tap(address, to)
        yield tap


class _Handler(BaseHTTPRequestHandler):
    def _hand_on(self) -> None:
        tap: Tap = self.server.tap  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        tap.seen.append((self.command, self.path, self.headers.get("Idempotency-Key")))
        self.close_connection = True
        if tap.cut > 0:
            tap.cut -= 1
            return
        connection = http.client.HTTPConnection(urlsplit(tap.to).netloc, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _hand_on  # noqa: N815  http.server's names

    def log_message(self, *_: Any) -> None:
        """Nothing."""
