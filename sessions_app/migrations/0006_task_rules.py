import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0005_tasks"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["tenant", "-created_at", "-id"], name="tasks_page"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["tenant", "to_role", "-created_at", "-id"], name="tasks_page_to_role"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["tenant", "from_role", "-created_at", "-id"], name="tasks_page_from_role"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["tenant", "task_type", "-created_at", "-id"], name="tasks_page_type"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["tenant", "status", "-created_at", "-id"], name="tasks_page_status"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                fields=["tenant", "created_by_subject", "created_by_issuer", "-created_at", "-id"],
                name="tasks_page_created_by",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("status", "pending")),
                fields=["tenant", "to_role", "-priority", "created_at", "id"],
                name="tasks_claim",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("status", "active")), fields=["lease_expires_at"], name="tasks_leased"
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("deadline__isnull", False), ("status__in", ("pending", "blocked", "active"))),
                fields=["deadline"],
                name="tasks_deadline",
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.CheckConstraint(condition=models.Q(("priority__range", (0, 9))), name="tasks_priority"),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.CheckConstraint(
                condition=models.Q(("attempt__range", (1, models.F("max_attempts"))), ("max_attempts__range", (1, 20))),
                name="tasks_attempt",
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("lease_epoch__gte", 1),
                        ("lease_expires_at__isnull", False),
                        ("lease_issuer__isnull", False),
                        ("lease_seconds__isnull", False),
                        ("lease_subject__isnull", False),
                        ("lease_token_hash__isnull", False),
                        ("status", "active"),
                    ),
                    models.Q(
                        models.Q(("status", "active"), _negated=True),
                        ("lease_epoch__gte", 0),
                        ("lease_expires_at__isnull", True),
                        ("lease_for_issuer__isnull", True),
                        ("lease_for_subject__isnull", True),
                        ("lease_issuer__isnull", True),
                        ("lease_seconds__isnull", True),
                        ("lease_subject__isnull", True),
                        ("lease_token_hash__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="tasks_lease",
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.UniqueConstraint(fields=("retry_of",), name="tasks_retry_of"),
        ),
        migrations.AddField(
            model_name="attempt",
            name="task",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="attempts",
                to="sessions_app.task",
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.UniqueConstraint(fields=("task", "epoch"), name="task_attempts_epoch"),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "outcome__in",
                        ["completed", "failed", "released", "lease-lost", "force-released", "deadline-exceeded"],
                    )
                ),
                name="task_attempts_outcome",
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at__isnull", True), ("ended_by__isnull", True), ("outcome__isnull", True)),
                    models.Q(("ended_at__isnull", False), ("outcome__isnull", False)),
                    _connector="OR",
                ),
                name="task_attempts_ended",
            ),
        ),
    ]
