"""Link several identities of one person: all but one refer to that one."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

COLUMN = """
ALTER TABLE people_person ADD COLUMN alias_of_id bigint NULL;
ALTER TABLE people_person ADD CONSTRAINT people_person_alias_of_id_fkey
  FOREIGN KEY (alias_of_id) REFERENCES people_person (id) NOT VALID;
ALTER TABLE people_person ADD CONSTRAINT people_person_not_alias_of_itself CHECK (alias_of_id <> id) NOT VALID;
"""


class Migration(migrations.Migration):
    """Add the column and its constraints; 0007 validates them."""

    dependencies: ClassVar = [("people", "0004_login_grants")]
    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMN, migrations.RunSQL.noop)],
            state_operations=[
                migrations.AddField(
                    "person",
                    "alias_of",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="aliases",
                        to="people.person",
                    ),
                ),
                migrations.AddConstraint(
                    "person",
                    models.CheckConstraint(
                        name="people_person_not_alias_of_itself", condition=~models.Q(alias_of=models.F("id"))
                    ),
                ),
            ],
        ),
    ]
