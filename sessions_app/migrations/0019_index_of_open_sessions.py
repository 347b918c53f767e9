"""Build the index of the open sessions of a task while the version before serves.

Each statement is a transaction of its own. The migration may be run again after it was interrupted: an unfinished index
is dropped first.
"""

from typing import ClassVar

from django.db import migrations, models

INDEX = models.Index(
    fields=["task"],
    condition=models.Q(status__in=["pending", "active"], task__isnull=False),
    name="sessions_open_of_task",
)
DROP = "DROP INDEX CONCURRENTLY IF EXISTS sessions_open_of_task;"
BUILD = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS sessions_open_of_task ON sessions (task_id)
  WHERE status IN ('pending', 'active') AND task_id IS NOT NULL;
"""


class Migration(migrations.Migration):
    """An index only."""

    atomic = False
    dependencies: ClassVar = [("sessions_app", "0018_refusal_counts")]
    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (DROP, BUILD)],
            state_operations=[migrations.AddIndex("session", INDEX)],
        ),
    ]
