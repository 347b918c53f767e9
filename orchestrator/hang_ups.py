"""Notice callers who closed their connection before they were answered."""

import select
import socket
from collections.abc import Mapping
from typing import Any

# POLLRDHUP: the peer has closed its side, also where bytes of it are still to be read. POLLHUP, POLLERR: a reset.
_ENDED = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class CallerHungUp(Exception):  # noqa: N818  nothing went wrong here: nobody reads the answer
    """The caller has closed the connection: its call has no effect."""


def has_hung_up(environ: Mapping[str, Any]) -> bool:
    """Return whether the caller of a WSGI request has closed its side of the connection.

    A connection of which only the caller's sending side was closed counts as closed, as it does for nginx. Without a
    socket, which only gunicorn hands on, no caller has hung up.
    """
    connection: socket.socket | None = environ.get("gunicorn.socket")
    if connection is None:
        return False
    if connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection, _ENDED)
    return bool(poll.poll(0))
