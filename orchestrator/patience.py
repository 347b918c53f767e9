"""How long a thread that serves waits for a database that takes everything and answers nothing."""

from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

SECONDS = 12.0
"""Longer than statement_timeout, by which a server that can end a statement has ended it."""


def bounded(connection: BaseDatabaseWrapper, seconds: float = SECONDS, **_: Any) -> None:
    """Let psycopg give up on each answer after so long, as if the connection were lost: OperationalError.

    Receives `connection_created`. Our kernel notices a peer that is gone; this is for one whose kernel acknowledges
    what its process, frozen or stuck behind a proxy, will not answer. The connection is in the middle of a statement
    then: Django cannot roll back on it, and closes it.
    """
    raw: Any = connection.connection
    raw.wait = partial(raw.wait, timeout=seconds)
