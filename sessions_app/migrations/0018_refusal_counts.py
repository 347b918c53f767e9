"""The counts of refusals that were repeated within a minute."""

from typing import ClassVar

from django.db import migrations, models

RULES = """
ALTER TABLE refusal_counts ADD CONSTRAINT refusal_counts_key CHECK (octet_length(key) = 32);
-- A row is updated in place until it is recorded and deleted.
ALTER TABLE refusal_counts SET (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE, DELETE ON refusal_counts TO orchestrator_service;
"""


class Migration(migrations.Migration):
    """One table of the service's, without a chain."""

    dependencies: ClassVar = [("sessions_app", "0017_lost_deliveries")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="RefusalCount",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "minute", "key", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("minute", models.DateTimeField()),
                ("key", models.BinaryField()),
                ("repeated", models.IntegerField(db_default=0, default=0)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("event_type", models.CharField(max_length=50)),
                ("tenant", models.CharField(max_length=64)),
                ("subject_type", models.CharField(max_length=20)),
                ("subject_id", models.UUIDField()),
                ("role", models.CharField(max_length=50)),
                ("reason", models.TextField()),
                ("attempted", models.TextField()),
                ("version", models.IntegerField()),
                ("actor_issuer", models.CharField(max_length=255)),
                ("actor_subject", models.CharField(max_length=255)),
                (
                    "actor_kind",
                    models.CharField(
                        choices=[
                            ("person", "Person"),
                            ("agent", "Agent"),
                            ("service_account", "Service Account"),
                            ("job", "Job"),
                        ],
                        max_length=20,
                    ),
                ),
                ("on_behalf_of_issuer", models.CharField(max_length=255, null=True)),
                ("on_behalf_of_subject", models.CharField(max_length=255, null=True)),
                (
                    "via",
                    models.CharField(
                        choices=[("api", "Api"), ("admin", "Admin"), ("job", "Job"), ("mesh", "Mesh")], max_length=10
                    ),
                ),
                ("request_id", models.CharField(max_length=64)),
                ("trace_id", models.CharField(max_length=128)),
                ("ip", models.GenericIPAddressField(null=True)),
            ],
            options={
                "db_table": "refusal_counts",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("repeated__gte", 0)), name="refusal_counts_repeated")
                ],
            },
        ),
        migrations.RunSQL(RULES, migrations.RunSQL.noop),
    ]
