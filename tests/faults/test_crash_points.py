"""A worker dies in the middle of a keyed request: nothing is doubled, nothing is lost, and a retry gets its answer."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import pytest

from tests.database import superuser_connection
from tests.faults.checker import check
from tests.faults.crash import POINTS, crashing_key
from tests.faults.harness import Client, Service, serving, until_final
from tests.faults.history import Call, History, Outcome
from tests.faults.valkey import Valkey, valkey

pytestmark = pytest.mark.django_db(transaction=True)

COMMITTED = ("commit", "cache")
"""The points past which there is an effect."""
KEYS = 30
RETRY_SECONDS = 2.0


@pytest.fixture(scope="module")
def redis() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture(scope="module")
def service(django_db_setup: Any, redis: Valkey) -> Iterator[Service]:
    with serving(workers=3, FAULT_POINT=" ".join(POINTS), REDIS_URL=redis.url) as running:
        yield running


def crash_and_retry(service: Service, client: Client, key: str, point: str) -> tuple[Call, float]:
    """The retry's final answer, and how long it took."""
    # Somebody has to be there to take the retry.
    service.wait_for(2)
    assert client.open(key).outcome is Outcome.UNKNOWN
    began = time.monotonic()
    answer = until_final(lambda: client.open(key))
    took = time.monotonic() - began
    assert answer.status == 201
    assert answer.replayed is (point in COMMITTED)
    return answer, took


def crash_at(service: Service, point: str, keys: int) -> list[float]:
    history = History()
    client = Client(service.base, history)
    took, run = [], uuid4().hex[:8]
    for n in range(keys):
        key = crashing_key(point, f"{run}-{n}")
        answer, seconds = crash_and_retry(service, client, key, point)
        took.append(seconds)
        assert client.open(key).body == answer.body
    with superuser_connection() as beside:
        assert check(history, beside, ended=False) == []
    return took


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_dies_at_a_crash_point_doubles_and_loses_nothing(service: Service, point: str) -> None:
    assert max(crash_at(service, point, 1)) <= RETRY_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_thirty_keys_at_each_crash_point(service: Service, point: str) -> None:
    took = crash_at(service, point, KEYS)
    print(f"{point}: {KEYS} keys, retry answered in {median(took):.3f} s, at most {max(took):.3f} s")
    assert max(took) <= RETRY_SECONDS


def test_production_knows_no_crash_point() -> None:
    here = Path(__file__).parents[2]
    sources = [path for name in ("orchestrator", "sessions_app", "audit_app") for path in (here / name).rglob("*.py")]
    assert sources
    assert not [path for path in sources if re.search(r"\bFAULT_|\bSIGKILL\b", path.read_text())]
