"""What is measured of the work at a scrape: how much waits for whom, for how long, and how far the sweep lags."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection
from prometheus_client.core import Metric

from orchestrator.measuring import gauge

MOST_ROLES = 50
"""So many roles have a series of their own, those for which most waits: callers name roles, and may name any number."""
OTHERS = "(others)"
"""The series of all the rest, a role that somebody gave this name included."""

# Since when a task waits: since it became pending, or may begin. Both queries read a partial index of what is open.
_TASKS = """
SELECT to_role, count(*), extract(epoch FROM clock_timestamp() - min(greatest(updated_at, not_before)))::float
FROM tasks WHERE status = 'pending' AND (not_before IS NULL OR not_before <= statement_timestamp())
  AND (deadline IS NULL OR deadline > statement_timestamp())
GROUP BY to_role
"""
_APPROVALS = """
SELECT approver_role, count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float
FROM approvals WHERE status = 'pending' AND expires_at > statement_timestamp() GROUP BY approver_role
"""
_ACTIVE = "SELECT count(*) FROM tasks WHERE status = 'active'"

# What is longest overdue by each duty of the sweep. Each is the first entry of the partial index that the duty reads.
_OVERDUE = {
    "sessions": "SELECT min(expires_at) FROM sessions WHERE status IN ('pending', 'active')",
    "approvals": "SELECT min(expires_at) FROM approvals WHERE status = 'pending'",
    "leases": "SELECT min(lease_expires_at) FROM tasks WHERE status = 'active'",
    "deadlines": "SELECT min(deadline) FROM tasks"
    " WHERE status IN ('pending', 'blocked', 'active') AND deadline IS NOT NULL",
}
_LAGS = "SELECT " + ", ".join(
    f"greatest(extract(epoch FROM clock_timestamp() - ({query})), 0)::float" for query in _OVERDUE.values()
)


def work() -> Iterator[Metric]:
    """Of all tenants together. Raises what the database raises."""
    yield from _by_role(_rows(_TASKS), "tasks_pending", "Tasks that could be claimed now", "task")
    yield from _by_role(_rows(_APPROVALS), "approvals_pending", "Approvals that could be decided now", "approval")
    active = gauge("tasks_active", "Tasks that somebody holds, by a lease that may have run out.")
    active.add_metric([], _rows(_ACTIVE)[0][0])
    lag = gauge("sweep_lag_seconds", "How long the longest overdue row of each kind has waited for the sweep.", ["of"])
    for name, seconds in zip(_OVERDUE, _rows(_LAGS)[0], strict=True):
        lag.add_metric([name], seconds)
    yield from (active, lag)


def _by_role(rows: Sequence[tuple[str, int, float]], name: str, told: str, noun: str) -> Iterator[Metric]:
    """How many, and the age of the oldest. Ages are not below zero: clocks of two statements are compared."""
    depth = gauge(name, f"{told}, by the role that they wait for.", ["role"])
    age = gauge(f"{name}_oldest_age_seconds", f"How long the {noun} that waits longest has waited, by role.", ["role"])
    ordered = sorted(rows, key=lambda row: (-row[1], row[0]))
    shown = [row for row in ordered if row[0] != OTHERS][:MOST_ROLES]
    if rest := [row for row in ordered if row not in shown]:
        shown.append((OTHERS, sum(row[1] for row in rest), max(row[2] for row in rest)))
    for role, count, seconds in shown:
        depth.add_metric([role], count)
        age.add_metric([role], max(0.0, seconds))
    yield from (depth, age)


def _rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())
