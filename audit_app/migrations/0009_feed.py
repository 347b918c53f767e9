"""Build the index of the feed while the version before serves. An unfinished one is dropped first."""

from typing import ClassVar

from django.db import migrations, models

FEED = models.Index(fields=["tenant", "era", "xid", "id"], name="audit_events_feed")
BUILD = (
    "DROP INDEX CONCURRENTLY IF EXISTS audit_events_feed;",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS audit_events_feed ON audit_events (tenant, era, xid, id);",
)


class Migration(migrations.Migration):
    """One index."""

    atomic = False
    dependencies: ClassVar = [("audit_app", "0008_sealer_state")]
    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in BUILD],
            state_operations=[migrations.AddIndex("auditevent", FEED)],
        )
    ]
