"""A clock that makes steps, under tasks."""

from datetime import timedelta
from typing import Any

import psycopg

_SHIFT = """
UPDATE tasks SET lease_expires_at = lease_expires_at - %(step)s, deadline = deadline - %(step)s,
  not_before = not_before - %(step)s
WHERE tenant = %(tenant)s
"""


def step(beside: psycopg.Connection[Any], tenant: str, by: timedelta) -> None:
    """The database's clock goes on by so much, or back where it is negative, as far as a tenant's tasks can tell: seen
    from it, everything that a task waits for lies that much nearer. What only says when something was stays.
    """
    beside.execute("ALTER TABLE tasks DISABLE TRIGGER tasks_complete_update")
    beside.execute(_SHIFT, {"step": by, "tenant": tenant})
    beside.execute("ALTER TABLE tasks ENABLE ALWAYS TRIGGER tasks_complete_update")
