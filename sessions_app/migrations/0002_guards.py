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
    CASCADE,
    VIEWS,
)


class Migration(migrations.Migration):
    """Triggers, checks, grants and views of the work."""

    dependencies: ClassVar = [("sessions_app", "0001_initial"), ("audit_app", "0002_guards")]
    operations: ClassVar = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in STATEMENTS]
