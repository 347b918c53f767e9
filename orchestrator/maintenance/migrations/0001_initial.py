"""The records of maintenance jobs and of the rows that they cannot move."""

import django.db.models.functions.datetime
from django.db import migrations, models

GRANTS = """
GRANT SELECT, INSERT, UPDATE ON maintenance_jobs TO orchestrator_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON maintenance_poison_rows TO orchestrator_service;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="MaintenanceJob",
            fields=[
                ("name", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("last_started_at", models.DateTimeField(null=True)),
                ("last_success_at", models.DateTimeField(null=True)),
                ("last_error_at", models.DateTimeField(null=True)),
                ("last_error", models.TextField(db_default="", default="")),
                ("failures", models.IntegerField(db_default=0, default=0)),
            ],
            options={"db_table": "maintenance_jobs"},
        ),
        migrations.CreateModel(
            name="PoisonRow",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "job", "row_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("job", models.CharField(max_length=64)),
                ("row_id", models.UUIDField()),
                ("failures", models.IntegerField()),
                ("first_failed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("retry_at", models.DateTimeField()),
                ("error", models.TextField()),
            ],
            options={
                "db_table": "maintenance_poison_rows",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("failures__gte", 1)), name="maintenance_poison_rows_failures"
                    )
                ],
            },
        ),
        migrations.RunSQL(GRANTS, migrations.RunSQL.noop),
    ]
