"""Connections of gunicorn's workers: heads are read without a thread, bodies and answers within a time."""

import re
import socket
import time
from typing import Any

from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

HEAD_SECONDS = 5
"""How long the head of a request may take to arrive, from the connection or its first byte on."""
MAX_HEAD_BYTES = 65_536
"""How long the head of a request may be, all of its fields together."""
IDLE_SECONDS = 5
"""How long a thread waits for the next bytes of a body."""
BODY_SECONDS = 30
"""How long a thread waits for all of a body."""
SEND_SECONDS = 20
"""How long the caller may take for a part of its answer that is sent at once."""

_END = b"\r\n\r\n"
_PLAIN = re.compile(rb"(?:GET|HEAD) (/[a-z]+)(?:\?[^ \r\n]*)? HTTP/1\.[01]\r\n")
_HAS_BODY = re.compile(rb"\r\n(?:content-length|transfer-encoding|expect)[ \t]*:", re.IGNORECASE)


class BoundedUnreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """The bytes of a request, of which each piece and all together have to arrive within a time."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.until = 0.0

    def within(self, seconds: float) -> None:
        """Let all that is read from now on arrive within so many seconds."""
        self.until = time.monotonic() + seconds

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next piece. Raises TimeoutError."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request takes too long to arrive")
        self.sock.settimeout(min(IDLE_SECONDS, left))
        try:
            piece: bytes = super().chunk(size_hint)
        finally:
            self.sock.settimeout(SEND_SECONDS)
        return piece


class Connection(TConn):  # type: ignore[misc]
    """A connection whose requests are given to a thread once their head is there."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        # gunicorn's thread would wait for the first bytes.
        self.data_ready = True
        self.is_over = False
        """Whether the caller has closed or reset the connection before a whole head was there."""
        self._drained = 0
        self._received = b""

    def init(self) -> None:
        """Give the head to the parser. Called in the thread that serves the request, before it reads."""
        super().init()
        unreader = self.parser.unreader
        if not isinstance(unreader, BoundedUnreader):
            unreader = self.parser.unreader = BoundedUnreader(self.sock)
        unreader.within(BODY_SECONDS)
        unreader.unread(self._received)
        self._received = b""
        self.sock.settimeout(SEND_SECONDS)

    def begin(self) -> None:
        """Begin to read a head, which may have arrived behind the last request."""
        self.sock.setblocking(False)
        if self.parser is not None:
            self._received += self.parser.unreader.take_buffered()

    def receive(self) -> None:
        """Take what has arrived of the head, without waiting."""
        while not self.is_ready():
            try:
                piece = self.sock.recv(8192)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            self.is_over = not piece
            self._received += piece

    def has_head(self) -> bool:
        """Return whether the whole head is there."""
        return _END in self._received

    def is_ready(self) -> bool:
        """Return whether the event loop need not wait: the head is there or too long, or the caller is gone."""
        return self.is_over or self.has_head() or len(self._received) > MAX_HEAD_BYTES

    def plain_path(self) -> bytes | None:
        """Return the path of a GET or HEAD that has no body and nothing behind it; None for any other request."""
        found = _PLAIN.match(self._received)
        if found is None or not self._received.endswith(_END) or self._received.count(_END) > 1:
            return None
        return None if _HAS_BODY.search(self._received) else found[1]

    def discard(self) -> bool:
        """Throw away what the caller still sends. Return False once it has closed, or sent too much."""
        try:
            piece = self.sock.recv(MAX_HEAD_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._drained += len(piece)
        return bool(piece) and self._drained < MAX_HEAD_BYTES
