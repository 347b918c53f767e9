"""Build the indexes of the chains while the version before serves. An unfinished one is dropped first."""

from typing import ClassVar

from django.db import migrations, models

STATEMENTS = (
    "DROP INDEX CONCURRENTLY IF EXISTS people_person_trail_id;",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS people_person_trail_id ON people_person (trail_id);",
    "DROP INDEX CONCURRENTLY IF EXISTS people_person_unrecorded;",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS people_person_unrecorded ON people_person (id) WHERE version = 0;",
)


class Migration(migrations.Migration):
    """Two indexes."""

    atomic = False
    dependencies: ClassVar = [("people", "0008_chains")]
    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in STATEMENTS],
            state_operations=[
                migrations.AddConstraint(
                    "person", models.UniqueConstraint(fields=["trail_id"], name="people_person_trail_id")
                ),
                migrations.AddIndex(
                    "person",
                    models.Index(fields=["id"], condition=models.Q(version=0), name="people_person_unrecorded"),
                ),
            ],
        ),
    ]
