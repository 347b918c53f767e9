"""write(): the one place that opens and ends a write transaction."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from psycopg.pq import TransactionStatus

from orchestrator.database_term import StaleDatabaseError
from orchestrator.problems import DatabaseStale, Problem, ServiceUnavailable

T = TypeVar("T")

_TIMES = 3
_LONGEST_NAP_SECONDS = 0.02
_READ_ONLY = "25006"
# The database cannot serve now: it takes no writes, since it is a standby by now or its disk is full; the session was
# ended for idling in a transaction, or for a transaction that took too long; or migrations are not applied yet.
_AWAY = {_READ_ONLY, "25P03", "25P04", "42P01"}
# Another transaction won: the same work, done again from its first line, may well succeed.
_REPEATABLE = {"40001", "40P01"}
# The statement was ended for its own sake, by statement_timeout or lock_timeout, and the database serves others.
_TOO_LONG = {"57014", "55P03"}


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


def read(work: Callable[[], T]) -> T:
    """Run `work`, which only looks, outside a transaction. Raises ServiceUnavailable where the database is away."""
    try:
        return work()
    except (DatabaseError, InterfaceError) as error:
        if is_away(error):
            _let_go(error)
            raise unavailable(error) from error
        raise


def _repeated(work: Callable[[], T]) -> T:
    for left in reversed(range(_TIMES)):
        try:
            with transaction.atomic(durable=True):
                done = work()
                _insist_on_sound_transaction()
            return done
        except (DatabaseError, InterfaceError) as error:
            if sqlstate(error) in _REPEATABLE and left:
                # Not at once: the repeated work would overtake the one that it made way for, and meet it again.
                time.sleep(random.uniform(0, _LONGEST_NAP_SECONDS))  # noqa: S311  no secret
                continue
            if is_away(error):
                _let_go(error)
                raise unavailable(error) from error
            raise
    raise AssertionError("unreachable")


def _let_go(error: BaseException) -> None:
    """A connection that is known to be dead, or to lead to what takes no writes, must not fail the next call too."""
    if sqlstate(error) == _READ_ONLY:
        connection.close()
    else:
        connection.close_if_unusable_or_obsolete()


def _insist_on_sound_transaction() -> None:
    """Refuse to report success where `work` swallowed an error of the database: its COMMIT would be a ROLLBACK."""
    raw = connection.connection
    if raw is not None and raw.info.transaction_status == TransactionStatus.INERROR:
        raise DatabaseError("The transaction was aborted and cannot be committed.")


def sqlstate(error: BaseException) -> str | None:
    """The five-character SQLSTATE behind one of Django's database errors, where there is one."""
    cause = error.__cause__
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def is_too_long(problem: ServiceUnavailable) -> bool:
    """Return whether `write()` gave up since the work itself took too long or lost every conflict.

    Then the database answers, and other work may well succeed.
    """
    cause = problem.__cause__
    return cause is not None and sqlstate(cause) in _TOO_LONG | _REPEATABLE


def unavailable(error: BaseException) -> ServiceUnavailable:
    """Return the refusal for a database that is away, or that was replaced by another."""
    if isinstance(error, StaleDatabaseError):
        return DatabaseStale()
    return ServiceUnavailable("The database cannot be reached, or is too busy.")


def is_away(error: BaseException) -> bool:
    """Whether an error means that the database is away, out of room or out of time, rather than asked wrongly.

    psycopg's OperationalError covers lost and refused connections, shutdown, lock and statement timeouts, a full disk
    and too many connections.
    """
    return isinstance(error, OperationalError | InterfaceError) or sqlstate(error) in _AWAY
