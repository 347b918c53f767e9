"""write(): the one place that opens and ends a write transaction."""

from collections.abc import Callable
from typing import TypeVar

import psycopg
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from orchestrator.problems import Problem, ServiceUnavailable

T = TypeVar("T")

_TIMES = 3
# The database cannot serve now: the session was ended for idling in a transaction, or migrations are not applied yet.
_AWAY = {"25P03", "42P01"}
# Another transaction won: the same work, done again from its first line, may well succeed.
_REPEATABLE = {"40001", "40P01"}


def write(work: Callable[[], T]) -> T:
    """Run `work` in one durable transaction and commit it.

    A Problem or an error rolls everything back; what a Problem asked for `afterwards` then runs in a transaction of
    its own. Serialization failures and deadlocks (SQLSTATE 40001, 40P01) repeat the whole block, twice at most, so
    `work` must start from nothing each time.

    Raises ServiceUnavailable where the database is lost or refuses, at BEGIN, inside, or at COMMIT; after a COMMIT
    that got no answer the outcome is unknown. Raises RuntimeError inside another transaction.
    """
    try:
        return _repeated(work)
    except Problem as refusal:
        if refusal.afterwards is not None:
            _repeated(refusal.afterwards)
        raise


def _repeated(work: Callable[[], T]) -> T:
    for left in reversed(range(_TIMES)):
        try:
            with transaction.atomic(durable=True):
                return work()
        except DatabaseError as error:
            if sqlstate(error) in _REPEATABLE and left:
                continue
            if is_away(error):
                raise ServiceUnavailable("The database cannot be reached, or is too busy.") from error
            raise
        except InterfaceError as error:
            raise ServiceUnavailable("The database cannot be reached, or is too busy.") from error
    raise AssertionError("unreachable")


def sqlstate(error: BaseException) -> str | None:
    """The five-character SQLSTATE behind one of Django's database errors, where there is one."""
    cause = error.__cause__
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def is_away(error: BaseException) -> bool:
    """Whether an error means that the database is away, out of room or out of time, rather than asked wrongly.

    psycopg's OperationalError covers lost and refused connections, shutdown, lock and statement timeouts, a full disk
    and too many connections. Whatever came after the connection was lost is a consequence of that.
    """
    if isinstance(error, OperationalError | InterfaceError) or sqlstate(error) in _AWAY:
        return True
    return isinstance(error, DatabaseError) and connection.connection is not None and connection.connection.closed
