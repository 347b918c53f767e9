"""How much one tenant may have at once: open sessions, pending tasks and held leases.

A count is taken from an index, no further than the quota, and kept for a few seconds in this process. What the process
adds meanwhile is added to it. So the quota is approximate: each process can let in what others let in within that time.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from orchestrator.problems import QuotaExceeded

FRESH_SECONDS = 5.0
"""For how long a count is used."""

_MAX_TENANTS = 10_000


@dataclass(frozen=True, slots=True)
class Quota:
    """One quota: its name for callers, its setting, and which rows of a tenant count."""

    name: str
    setting: str
    rows: str

    @property
    def limit(self) -> int:
        """Return how many rows a tenant may have; 0 where any number is allowed."""
        return int(getattr(settings, self.setting))

    def count(self, tenant: str, most: int) -> int:
        """Return how many rows a tenant has, counted no further than `most`."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT count(*) FROM (SELECT FROM {self.rows} AND tenant = %s LIMIT %s) AS counted", [tenant, most]
            )
            return int(cursor.fetchone()[0])


OPEN_SESSIONS = Quota("open-sessions", "QUOTA_OPEN_SESSIONS", "sessions WHERE status IN ('pending', 'active')")
PENDING_TASKS = Quota("pending-tasks", "QUOTA_PENDING_TASKS", "tasks WHERE status IN ('pending', 'blocked')")
HELD_LEASES = Quota("held-leases", "QUOTA_HELD_LEASES", "tasks WHERE status = 'active'")


class Counts:
    """The counts that this process keeps, the longest unused tenant forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def require(self, quota: Quota, tenant: str) -> None:
        """Check that a tenant may add a row. Raise QuotaExceeded where it has as many as it may have."""
        if not quota.limit:
            return
        count, taken_at = self._known(quota, tenant)
        if count >= quota.limit:
            wait = max(1, round(FRESH_SECONDS - (self._clock() - taken_at)))
            raise QuotaExceeded(quota.name, quota.limit, wait)

    def add(self, quota: Quota, tenant: str, rows: int) -> None:
        """Count rows that a tenant adds, until they are counted again."""
        with self._lock:
            if (known := self._kept.get((quota.name, tenant))) is not None:
                self._kept[quota.name, tenant] = (known[0] + rows, known[1])

    def _known(self, quota: Quota, tenant: str) -> tuple[int, float]:
        key = (quota.name, tenant)
        with self._lock:
            known = self._kept.get(key)
        if known is not None and self._clock() - known[1] < FRESH_SECONDS:
            return known
        counted = (quota.count(tenant, quota.limit), self._clock())
        with self._lock:
            self._kept[key] = counted
            self._kept.move_to_end(key)
            if len(self._kept) > _MAX_TENANTS:
                self._kept.popitem(last=False)
        return counted


counts = Counts()
"""Those of this process."""
