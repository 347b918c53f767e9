"""Let an attempt end as a lost delivery, at most three times per task, while the version before serves.

Each statement is a transaction of its own. The migration may be run again after it was interrupted.
"""

from typing import ClassVar

from django.db import migrations, models

OUTCOMES = ["completed", "failed", "released", "lease-lost", "lost-delivery", "force-released", "deadline-exceeded"]

INDEX = models.Index(fields=["task"], condition=models.Q(outcome="lost-delivery"), name="task_attempts_lost_deliveries")
INDEXED = "task_attempts (task_id) WHERE outcome = 'lost-delivery'"

_LISTED = ", ".join(f"'{outcome}'" for outcome in OUTCOMES)
WIDEN = f"""
-- squawk-ignore ban-drop-constraint
ALTER TABLE task_attempts DROP CONSTRAINT IF EXISTS task_attempts_outcome,
  ADD CONSTRAINT task_attempts_outcome CHECK (outcome IN ({_LISTED})) NOT VALID;
"""
VALIDATE = "ALTER TABLE task_attempts VALIDATE CONSTRAINT task_attempts_outcome;"

LIMIT = """
CREATE OR REPLACE FUNCTION work_attempt_ends_once() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  IF OLD.ended_at IS NOT NULL OR NEW.ended_at IS NULL
     OR (NEW.id, NEW.task_id, NEW.epoch, NEW.attempt, NEW.token_hash, NEW.claimed_at, NEW.holder_issuer,
         NEW.holder_subject, NEW.holder_for_issuer, NEW.holder_for_subject)
        IS DISTINCT FROM
        (OLD.id, OLD.task_id, OLD.epoch, OLD.attempt, OLD.token_hash, OLD.claimed_at, OLD.holder_issuer,
         OLD.holder_subject, OLD.holder_for_issuer, OLD.holder_for_subject) THEN
    RAISE EXCEPTION 'an attempt ends once, and nothing else of it changes' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.outcome = 'lost-delivery' AND (
      NEW.ended_by IS NOT NULL OR NEW.error IS NOT NULL
      OR (SELECT count(*) FROM task_attempts a WHERE a.task_id = NEW.task_id AND a.outcome = 'lost-delivery') >= 3) THEN
    RAISE EXCEPTION 'task %: a delivery is lost at most three times, and no call ends it', NEW.task_id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    """One outcome more, its index and its limit."""

    atomic = False
    dependencies: ClassVar = [("sessions_app", "0016_what_was_agreed")]
    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(sql, migrations.RunSQL.noop)
                for sql in (
                    f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX.name};",
                    f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {INDEX.name} ON {INDEXED};",
                )
            ],
            state_operations=[migrations.AddIndex("attempt", INDEX)],
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (WIDEN, VALIDATE, LIMIT)],
            state_operations=[
                migrations.AlterField(
                    "attempt",
                    "outcome",
                    models.CharField(
                        choices=[
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("released", "Released"),
                            ("lease-lost", "Lease Lost"),
                            ("lost-delivery", "Lost Delivery"),
                            ("force-released", "Force Released"),
                            ("deadline-exceeded", "Deadline Exceeded"),
                        ],
                        max_length=20,
                        null=True,
                    ),
                ),
                migrations.RemoveConstraint("attempt", "task_attempts_outcome"),
                migrations.AddConstraint(
                    "attempt",
                    models.CheckConstraint(condition=models.Q(outcome__in=OUTCOMES), name="task_attempts_outcome"),
                ),
            ],
        ),
    ]
