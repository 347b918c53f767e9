"""What is measured at a scrape: seldom, within bounds, and whatever else is away."""

from collections.abc import Iterable, Iterator

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from prometheus_client.core import Metric

from orchestrator.measuring import KEPT_SECONDS, Measurements, gauge
from sessions_app.models import Session
from tests.database import owner_connection
from tests.orchestrator.test_health import database_away
from tests.work import open_session

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """Time that is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def slow() -> Iterator[Metric]:
    """A source whose statement takes longer than it may."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(10)")
    yield gauge("never", "Never told.")


def writing() -> Iterator[Metric]:
    """A source that writes."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sessions")
    yield gauge("never", "Never told.")


def values(told: Iterable[Metric], name: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric, by their labels' values."""
    samples = [sample for family in told for sample in family.samples if sample.name == f"orchestrator_{name}"]
    return {tuple(sample.labels.values()): sample.value for sample in samples}


def test_however_often_it_is_scraped_the_database_is_asked_once_in_a_while() -> None:
    clock = Clock()
    measurements = Measurements(clock)
    costs = []
    for now in (0.0, KEPT_SECONDS - 0.1, KEPT_SECONDS, KEPT_SECONDS + 1, 2 * KEPT_SECONDS):
        clock.now = now
        with CaptureQueriesContext(connection) as captured:
            measurements.collect()
        costs.append(len(captured))
    # BEGIN, the bounds and COMMIT for each of five sources; one query each for the database and the feed, two for the
    # jobs, four for the work, and for the seals as many as `/health` sends and one more, which are six.
    assert costs == [costs[0], 0, costs[0], 0, costs[0]]
    assert 0 < costs[0] <= 29


def test_what_is_too_slow_is_left_out_and_takes_nothing_else_with_it() -> None:
    sources = {"slow": f"{__name__}.slow", "database": "orchestrator.measuring.database"}
    with override_settings(METRICS_SOURCES=sources):
        told = Measurements().collect()
    assert values(told, "scrape_source_success") == {("slow",): 0, ("database",): 1}
    assert values(told, "database_up") == {(): 1}
    assert values(told, "database_connections")[()] >= 1


def test_whoever_measures_cannot_write() -> None:
    open_session()
    with override_settings(METRICS_SOURCES={"work": f"{__name__}.writing"}):
        told = Measurements().collect()
    assert values(told, "scrape_source_success") == {("work",): 0}
    assert values(told, "database_up") == {(): 1}
    assert Session.objects.count() == 1


def test_without_the_database_the_rest_is_told_and_with_it_everything_again() -> None:
    clock = Clock()
    measurements = Measurements(clock)
    with database_away():
        told = measurements.collect()
    assert values(told, "database_up") == {(): 0}
    assert set(values(told, "scrape_source_success").values()) == {0}
    assert values(told, "build_info")
    assert not values(told, "tasks_active")
    clock.now = KEPT_SECONDS
    assert values(measurements.collect(), "database_up") == {(): 1}


def test_the_database_tells_its_connections_its_bounds_and_its_oldest_transaction() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    with owner_connection() as beside:
        known = beside.execute("SELECT current_setting('max_connections')::int, pg_database_size(current_database())")
        limit, size = known.fetchone() or (0, 0)
        told = Measurements().collect()
    assert values(told, "database_max_connections") == {(): limit}
    assert values(told, "database_size_bytes")[()] == pytest.approx(size, rel=0.1)
    assert 2 <= values(told, "database_connections")[()] <= limit
    assert values(told, "database_oldest_transaction_age_seconds")[()] >= 0


def test_no_redis_is_told_of_where_none_is_configured() -> None:
    assert values(Measurements().collect(), "redis_up") == {}
