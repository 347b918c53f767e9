"""The worker of gunicorn that serves: no caller holds its threads without work for them, and probes have their own."""

import errno
import selectors
import socket
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.util import close

from orchestrator.connections import HEAD_SECONDS, MAX_HEAD_BYTES, Connection
from orchestrator.draining import DrainingWorker

LIVE = frozenset({b"/livez", b"/status"})
"""Probes that ask nothing of anything else: they have a thread for themselves."""
CHECKS = frozenset({b"/readyz", b"/health", b"/metrics"})
"""Probes that ask the database or Redis, which may take its time: they share another thread."""
MAX_WAITING_PROBES = 16
"""How many probes wait for their own thread. More wait for the others, like any call."""
LINGER_SECONDS = 2.0
"""How long a caller may take to close its side once its last answer was sent (RFC 9112, section 9.6)."""
DRAIN_SECONDS = 1.0
"""How long a thread waits for the rest of a body that nothing has read."""

_PASSING = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED)


class Lane:
    """Threads and how many calls they have, which the event loop alone counts."""

    def __init__(self, pool: ThreadPoolExecutor, threads: int) -> None:
        self.pool, self.threads = pool, threads
        self.calls = 0

    def is_full(self) -> bool:
        """Return whether all threads have a call."""
        return self.calls >= self.threads


class ServingWorker(DrainingWorker):
    """gunicorn's gthread worker, whose event loop waits for callers so that no thread has to.

    - A thread gets a request once its head is there, and not once there is a connection.
    - While all threads are busy, probes are answered by reserved ones.
    - A body that does not arrive, and an answer that is not taken, hold a thread for a limited time.
    - Connections that are over are waited for in the event loop. gunicorn waits for each of them by itself, for two
      seconds, and nothing else is accepted or served in between.

    See docs/adr/0046.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._lingering: deque[Connection] = deque()

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse TLS, whose bytes the event loop cannot read. Raises ValueError."""
        if cfg.is_ssl:
            raise ValueError("gunicorn serves no TLS here: the proxy does.")
        super().check_config(cfg, log)

    def init_process(self) -> None:
        """Called in the worker, once. It returns when the worker ends."""
        self._live = Lane(ThreadPoolExecutor(1, "live"), 1)
        self._checks = Lane(ThreadPoolExecutor(1, "checks"), 1)
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Called when the process begins."""
        pool = ThreadPoolExecutor(self.cfg.threads, "calls")
        self._calls = Lane(pool, self.cfg.threads)
        return pool

    # In the event loop.

    def accept(self, listener: socket.socket) -> None:
        """Take a connection and wait for its first request."""
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            return
        self.nr_conns += 1
        connection = Connection(self.cfg, accepted, address, listener.getsockname())
        connection.begin()
        self._wait_for_head(connection)

    def enqueue_req(self, conn: Connection) -> None:
        """Wait for the next request of a connection that was kept. Its head may be there already."""
        conn.begin()
        conn.receive()
        if conn.is_ready():
            self._go_on(conn)
        else:
            self._wait_for_head(conn)

    def on_pending_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """Called when more of a head has arrived."""
        conn.receive()
        if conn.is_ready():
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            self._go_on(conn)

    def finish_request(self, conn: Connection, fs: "Future[bool]") -> None:
        """Called when a thread is done with a request."""
        if fs.cancelled() or (fs.exception() is None and not fs.result()):
            self._linger(conn)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Close what has waited too long. Called once a second at the least."""
        super().murder_pending()
        now = time.monotonic()
        while self._lingering and self._lingering[0].timeout <= now:
            self._stop_lingering(self._lingering[0])

    def _wait_for_head(self, conn: Connection) -> None:
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _go_on(self, conn: Connection) -> None:
        """Do what is due for a connection that is ready."""
        if conn.has_head():
            self._submit(conn)
        elif conn.is_over:
            self._drop(conn)
        else:
            error = LimitRequestHeaders(f"limit request headers total size {MAX_HEAD_BYTES}")
            self.handle_error(None, conn.sock, conn.client, error)
            self._linger(conn)

    def _submit(self, conn: Connection) -> None:
        lane = self._lane(conn.plain_path())
        lane.calls += 1
        call = lane.pool.submit(self.handle, conn)
        call.add_done_callback(lambda done: self.method_queue.defer(self._finish, lane, conn, done))

    def _finish(self, lane: Lane, conn: Connection, done: "Future[bool]") -> None:
        lane.calls -= 1
        self.finish_request(conn, done)

    def _lane(self, path: bytes | None) -> Lane:
        """Return where a request is served: its own lane is for a probe that would have to wait."""
        own = self._live if path in LIVE else self._checks if path in CHECKS else None
        if own is None or not self._calls.is_full() or own.calls > MAX_WAITING_PROBES:
            return self._calls
        return own

    def _linger(self, conn: Connection) -> None:
        """Close our side, and wait for the caller to close the other: it may not have read its answer yet."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_lingering_readable, conn))
        except (OSError, ValueError):
            self._drop(conn)
            return
        conn.timeout = time.monotonic() + LINGER_SECONDS
        self._lingering.append(conn)

    def _on_lingering_readable(self, conn: Connection, _client: socket.socket) -> None:
        if not conn.discard():
            self._stop_lingering(conn)

    def _stop_lingering(self, conn: Connection) -> None:
        self._lingering.remove(conn)
        self.poller.unregister(conn.sock)
        self._drop(conn)

    def _drop(self, conn: Connection) -> None:
        self.nr_conns -= 1
        close(conn.sock)

    # In a thread.

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Serve a request; False where the connection is to be closed."""
        try:
            kept: bool = super().handle_request(req, conn)
        except TimeoutError:
            self.log.warning("A caller did not take its answer: its connection is closed.")
            return False
        return kept

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """Return whether the connection can be kept. A body that nothing has read is waited for, but not for long."""
        conn.parser.unreader.within(DRAIN_SECONDS)
        return bool(super()._keepalive_after(conn, keepalive))
