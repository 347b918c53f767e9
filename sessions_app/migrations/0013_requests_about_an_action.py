"""Add what requests about an action need: columns, a limit for the use, and decisions that can be set aside.

The version before keeps serving: its rows get the defaults. A request of the version before counts as `required`, which
is the stricter reading. Existing requests have no `use_within_seconds`: their grants stay valid.
"""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

APPROVALS = """
-- squawk-ignore ban-drop-not-null
ALTER TABLE approvals ALTER COLUMN task_id DROP NOT NULL;
ALTER TABLE approvals ADD COLUMN session_id uuid NULL;
ALTER TABLE approvals ADD COLUMN required boolean NOT NULL DEFAULT true;
ALTER TABLE approvals ADD COLUMN reopens_id uuid NULL;
ALTER TABLE approvals ADD COLUMN replaces_id uuid NULL;
ALTER TABLE approvals ADD COLUMN use_within_seconds integer NULL;
ALTER TABLE approvals ALTER COLUMN use_within_seconds SET DEFAULT 86400;
ALTER TABLE approvals ADD CONSTRAINT approvals_session_id_fkey
  FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE NOT VALID;
ALTER TABLE approvals ADD CONSTRAINT approvals_subject CHECK (
  (task_id IS NOT NULL AND session_id IS NULL) OR (task_id IS NULL AND action IS NOT NULL AND NOT blocks)) NOT VALID;
ALTER TABLE approvals ADD CONSTRAINT approvals_use_within CHECK (
  use_within_seconds IS NULL OR use_within_seconds BETWEEN 60 AND 2592000) NOT VALID;
"""

DECISIONS = """
ALTER TABLE approval_decisions ADD COLUMN set_aside_at timestamp with time zone NULL;
ALTER TABLE approval_decisions ADD COLUMN set_aside_reason varchar(20) NULL;
ALTER TABLE approval_decisions ADD CONSTRAINT approval_decisions_set_aside CHECK (
  (set_aside_at IS NULL AND set_aside_reason IS NULL)
  OR (set_aside_at IS NOT NULL AND set_aside_reason IS NOT NULL AND set_aside_at >= decided_at
    AND set_aside_reason IN ('withdrawn', 'cut-off', 'same-person'))) NOT VALID;
GRANT UPDATE (set_aside_at, set_aside_reason) ON approval_decisions TO orchestrator_service;
"""


def _pointer(to: str, related_name: str) -> models.ForeignKey:
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        null=True,
        on_delete=django.db.models.deletion.DO_NOTHING,
        related_name=related_name,
        to=f"sessions_app.{to}",
    )


class Migration(migrations.Migration):
    """Columns, constraints that 0015 validates, and a grant."""

    dependencies: ClassVar = [("sessions_app", "0012_cheap_heartbeats"), ("people", "0007_who_is_the_same")]
    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (APPROVALS, DECISIONS)],
            state_operations=[
                migrations.AlterField("approval", "task", _pointer("task", "approvals")),
                migrations.AddField("approval", "session", _pointer("session", "approvals")),
                migrations.AddField("approval", "required", models.BooleanField(default=True)),
                migrations.AddField("approval", "reopens", _pointer("approval", "reopened_by")),
                migrations.AddField("approval", "replaces", _pointer("approval", "replaced_by")),
                migrations.AddField("approval", "use_within_seconds", models.IntegerField(null=True)),
                migrations.AddConstraint(
                    "approval",
                    models.CheckConstraint(
                        name="approvals_subject",
                        condition=models.Q(task__isnull=False, session__isnull=True)
                        | models.Q(task__isnull=True, action__isnull=False, blocks=False),
                    ),
                ),
                migrations.AddConstraint(
                    "approval",
                    models.CheckConstraint(
                        name="approvals_use_within",
                        condition=models.Q(use_within_seconds__isnull=True)
                        | models.Q(use_within_seconds__range=(60, 2_592_000)),
                    ),
                ),
                migrations.AddField("decision", "set_aside_at", models.DateTimeField(null=True)),
                migrations.AddField(
                    "decision",
                    "set_aside_reason",
                    models.CharField(
                        choices=[("withdrawn", "Withdrawn"), ("cut-off", "Cut Off"), ("same-person", "Same Person")],
                        max_length=20,
                        null=True,
                    ),
                ),
                migrations.AddConstraint(
                    "decision",
                    models.CheckConstraint(
                        name="approval_decisions_set_aside",
                        condition=models.Q(set_aside_at__isnull=True, set_aside_reason__isnull=True)
                        | models.Q(
                            set_aside_at__isnull=False,
                            set_aside_reason__isnull=False,
                            set_aside_at__gte=models.F("decided_at"),
                            set_aside_reason__in=["withdrawn", "cut-off", "same-person"],
                        ),
                    ),
                ),
            ],
        ),
    ]
