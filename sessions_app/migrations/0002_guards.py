"""What the database itself says of the work: no change without its event, and the two views."""

from typing import ClassVar

from django.db import migrations


def guards(table: str, noun: str) -> str:
    """Deferred triggers that look for the event of every change, and a refusal to TRUNCATE past them."""
    return f"""
CREATE CONSTRAINT TRIGGER {table}_complete AFTER INSERT OR DELETE ON {table}
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_is_complete('{noun}');
CREATE CONSTRAINT TRIGGER {table}_complete_update AFTER UPDATE ON {table}
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
  EXECUTE FUNCTION audit_is_complete('{noun}');
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION work_refuse_truncate();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_complete;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_complete_update;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_no_truncate;
ALTER TABLE {table} ADD CONSTRAINT {table}_audit_head CHECK (octet_length(audit_head) = 32);
GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO orchestrator_service;
"""


REFUSE_TRUNCATE = """
CREATE FUNCTION work_refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% has a trail: TRUNCATE is refused', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
"""

# The other direction of audit_is_complete(): an event of a chain tells of a change that was made. Without this, an event
# made up for the next version would keep every later change of its row out.
EVENTS_ARE_TRUE = """
CREATE FUNCTION work_event_is_true() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE reached int;
BEGIN
  CASE NEW.subject_type
    WHEN 'session' THEN SELECT version INTO reached FROM sessions WHERE id = NEW.subject_id;
    WHEN 'task' THEN SELECT version INTO reached FROM tasks WHERE id = NEW.subject_id;
    WHEN 'approval' THEN SELECT version INTO reached FROM approvals WHERE id = NEW.subject_id;
    ELSE RAISE EXCEPTION 'no chain is of a %', NEW.subject_type USING ERRCODE = 'integrity_constraint_violation';
  END CASE;
  IF reached IS NULL THEN
    -- Gone: then the chain ends with its deletion, and every event but the first follows another.
    PERFORM 1 FROM audit_events e WHERE e.subject_type = NEW.subject_type AND e.subject_id = NEW.subject_id
      AND e.seq >= NEW.seq AND e.event_type = NEW.subject_type || '.deleted' AND e.seq > 1;
    IF FOUND AND NEW.seq > 1 THEN
      PERFORM 1 FROM audit_events e WHERE e.subject_type = NEW.subject_type AND e.subject_id = NEW.subject_id
        AND e.seq = NEW.seq - 1 AND e.hash = NEW.prev_hash;
    END IF;
    IF FOUND THEN RETURN NULL; END IF;
  ELSIF reached >= NEW.seq THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION '% % is not at version %', NEW.subject_type, NEW.subject_id, NEW.seq
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE CONSTRAINT TRIGGER audit_events_are_true AFTER INSERT ON audit_events
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.seq IS NOT NULL) EXECUTE FUNCTION work_event_is_true();
ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_are_true;
"""

CASCADE = """
ALTER TABLE approvals ADD CONSTRAINT approvals_task_id_fkey
  FOREIGN KEY (task_id) REFERENCES tasks (id) ON DELETE CASCADE;
"""

VIEWS = """
CREATE VIEW active_sessions AS
  SELECT id, role, task_id, created_at, updated_at FROM sessions WHERE status = 'active';
CREATE VIEW pending_approvals AS
  SELECT a.*, t.description, t.from_role, t.to_role
  FROM approvals a JOIN tasks t ON t.id = a.task_id WHERE a.status = 'pending';
GRANT SELECT ON active_sessions, pending_approvals TO orchestrator_service;
"""

STATEMENTS = (
    REFUSE_TRUNCATE,
    guards("sessions", "session"),
    guards("tasks", "task"),
    guards("approvals", "approval"),
    EVENTS_ARE_TRUE,
    CASCADE,
    VIEWS,
)


class Migration(migrations.Migration):
    """Triggers, checks, grants and views of the work."""

    dependencies: ClassVar = [("sessions_app", "0001_initial"), ("audit_app", "0002_guards")]
    operations: ClassVar = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in STATEMENTS]
