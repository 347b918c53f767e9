"""Calls that meet: let go at the same moment, or one behind the other in an order that is known."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache, partial
from threading import Barrier
from typing import Any

from django.db import connection

from sessions_app.models import Recorded
from tests.api import Api, token
from tests.database import superuser_connection
from tests.work import in_a_thread

PATIENCE_SECONDS = 20
SPREAD_SECONDS = 0.006
"""Calls that start at once are held back by anything up to this, so that each comes first now and then."""

Call = Callable[[], Any]


@cache
def bearer(subject: str, roles: str = "agent", agent_roles: str = "finance") -> str:
    """A token, made once."""
    return token(subject, roles=roles, agent_roles=agent_roles)


def finn() -> Api:
    """An agent of the role finance."""
    return Api(bearer("finn"))


def olga() -> Api:
    """An operator."""
    return Api(bearer("olga", "operator", ""))


def wait_for_waiters(count: int) -> None:
    """Until so many wait for a lock in this database."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + PATIENCE_SECONDS
    with superuser_connection() as beside:
        while (beside.execute(waiting).fetchone() or (0,))[0] < count:
            assert time.monotonic() < deadline, f"No {count} wait."
            time.sleep(0.002)


def in_turn(row: Recorded, *calls: Call) -> list[Any]:
    """The answers to calls that wait for the row's lock, one behind the other; PostgreSQL lets them in as they came."""
    with superuser_connection() as holder, holder.transaction():
        holder.execute(f"SELECT 1 FROM {row._meta.db_table} WHERE id = %s FOR UPDATE", [row.pk])
        running: list[Future[Any]] = []
        for call in calls:
            running.append(in_a_thread(call))
            wait_for_waiters(len(running))
    return results(running)


@contextmanager
def no_events() -> Iterator[None]:
    """Whoever writes an event stands still at it, with its rows locked and changed, until the block ends."""
    with superuser_connection() as beside, beside.transaction():
        beside.execute("LOCK TABLE audit_events IN SHARE MODE")
        yield


def at_once(*calls: Call) -> list[Any]:
    """The answers to calls that start at about the same moment, wherever they then meet."""
    barrier = Barrier(len(calls))

    def run(call: Call) -> Any:
        connection.ensure_connection()
        barrier.wait(PATIENCE_SECONDS)
        time.sleep(random.uniform(0, SPREAD_SECONDS))
        return call()

    return results([in_a_thread(partial(run, call)) for call in calls])


def results(running: Sequence[Future[Any]]) -> list[Any]:
    """What each came to, in order."""
    return [future.result(PATIENCE_SECONDS) for future in running]


def codes(answers: Sequence[Any]) -> list[int]:
    """The status of each answer, in order."""
    return [answer.status_code for answer in answers]


def kind(answer: Any) -> str:
    """The slug of a refusal."""
    return str(answer.json()["type"]).removeprefix("/problems/")
