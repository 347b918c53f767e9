"""What the database says of who decided and what a task waited for: neither is got round afterwards."""

from typing import ClassVar

from django.db import migrations

HOLDERS = """
CREATE FUNCTION work_holder_decided_nothing() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM 1 FROM approvals a JOIN approval_decisions d ON d.approval_id = a.id
    WHERE a.task_id = NEW.id AND (d.decider_issuer, d.decider_subject) IN
      ((NEW.lease_issuer, NEW.lease_subject), (NEW.lease_for_issuer, NEW.lease_for_subject));
  IF FOUND THEN
    RAISE EXCEPTION 'task %: whoever decided about it does not do it', NEW.id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER tasks_held_by_another BEFORE UPDATE ON tasks FOR EACH ROW
  WHEN (NEW.lease_subject IS NOT NULL
    AND (NEW.lease_issuer, NEW.lease_subject, NEW.lease_for_issuer, NEW.lease_for_subject)
      IS DISTINCT FROM (OLD.lease_issuer, OLD.lease_subject, OLD.lease_for_issuer, OLD.lease_for_subject))
  EXECUTE FUNCTION work_holder_decided_nothing();
ALTER TABLE tasks ENABLE ALWAYS TRIGGER tasks_held_by_another;
"""

# What is asked about a held task is not what it waits for. What was withdrawn counts as answered only where something
# as strict, asked after it, was.
UNBLOCKED = """
CREATE OR REPLACE FUNCTION work_unblocked_by_agreement() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM 1 FROM approvals WHERE task_id = NEW.id AND blocks AND status = 'pending';
  IF FOUND THEN
    RAISE EXCEPTION 'task % waits for an approval', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  PERFORM 1 FROM approvals WHERE task_id = NEW.id AND blocks AND status = 'approved';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'nobody agreed to task %', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  PERFORM 1 FROM approvals withdrawn WHERE task_id = NEW.id AND blocks AND status = 'cancelled' AND NOT EXISTS (
    SELECT FROM approvals a WHERE a.task_id = NEW.id AND a.blocks AND a.status = 'approved'
      AND a.approver_role = withdrawn.approver_role AND a.required_approvals >= withdrawn.required_approvals
      AND a.action_digest IS NOT DISTINCT FROM withdrawn.action_digest AND a.created_at > withdrawn.created_at);
  IF FOUND THEN
    RAISE EXCEPTION 'what was asked about task % was withdrawn', NEW.id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    """Triggers of tasks."""

    dependencies: ClassVar = [("sessions_app", "0010_approval_guards")]
    operations: ClassVar = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (HOLDERS, UNBLOCKED)]
