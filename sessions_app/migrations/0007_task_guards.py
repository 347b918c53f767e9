"""What the database itself says of tasks: a heartbeat needs no event, an epoch never falls, an ended attempt stays."""

from typing import ClassVar

from django.db import migrations

# Every column counts but the two that a heartbeat writes: one that is added later counts from the start.
HEARTBEATS = """
DROP TRIGGER tasks_complete_update ON tasks;
CREATE CONSTRAINT TRIGGER tasks_complete_update AFTER UPDATE ON tasks
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (to_jsonb(OLD) - '{lease_expires_at,progress}'::text[]
        IS DISTINCT FROM to_jsonb(NEW) - '{lease_expires_at,progress}'::text[])
  EXECUTE FUNCTION audit_is_complete('task');
ALTER TABLE tasks ENABLE ALWAYS TRIGGER tasks_complete_update;
"""

EPOCHS = """
ALTER TABLE tasks ADD CONSTRAINT tasks_lease_token_hash CHECK (octet_length(lease_token_hash) = 32);
CREATE FUNCTION work_epoch_rises() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  -- An ownership begins with the next epoch and keeps it: what an earlier holder sends is told apart by it.
  IF NEW.lease_epoch <> OLD.lease_epoch + (NEW.status = 'active' AND OLD.status <> 'active')::int
     OR (NEW.status = 'active' AND OLD.status = 'active' AND NEW.lease_token_hash <> OLD.lease_token_hash) THEN
    RAISE EXCEPTION 'task %: no ownership leads from epoch % to %', NEW.id, OLD.lease_epoch, NEW.lease_epoch
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER tasks_epoch BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION work_epoch_rises();
ALTER TABLE tasks ENABLE ALWAYS TRIGGER tasks_epoch;
"""

ATTEMPTS = """
ALTER TABLE task_attempts ADD CONSTRAINT task_attempts_task_id_fkey
  FOREIGN KEY (task_id) REFERENCES tasks (id) ON DELETE CASCADE;
ALTER TABLE task_attempts ADD CONSTRAINT task_attempts_token_hash CHECK (octet_length(token_hash) = 32);
CREATE FUNCTION work_attempt_ends_once() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  IF OLD.ended_at IS NOT NULL OR NEW.ended_at IS NULL
     OR (NEW.id, NEW.task_id, NEW.epoch, NEW.attempt, NEW.token_hash, NEW.claimed_at, NEW.holder_issuer,
         NEW.holder_subject, NEW.holder_for_issuer, NEW.holder_for_subject)
        IS DISTINCT FROM
        (OLD.id, OLD.task_id, OLD.epoch, OLD.attempt, OLD.token_hash, OLD.claimed_at, OLD.holder_issuer,
         OLD.holder_subject, OLD.holder_for_issuer, OLD.holder_for_subject) THEN
    RAISE EXCEPTION 'an attempt ends once, and nothing else of it changes' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER task_attempts_end_once BEFORE UPDATE ON task_attempts
  FOR EACH ROW EXECUTE FUNCTION work_attempt_ends_once();
CREATE TRIGGER task_attempts_no_truncate BEFORE TRUNCATE ON task_attempts
  FOR EACH STATEMENT EXECUTE FUNCTION work_refuse_truncate();
ALTER TABLE task_attempts ENABLE ALWAYS TRIGGER task_attempts_end_once;
ALTER TABLE task_attempts ENABLE ALWAYS TRIGGER task_attempts_no_truncate;
GRANT SELECT, INSERT, UPDATE ON task_attempts TO orchestrator_service;
"""


class Migration(migrations.Migration):
    """Triggers, checks and grants of tasks and their attempts."""

    dependencies: ClassVar = [("sessions_app", "0006_task_rules")]
    operations: ClassVar = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (HEARTBEATS, EPOCHS, ATTEMPTS)]
