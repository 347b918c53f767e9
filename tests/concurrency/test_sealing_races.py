"""Many write, some of it rolled back, while two seal: nothing ever appears below a seal, and nothing is missed."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from audit_app import sealing
from audit_app.models import AuditEvent, AuditSeal
from orchestrator import boundary
from sessions_app.models import Session
from sessions_app.transitions import session as sessions
from tests import work
from tests.audit_app.conftest import place  # noqa: F401  the keys of each test's own
from tests.audit_app.seals import Place, findings, seal
from tests.database import as_worker

pytestmark = pytest.mark.django_db(transaction=True)

WRITERS, SEALERS = 12, 2
ROLLED_BACK = 0.05
DAY = timedelta(days=1)


class RolledBackError(Exception):
    """What a writer thinks better of."""


def write(until: float, chance: random.Random) -> int:
    """Open, begin and amend sessions until then, a few in a transaction. How many events."""
    written = 0
    while time.monotonic() < until:
        try:
            kept = boundary.write(lambda: several(chance))
        except RolledBackError:
            continue
        written += 2 * len(kept)
        if chance.random() < 0.3:
            work.amend_session(kept[0], metadata={"n": written})
            written += 1
    return written


def several(chance: random.Random) -> list[Session]:
    """One transaction that lingers now and then: ids are given out in one order, and commits come in another."""
    kept = []
    for _ in range(chance.randint(1, 3)):
        session = sessions.open_session(actor=work.actor(), role="finance", task=None, metadata={}, lasting=DAY)
        kept.append(sessions.amend(session, actor=work.actor(), status="active"))
        if chance.random() < 0.2:
            time.sleep(chance.uniform(0, 0.05))
    if chance.random() < ROLLED_BACK:
        raise RolledBackError
    return kept


def seal_on(stop: threading.Event) -> int:
    """Seal, again and again. How many seals."""
    made = 0
    while not stop.is_set():
        made += sealing.seal_all()
    return made


def watch(stop: threading.Event) -> dict[int, set[UUID]]:
    """What stands below each seal when it is first seen."""
    seen: dict[int, set[UUID]] = {}
    while not stop.is_set():
        last = AuditSeal.objects.order_by("-number").first()
        if last is not None and last.number not in seen:
            seen[last.number] = below(last)
    return seen


def below(one: AuditSeal) -> set[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM audit_events WHERE (era, xid, id) <= (%s, %s::text::xid8, %s)",
            [one.last_era, str(one.last_xid), one.last_id],
        )
        return {pk for (pk,) in cursor.fetchall()}


def on_its_own(run: Callable[[], Any]) -> Any:
    try:
        return run()
    finally:
        connection.close()


def race(seconds: float, at: Place, seed: int) -> None:
    stop, until = threading.Event(), time.monotonic() + seconds
    with as_worker(), ThreadPoolExecutor(WRITERS + SEALERS + 1) as pool:
        chances = [random.Random(seed + n) for n in range(WRITERS)]
        writers = [pool.submit(on_its_own, partial(write, until, chance)) for chance in chances]
        sealers = [pool.submit(on_its_own, lambda: seal_on(stop)) for _ in range(SEALERS)]
        watcher = pool.submit(on_its_own, lambda: watch(stop))
        try:
            written = sum(writer.result() for writer in writers)
        finally:
            stop.set()
        made, seen = sum(sealer.result() for sealer in sealers), watcher.result()
    assert min(made, len(seen)) > 5
    for number, known in seen.items():
        assert below(AuditSeal.objects.get(pk=number)) == known, f"seal {number}"
    seal()
    assert AuditEvent.objects.count() == written == sum(one.size for one in AuditSeal.objects.all())
    assert findings(at) == []


def test_nothing_appears_below_a_seal_and_nothing_is_missed(place: Place) -> None:  # noqa: F811
    race(6, place, seed=20261124)


@pytest.mark.slow
def test_nothing_appears_below_a_seal_in_a_minute_of_it(place: Place) -> None:  # noqa: F811
    race(60, place, seed=7)
