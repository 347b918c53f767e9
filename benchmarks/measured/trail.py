"""What the trail costs: eight clients open, begin and end sessions, with it and without it, round by round in turn."""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median
from typing import Any

from django.db import connection, connections

from audit_app import trail
from audit_app.trail import GENESIS, Event, Link, Statement
from benchmarks.bench import SMALL
from benchmarks.measured.calls import Caller
from benchmarks.measured.databases import owner
from benchmarks.measured.rounds import Figure

PROCESSES, THREADS = 2, 4
SECONDS, ROUNDS = 4.0, 12
PROMISED = 0.97
NEW = {"agent_role": "finance", "metadata": {"quarter": "Q4"}}
_GUARDS = (("sessions", "sessions_complete"), ("sessions", "sessions_complete_update"))


def measure() -> list[Figure]:
    """Calls a second with the trail and without, and the ratio of the medians."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(ROUNDS):
        # On, off, off, on: what the machine does beside us, and that the tables grow, falls on both alike.
        for kept in (True, False) if turn % 2 else (False, True):
            rates[kept].append(_round(kept=kept))
    on, off = median(rates[True]), median(rates[False])
    return [
        Figure("eight clients, in calls a second, with the trail", f"{on:,.0f}"),
        Figure("… with no events, no hashes and no triggers", f"{off:,.0f}"),
        Figure("with the trail against without", f"{on / off:.2f} ×", f"≥ {PROMISED} ×", is_kept=on / off >= PROMISED),
    ]


def _round(*, kept: bool) -> float:
    if kept:
        return _rate(kept=True)
    with _unguarded():
        return _rate(kept=False)


@contextmanager
def _unguarded() -> Iterator[None]:
    """Without the triggers that ask for events."""
    with owner(SMALL) as connected:
        for table, trigger in _GUARDS:
            connected.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        try:
            yield
        finally:
            for table, trigger in _GUARDS:
                connected.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")


def _rate(*, kept: bool) -> float:
    """Calls a second of all clients together."""
    spawn = multiprocessing.get_context("spawn")
    start, counted = spawn.Barrier(PROCESSES * THREADS), spawn.Queue()
    processes = [spawn.Process(target=_process, args=(kept, start, counted)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    rates: list[float] = [counted.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(rates)


def _process(kept: bool, start: Any, counted: Any) -> None:
    """Half of the clients; their calls a second."""
    connections.settings["default"]["NAME"] = SMALL
    if not kept:
        trail.link = _unwritten
        trail.record = _unkept
    with ThreadPoolExecutor(THREADS) as threads:
        counted.put(sum(threads.map(lambda _: _client(start), range(THREADS))))


def _unwritten(event: Event) -> Link:
    """An event without a text and a hash."""
    return Link(event, {}, "", GENESIS)


def _unkept(made: Link, *, told: Statement | None = None) -> None:
    """No event, only what it would tell of."""
    if told is not None:
        with connection.cursor() as cursor:
            cursor.execute(*told)


def _client(start: Any) -> float:
    """Connect, wait for all the others, and call until the time is over. Calls a second."""
    agent, calls = Caller(), 0
    _life(agent)
    start.wait()
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        calls += _life(agent)
    rate = calls / (time.perf_counter() - began)
    connection.close()
    return rate


def _life(agent: Caller) -> int:
    """A session from its opening to its end. How many calls that took."""
    session = agent.call("POST", "/sessions", NEW, status=201)["session_id"]
    for status in ("active", "completed"):
        agent.call("PUT", f"/sessions/{session}", {"status": status})
    return 3
