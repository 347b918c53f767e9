"""A TCP proxy that does what networks do, when it is told to or by seeded chance."""

import ctypes
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

COMMIT = b"COMMIT\0"
"""The statement alone as it stands on the wire; BEGIN speaks of READ COMMITTED."""

Target = tuple[str, int] | str
"""A host and a port, or the path of a unix socket."""

_AT_ONCE = struct.pack("ii", 1, 0)

# Linux alone: a program for a socket (BPF_RET | BPF_K, 0) by which its kernel drops each segment before it looks at it.
_ATTACH_FILTER, _DETACH_FILTER = 26, 27
_DROP = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0), 8)
_FILTER = struct.pack("@HP", 1, ctypes.addressof(_DROP))


@dataclass
class Cut:
    """Cuts a client off at what it sends with `word` in it: before that reaches the server, or once it is answered.

    The client does not get the answer. With `linger` the server is not told that the client is gone.
    """

    word: bytes
    answered: bool
    linger: bool = False
    times: int = 1


class Link:
    """A client's connection and ours to the server, for it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.lost = self.ended = False
        self.cut: Cut | None = None

    def reset(self, *, linger: bool = False) -> None:
        """An RST to both ends, or to the client alone."""
        self.ended = True
        for end in [self.client] if linger else [self.client, self.server]:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                # Wakes whoever reads it; a socket that is read is not closed.
                end.shutdown(socket.SHUT_RD)
            end.close()


class Proxy:
    """Stands on a port of its own before a server. Each connection made through it is a link."""

    def __init__(self, target: Target, *, seed: int = 0, reset_chance: float = 0.0) -> None:
        self.delay = 0.0
        self.reset_chance = reset_chance
        self.cut: Cut | None = None
        self.resets = self.cuts = self.accepted = 0
        self._target, self._chance = target, random.Random(seed)
        self._hole = self._gone = False
        self._hole_at: bytes | None = None
        self._links: list[Link] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        _aside(self._accept)

    def reset(self) -> None:
        """Reset every link."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.reset()

    def black_hole(self, at: bytes = b"") -> None:
        """Swallow everything, on the links there are and on new ones, without a word; from what has this in it on."""
        self._hole_at = at

    def vanish(self) -> None:
        """Be gone from the network, kernel and all: nothing is acknowledged, no probe, no segment, no new connection.

        A process that swallows everything still has a kernel that acknowledges it, which is another fault.
        """
        with self._lock:
            for link in self._links:
                link.lost = True
                with suppress(OSError):
                    link.client.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, _FILTER)
        self._listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, _FILTER)
        self._gone = True

    def half_close(self) -> None:
        """Tell every client that the server has no more to say, and go on listening to the client."""
        with self._lock:
            for link in self._links:
                link.lost = True
                with suppress(OSError):
                    link.client.shutdown(socket.SHUT_WR)

    def heal(self) -> None:
        """New links are sound again. Those that have lost something stay lost."""
        self._hole, self._hole_at, self.delay, self.cut = False, None, 0.0, None
        if self._gone:
            self._listener.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
            self._gone = False

    def stop(self) -> None:
        """Close everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                link = Link(client, _connected(self._target))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._links.append(link)
                self.accepted += 1
            _aside(lambda link=link: self._pump(link, link.client, link.server))  # type: ignore[misc]
            _aside(lambda link=link: self._pump(link, link.server, link.client))  # type: ignore[misc]

    def _pump(self, link: Link, source: socket.socket, sink: socket.socket) -> None:
        """Carry one direction until it ends."""
        with suppress(OSError):
            while data := source.recv(65536):
                if self._is_cut(link, data, upward=source is link.client):
                    return
                time.sleep(self.delay)
                self._hole = self._hole or (self._hole_at is not None and self._hole_at in data)
                link.lost = link.lost or self._hole
                if not link.lost:
                    sink.sendall(data)
            if not link.ended:
                sink.shutdown(socket.SHUT_WR)

    def _is_cut(self, link: Link, data: bytes, *, upward: bool) -> bool:
        """Whether the link ends here: by chance, or at what a test waits for."""
        with self._lock:
            if self._chance.random() < self.reset_chance:
                self.resets += 1
                link.reset()
                return True
            cut = self.cut
            if upward and cut is not None and cut.word in data and cut.times > 0:
                cut.times -= 1
                link.cut = cut
            due = link.cut is not None and (not upward or not link.cut.answered)
        if due and link.cut is not None:
            self.cuts += 1
            link.reset(linger=link.cut.linger)
        return due


def _connected(target: Target) -> socket.socket:
    if isinstance(target, tuple):
        return socket.create_connection(target)
    server = socket.socket(socket.AF_UNIX)
    server.connect(target)
    return server


def _aside(run: Callable[[], None]) -> None:
    threading.Thread(target=run, daemon=True).start()


@contextmanager
def proxying(target: Target, *, seed: int = 0, reset_chance: float = 0.0) -> Iterator[Proxy]:
    """One for as long as the block runs."""
    proxy = Proxy(target, seed=seed, reset_chance=reset_chance)
    try:
        yield proxy
    finally:
        proxy.stop()
