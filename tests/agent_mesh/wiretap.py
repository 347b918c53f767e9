"""A proxy before the service that writes down each request, and may cut the first ones off."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


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
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.tap = tap = Tap(f"http://127.0.0.1:{server.server_port}", to)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield tap
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


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
