"""A TCP proxy that does what networks do, when it is told to or by seeded chance."""

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

Target = tuple[str, int] | str
"""A host and a port, or the path of a unix socket."""

_AT_ONCE = struct.pack("ii", 1, 0)


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
        self.resets = self.cuts = 0
        self._target, self._chance = target, random.Random(seed)
        self._hole = False
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

    def black_hole(self) -> None:
        """Swallow everything, on the links there are and on new ones, without a word."""
        self._hole = True

    def half_close(self) -> None:
        """Tell every client that the server has no more to say, and go on listening to the client."""
        with self._lock:
            for link in self._links:
                link.lost = True
                with suppress(OSError):
                    link.client.shutdown(socket.SHUT_WR)

    def heal(self) -> None:
        """New links are sound again. Those that have lost something stay lost."""
        self._hole, self.delay, self.cut = False, 0.0, None

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
            _aside(lambda link=link: self._pump(link, link.client, link.server))  # type: ignore[misc]
            _aside(lambda link=link: self._pump(link, link.server, link.client))  # type: ignore[misc]

    def _pump(self, link: Link, source: socket.socket, sink: socket.socket) -> None:
        """Carry one direction until it ends."""
        with suppress(OSError):
            while data := source.recv(65536):
                if self._is_cut(link, data, upward=source is link.client):
                    return
                time.sleep(self.delay)
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
