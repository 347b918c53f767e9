"""Reading a long trail with several processes: each takes one range of chains after the other, all of one moment."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from threading import Thread
from typing import Any
from uuid import UUID

from django.db import OperationalError, connections

from audit_app import chains
from audit_app.findings import Finding, first
from audit_app.since import Since
from audit_app.snapshot import Raw, beside

AT_A_TIME = 25_000
"""About how many events a range has. With fewer altogether a process of its own does not pay."""

_SAMPLED = 20
_MOST_RANGES = 1_000

# Whole pages, picked at random: wherever the borders fall, each chain is on one side of one.
_SAMPLE = """
SELECT subject_type, subject_id FROM audit_events TABLESAMPLE SYSTEM (%s)
  WHERE subject_type IS NOT NULL AND subject_id IS NOT NULL ORDER BY subject_type, subject_id
"""
# What is of no subject is told apart by what the index of the chains can look for.
_OF_NONE = ["subject_type IS NULL", "subject_type IS NOT NULL AND subject_id IS NULL"]

Range = tuple[str, list[Any]]
"""Which events, as SQL and its values."""


def ranges(connection: Raw, events: int) -> list[Range]:
    """All events, about this many, as ranges of whole chains."""
    wanted = max(1, min(_MOST_RANGES, events // AT_A_TIME))
    share = min(100.0, 100.0 * wanted * _SAMPLED / max(1, events))
    sampled = connection.execute(_SAMPLE, [share]).fetchall()
    step = max(1, len(sampled) // wanted)
    borders: list[tuple[str, UUID] | None] = [None, *sorted(set(sampled[step::step]), key=sampled.index), None]
    return [*(_between(*pair) for pair in pairwise(borders)), *((where, []) for where in _OF_NONE)]


def _between(first: tuple[str, UUID] | None, end: tuple[str, UUID] | None) -> Range:
    where = "subject_type IS NOT NULL AND subject_id IS NOT NULL"
    values: list[Any] = []
    if first is not None:
        where += " AND (subject_type, subject_id) >= (%s, %s)"
        values += first
    if end is not None:
        where += " AND (subject_type, subject_id) < (%s, %s)"
        values += end
    return where, values


def read(
    name: str, all_of_them: list[Range], steps: chains.Steps, progress: Callable[[int], object]
) -> Iterator[Finding]:
    """Every event of a snapshot; of each range the first findings. As ranges are done, in any order.

    Raises Django's OperationalError where a process was ended before its time.
    """
    # A process keeps its server's process busy as well: one for every two cores.
    count = max(1, (os.cpu_count() or 1) // 2)
    # Started anew: a copy of this process would have its threads' locks, and connections that are not its own.
    anew = multiprocessing.get_context("spawn")
    settings = dict(connections.settings["default"])
    with ProcessPoolExecutor(count, mp_context=anew, initializer=_begin, initargs=(settings,)) as pool:
        try:
            for done in as_completed([pool.submit(read_range, name, *one, steps) for one in all_of_them]):
                findings, events = done.result()
                progress(events)
                yield from findings
        except BrokenProcessPool as error:
            raise OperationalError("A process that read events was ended.") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(settings: dict[str, Any]) -> None:
    """In a new process: the same database, and the end along with the process that began it."""
    connections.settings["default"] = settings
    Thread(target=_end_along, daemon=True).start()


def _end_along() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(2)


def read_range(
    name: str,
    where: str,
    values: list[Any],
    steps: chains.Steps,
    *,
    since: Since | None = None,
    progress: Callable[[int], object] = lambda _steps: None,
) -> tuple[list[Finding], int]:
    """One range, over a connection of its own: the first that was found, and how many events there were."""
    read = 0

    def told(steps: int) -> None:
        nonlocal read
        read += steps
        progress(steps)

    with beside(name) as connection:
        return first(chains.check_events(connection, where, values, steps=steps, since=since, progress=told)), read
