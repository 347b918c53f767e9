"""One identity has one row in each tenant.

Each statement is a transaction of its own, so that the version before goes on while an index is built. The migration
may be run again after it was interrupted: an index that was left unfinished is dropped first.
"""

from typing import ClassVar

from django.db import migrations, models

STATEMENTS = (
    "DROP INDEX CONCURRENTLY IF EXISTS people_person_identity;",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS people_person_identity ON people_person (tenant, issuer, subject);",
    "DROP INDEX CONCURRENTLY IF EXISTS people_person_alias_of_id;",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS people_person_alias_of_id ON people_person (alias_of_id);",
)


class Migration(migrations.Migration):
    """Two indexes."""

    atomic = False
    dependencies: ClassVar = [("people", "0005_aliases")]
    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in STATEMENTS],
            state_operations=[
                migrations.AddConstraint(
                    "person",
                    models.UniqueConstraint(fields=["tenant", "issuer", "subject"], name="people_person_identity"),
                ),
            ],
        ),
    ]
