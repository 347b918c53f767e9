"""Bound the open sessions of a task, and refuse decisions about work that is over."""

from typing import ClassVar

from django.db import migrations

BOUND = """
-- Two sessions of one task wait for each other here, until the transaction of the first one ends: the second one is
-- counted after it. It is the last lock that a transaction takes, so that no deadlock can arise.
CREATE OR REPLACE FUNCTION work_sessions_of_task_are_bounded() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE open_ones int;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('sessions of task ' || NEW.task_id, 0));
  SELECT count(*) INTO open_ones FROM (
    SELECT FROM sessions s
      WHERE s.task_id = NEW.task_id AND s.status IN ('pending', 'active') AND s.id <> NEW.id LIMIT 100) AS others;
  IF open_ones >= 100 THEN
    RAISE EXCEPTION 'task %: it has as many open sessions as it may have', NEW.task_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_of_task_are_bounded';
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER sessions_of_task_are_bounded BEFORE INSERT OR UPDATE OF task_id ON sessions
  FOR EACH ROW WHEN (NEW.task_id IS NOT NULL AND NEW.status IN ('pending', 'active'))
  EXECUTE FUNCTION work_sessions_of_task_are_bounded();
ALTER TABLE sessions ENABLE ALWAYS TRIGGER sessions_of_task_are_bounded;
"""

DECISIONS = """
-- A task or session of an older version may end while it still has open requests. The name lets it run after the trigger
-- that locks the task.
CREATE OR REPLACE FUNCTION work_decided_work_is_open() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM FROM approvals a JOIN tasks t ON t.id = a.task_id
    WHERE a.id = NEW.approval_id AND t.status NOT IN ('pending', 'blocked', 'active');
  IF NOT FOUND THEN
    PERFORM FROM approvals a JOIN sessions s ON s.id = a.session_id
      WHERE a.id = NEW.approval_id AND s.status NOT IN ('pending', 'active');
  END IF;
  IF FOUND THEN
    RAISE EXCEPTION 'approval %: its task or session is over', NEW.approval_id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER approval_decisions_on_open_work BEFORE INSERT ON approval_decisions
  FOR EACH ROW EXECUTE FUNCTION work_decided_work_is_open();
ALTER TABLE approval_decisions ENABLE ALWAYS TRIGGER approval_decisions_on_open_work;
"""


class Migration(migrations.Migration):
    """Two functions and their triggers."""

    dependencies: ClassVar = [("sessions_app", "0019_index_of_open_sessions")]
    operations: ClassVar = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (BOUND, DECISIONS)]
