"""What is measured when somebody scrapes: states of the database and of Redis, and what the apps tell of themselves.

On no other path: a request waits for none of it. What was measured holds for some seconds, so that however often a
process is scraped, the database is asked no more often than that.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import NamedTuple

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.utils.module_loading import import_string
from prometheus_client.core import GaugeMetricFamily, Metric

from orchestrator import __version__
from orchestrator.boundary import sqlstate
from orchestrator.redis import redis

KEPT_SECONDS = 5.0
"""For how long a measurement is told again."""

_PATIENCE = "2s"
"""How long one statement may take. What takes longer is not told, and the service goes on."""
_TOO_SLOW = "57014"

_DATABASE = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL), current_setting('max_connections')::int,
  pg_database_size(current_database()), coalesce((SELECT extract(epoch FROM max(clock_timestamp() - xact_start))
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()), 0)::float
"""

log = logging.getLogger(__name__)


def gauge(name: str, told: str, labels: Iterable[str] = ()) -> GaugeMetricFamily:
    """A gauge of ours, without samples yet; its name ends with its unit."""
    return GaugeMetricFamily(f"orchestrator_{name}", told, labels=list(labels))


def database() -> Iterator[Metric]:
    """How the database is; of another role's transactions only those that the service's role may see."""
    with connection.cursor() as cursor:
        cursor.execute(_DATABASE)
        row = cursor.fetchone()
    names = (
        ("database_connections", "Connections to the database's server, of everybody."),
        ("database_max_connections", "How many connections the server takes."),
        ("database_size_bytes", "What the database takes on its disk."),
        (
            "database_oldest_transaction_age_seconds",
            "How long the oldest transaction of the service's role is open; it holds seals back.",
        ),
    )
    for (name, told), value in zip(names, row, strict=True):
        family = gauge(name, told)
        family.add_metric([], value)
        yield family


class Measurements:
    """The latest ones, taken anew once they are too old. Of several who scrape at once, one measures."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._taken_at, self._taken = -KEPT_SECONDS, list[Metric]()

    def collect(self) -> list[Metric]:
        """As a collector of prometheus_client's."""
        with self._lock:
            if self._clock() - self._taken_at >= KEPT_SECONDS:
                self._taken = [*_build(), *_redis(), *_of_database()]
                self._taken_at = self._clock()
            return self._taken


class _Source(NamedTuple):
    name: str
    measure: Callable[[], Iterable[Metric]]


def _of_database() -> Iterator[Metric]:
    """By each source of METRICS_SOURCES, in a transaction of its own: one that is too slow takes no other with it."""
    succeeded = gauge("scrape_source_success", "Whether a source could be measured at this scrape: 1 or 0.", ["source"])
    away = False
    for source in (_Source(name, import_string(where)) for name, where in settings.METRICS_SOURCES.items()):
        told: list[Metric] = []
        if not away:
            try:
                told = _measured(source)
            except (DatabaseError, InterfaceError) as error:
                away = isinstance(error, OperationalError | InterfaceError) and sqlstate(error) != _TOO_SLOW
                log.warning("not measured", extra={"source": source.name, "why": type(error).__name__})
        succeeded.add_metric([source.name], float(bool(told)))
        yield from told
    up = gauge("database_up", "Whether the database answered this scrape: 1 or 0.")
    up.add_metric([], float(not away))
    yield from (up, succeeded)


def _measured(source: _Source) -> list[Metric]:
    """Raises what the database raises."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = '{_PATIENCE}'")
            return list(source.measure())
    except (DatabaseError, InterfaceError):
        connection.close_if_unusable_or_obsolete()
        raise


def _redis() -> Iterator[Metric]:
    up = gauge("redis_up", "Whether Redis answered this scrape: 1 or 0; nothing where none is configured.")
    if (shared := redis()) is not None:
        up.add_metric([], float(shared.answers()))
    yield up


def _build() -> Iterator[Metric]:
    built = gauge("build_info", "1; the label is the service's version.", ["version"])
    built.add_metric([__version__], 1)
    yield built
