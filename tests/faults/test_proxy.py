"""The proxy does what it says, or the tests that stand on it mean nothing."""

import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.faults.proxy import Cut, Proxy, proxying


class Echo:
    """A server that repeats what it is told, and remembers it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._repeat, args=[connection], daemon=True).start()

    def _repeat(self, connection: socket.socket) -> None:
        with suppress(OSError), closing(connection):
            while data := connection.recv(4096):
                self.heard.append(data)
                connection.sendall(data)
        self.ended.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    with closing(Echo()) as server:
        yield server


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with proxying(echo.address) as running:
        yield running


def connected(proxy: Proxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=1)
    assert said(client, b"hello") == b"hello"
    return client


def said(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return client.recv(4096)


def test_carries_both_ways(proxy: Proxy) -> None:
    with closing(connected(proxy)) as one, closing(connected(proxy)) as other:
        assert said(one, b"one") == b"one"
        assert said(other, b"other") == b"other"


def test_hands_on_an_end(proxy: Proxy, echo: Echo) -> None:
    with closing(connected(proxy)) as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(10) == b""
    assert echo.ended.wait(1)


def test_delays(proxy: Proxy) -> None:
    with closing(connected(proxy)) as client:
        proxy.delay = 0.05
        began = time.monotonic()
        assert said(client, b"late") == b"late"
        assert time.monotonic() - began >= 0.1


def test_resets(proxy: Proxy, echo: Echo) -> None:
    with closing(connected(proxy)) as client:
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(10)
    assert echo.ended.wait(1)
    connected(proxy).close()


def test_swallows_and_says_nothing_until_it_is_healed(proxy: Proxy, echo: Echo) -> None:
    with closing(connected(proxy)) as old, closing(connected(proxy)) as untouched:
        proxy.black_hole()
        with closing(socket.create_connection(("127.0.0.1", proxy.port))) as new:
            for client in (old, new):
                client.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    said(client, b"lost")
        proxy.heal()
        with pytest.raises(TimeoutError):
            said(old, b"lost as well")
        assert said(untouched, b"whole") == b"whole"
    assert echo.heard == [b"hello", b"hello", b"whole"]


def test_swallows_from_a_word_on(proxy: Proxy, echo: Echo) -> None:
    with closing(connected(proxy)) as client:
        client.settimeout(0.05)
        proxy.black_hole(at=b"COMMIT")
        assert said(client, b"before") == b"before"
        for lost in (b"now COMMIT", b"after"):
            with pytest.raises(TimeoutError):
                said(client, lost)
    assert echo.heard == [b"hello", b"before"]


# As whoever needs it: some kernels let root alone attach a filter to a socket.
@pytest.mark.slow
def test_is_gone_with_its_kernel_until_it_is_healed(proxy: Proxy, echo: Echo) -> None:
    with closing(connected(proxy)) as waits, closing(connected(proxy)) as speaks:
        for client in (waits, speaks):
            client.settimeout(5)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1200)
            for every_second in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
                client.setsockopt(socket.IPPROTO_TCP, every_second, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        proxy.vanish()
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.1", proxy.port), timeout=0.1)
        speaks.sendall(b"lost")
        for client in (speaks, waits):
            # Told by this side's kernel, not by the clock of the socket.
            with pytest.raises(TimeoutError, match="timed out") as told:
                client.recv(10)
            assert told.value.errno == errno.ETIMEDOUT
        proxy.heal()
        connected(proxy).close()
    assert echo.heard == [b"hello", b"hello", b"hello"]


def test_closes_one_half(proxy: Proxy, echo: Echo) -> None:
    with closing(connected(proxy)) as client:
        proxy.half_close()
        assert said(client, b"anybody?") == b""
        connected(proxy).close()


def test_has_nobody_behind_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with (
        proxying(address) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=1) as client,
        suppress(ConnectionResetError),
    ):
        assert client.recv(10) == b""


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("linger", [False, True])
def test_cuts_at_a_word_before_it_arrives_or_once_it_is_answered(
    proxy: Proxy, echo: Echo, answered: bool, linger: bool
) -> None:
    with closing(connected(proxy)) as client:
        proxy.cut = Cut(b"COMMIT", answered=answered, linger=linger)
        assert said(client, b"before") == b"before"
        client.sendall(b"now COMMIT")
        with pytest.raises(ConnectionResetError):
            client.recv(10)
    assert echo.ended.wait(0.2) is not linger
    assert (b"now COMMIT" in echo.heard) is answered
    with closing(connected(proxy)) as client:
        assert said(client, b"COMMIT") == b"COMMIT"
    assert proxy.cuts == 1


def test_what_happens_by_chance_happens_again_with_the_same_seed(echo: Echo) -> None:
    def lasted(seed: int) -> list[int]:
        with proxying(echo.address, seed=seed, reset_chance=0.1) as proxy:
            return [_exchanges(proxy) for _ in range(8)]

    assert lasted(1) == lasted(1)
    assert lasted(1) != lasted(2)
    assert max(lasted(1)) > 2


def _exchanges(proxy: Proxy) -> int:
    count = 0
    with suppress(OSError), socket.create_connection(("127.0.0.1", proxy.port), timeout=1) as client:
        while said(client, b"again"):
            count += 1
    return count
