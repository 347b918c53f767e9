"""Eight workers who claim ten tasks at a time, in two processes, until nothing is left."""

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from statistics import median
from typing import Any

from django.db import connection, connections

from benchmarks.bench import SMALL
from benchmarks.measured.databases import LARGE, owner
from benchmarks.measured.rounds import Figure, at_most
from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from sessions_app import queue
from sessions_app.transitions import lease
from tests import mere_rows, task_seeding

PROCESSES, THREADS, AT_A_TIME = 2, 4, 10
TASKS, ROUNDS = 2_000, 5
PROMISED = 500
ALIKE = 1.25
ROLE, TRACE = "finance", "claims"
LASTING = timedelta(minutes=10)


def figures() -> list[Figure]:
    """Tasks a second, beside few that are done and beside many."""
    rates: dict[str, list[float]] = {SMALL: [], LARGE: []}
    for _ in range(ROUNDS):
        for database, measured in rates.items():
            measured.append(_round(database))
    few, many = (median(measured) for measured in rates.values())
    return [
        _promised("eight workers claiming, in tasks a second, beside a thousand done", few),
        _promised("… beside a million done", many),
        at_most("a thousand done against a million, in tasks a second", few / many, ALIKE),
    ]


def worker(number: int = 0) -> Actor:
    """An agent of the role."""
    identity = Identity("local", f"worker-{number}")
    return Actor(
        identity, mere_rows.TENANT, Kind.AGENT, Origin(Via.API), frozenset({Role.AGENT}), agent_roles=frozenset({ROLE})
    )


def claim(actor: Actor, most: int = AT_A_TIME) -> list[lease.Grant]:
    """Claim as a call does, without the call."""
    rows = queue.claimable(actor, [ROLE], None, most)
    return boundary.write(lambda: lease.claim(rows, actor=actor, lasting=LASTING))


def _promised(what: str, rate: float) -> Figure:
    return Figure(what, f"{rate:,.0f}", f"≥ {PROMISED}", is_kept=rate >= PROMISED)


def _round(database: str) -> float:
    """Seed, let them claim, and take away what they claimed. Tasks a second."""
    with owner(database) as filler:
        task_seeding.waiting(filler, TASKS, role=ROLE, trace=TRACE)
        try:
            return TASKS / _seconds(database)
        finally:
            task_seeding.forget(filler, TRACE)


def _seconds(database: str) -> float:
    spawn = multiprocessing.get_context("spawn")
    start, taken = spawn.Barrier(PROCESSES * THREADS + 1), spawn.Queue()
    processes = [spawn.Process(target=_process, args=(database, start, taken)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    start.wait()
    began = time.perf_counter()
    total = sum(taken.get() for _ in processes)
    seconds = time.perf_counter() - began
    for process in processes:
        process.join()
    assert total == TASKS
    return seconds


def _process(database: str, start: Any, taken: Any) -> None:
    """Some of the workers, each with a connection of its own; how many tasks they got."""
    connections.settings["default"]["NAME"] = database
    with ThreadPoolExecutor(THREADS) as threads:
        taken.put(sum(threads.map(lambda number: _claims(worker(number), start), range(THREADS))))


def _claims(actor: Actor, start: Any) -> int:
    """Connect, wait for all the others, and claim until there is nothing. How many."""
    connection.ensure_connection()
    start.wait()
    count = 0
    while grants := claim(actor):
        count += len(grants)
    connection.close()
    return count
