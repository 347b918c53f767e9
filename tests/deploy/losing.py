"""A relay before an instance, which loses answers: the request was taken, and then the connection is reset."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_RESET = struct.pack("ii", 1, 0)
_PATIENCE_SECONDS = 20


@dataclass
class Relay:
    """One that runs: what was sent through it, and how many answers it is still to lose."""

    port: int
    to_lose: int = 0
    sent: list[bytes] = field(default_factory=list)

    def keys(self) -> list[str | None]:
        """The `Idempotency-Key` of each request that came."""
        return [_header(request, b"idempotency-key") for request in self.sent]


@contextmanager
def losing(port: int) -> Iterator[Relay]:
    """Relay to the instance on this port, a request a connection, for as long as the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(listener.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(listener, relay, port))
        thread.start()
        try:
            yield relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(_PATIENCE_SECONDS)


def _serve(listener: socket.socket, relay: Relay, port: int) -> None:
    while True:
        try:
            caller, _ = listener.accept()
        except OSError:
            return
        with caller, socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS) as instance:
            request = _whole(caller)
            relay.sent.append(request)
            instance.sendall(request)
            answer = b"".join(iter(lambda: instance.recv(65536), b""))
            if relay.to_lose:
                relay.to_lose -= 1
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            else:
                caller.sendall(answer)


def _whole(caller: socket.socket) -> bytes:
    """A request with all of its body."""
    caller.settimeout(_PATIENCE_SECONDS)
    got = b""
    while b"\r\n\r\n" not in got or len(got.split(b"\r\n\r\n", 1)[1]) < int(_header(got, b"content-length") or 0):
        more = caller.recv(65536)
        if not more:
            break
        got += more
    return got


def _header(request: bytes, name: bytes) -> str | None:
    for line in request.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]:
        if line.lower().startswith(name + b":"):
            return line.partition(b":")[2].strip().decode()
    return None
