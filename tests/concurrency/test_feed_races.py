"""Twelve follow the feed of the trail by cursor while twelve write and commit out of order: nobody misses an event."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connection

from audit_app import trail
from audit_app.models import AuditEvent
from audit_app.trail import Action, Event
from orchestrator import boundary
from orchestrator.clock import database_now
from tests import work
from tests.api import Api, token

pytestmark = pytest.mark.django_db(transaction=True)

WRITERS = WALKERS = 12


class RolledBackError(Exception):
    """What a writer thinks better of."""


def write(wanted: int, most: int, chance: random.Random) -> int:
    """Write at least so many events, up to `most` in each of two batches of a transaction. How many."""
    written = 0
    while written < wanted:
        try:
            written += boundary.write(partial(several, most, chance))
        except RolledBackError:
            continue
    return written


def several(most: int, chance: random.Random) -> int:
    """One transaction that lingers now and then: ids are given out in one order, and commits come in another."""
    batches = [batch(chance.randint(1, most)) for _ in range(2)]
    for links in batches:
        trail.record_many(links)
        if chance.random() < 0.3:
            time.sleep(chance.uniform(0, 0.05))
    if chance.random() < 0.05:
        raise RolledBackError
    return sum(map(len, batches))


def batch(size: int) -> list[trail.Link]:
    at, said = database_now(), {"source": "a", "category": "b", "action": "c"}
    event = partial(Event, action=Action.EXTERNAL_RECORDED, tenant="default", actor=work.actor(), at=at, changes=said)
    return [trail.link(event()) for _ in range(size)]


def follow(page_size: int, is_over: threading.Event) -> list[str]:
    """Follow the feed from its start, never turning back. What was seen, in its order, until no one writes any more."""
    auditor = Api(token("ada", "auditor", ""))
    seen: dict[str, None] = {}
    cursor = ""
    while True:
        last_round = is_over.is_set() and not is_held_back()
        following: str | None = cursor
        while following is not None:
            cursor = following
            answer = auditor.get(f"/audit/events?order=oldest&page_size={page_size}&cursor={cursor}")
            assert answer.status_code == 200, answer.content
            seen |= dict.fromkeys(event["event_id"] for event in answer.json()["events"])
            following = answer.json()["next_cursor"]
        if last_round:
            return list(seen)


def is_held_back() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM audit_events WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()))")
        return bool(cursor.fetchone()[0])


def on_its_own(run: Callable[[], Any]) -> Any:
    try:
        return run()
    finally:
        connection.close()


def race(events: int, most: int, seed: int) -> int:
    """So many events, and so many walkers. How many events each of them saw; all saw all of them in one order."""
    is_over = threading.Event()
    with ThreadPoolExecutor(WRITERS + WALKERS) as pool:
        sizes = [5, 20, 50, 100] * 3
        walkers = [pool.submit(on_its_own, partial(follow, size, is_over)) for size in sizes]
        chances = [random.Random(seed + n) for n in range(WRITERS)]
        each = events // WRITERS + 1
        writers = [pool.submit(on_its_own, partial(write, each, most, chance)) for chance in chances]
        try:
            written: int = sum(writer.result() for writer in writers)
        finally:
            is_over.set()
        walks = [walker.result() for walker in walkers]
    there = [str(pk) for pk in AuditEvent.objects.order_by("era", "xid", "id").values_list("id", flat=True)]
    assert len(there) == written >= events
    for walk in walks:
        missed = set(there) - set(walk)
        assert not missed, f"{len(missed)} of {written} were missed"
        assert walk == there
    return written


def test_who_follows_the_feed_misses_nothing_that_commits_late() -> None:
    race(1_200, most=3, seed=20261130)


@pytest.mark.long
def test_who_follows_the_feed_misses_none_of_a_hundred_thousand() -> None:
    written = race(100_000, most=100, seed=7)
    print(f"0 of {written} events missed by each of {WALKERS} walkers")
