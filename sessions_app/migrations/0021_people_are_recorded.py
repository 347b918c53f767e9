"""Let no right of a person change without its event, nor a cut-off."""

from typing import ClassVar

from django.db import migrations

# Written by the version before and by createsuperuser, rows have version 0 until a maintenance job records them.
RECORDED = """
CREATE FUNCTION people_is_recorded() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
  event record;
BEGIN
  IF TG_OP = 'DELETE' THEN
    IF OLD.version = 0 THEN RETURN NULL; END IF;
    RAISE EXCEPTION 'person % has a chain of events and stays', OLD.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  IF NEW.version = 0 AND NEW.trail_id IS NULL AND NEW.audit_head IS NULL AND (TG_OP = 'INSERT' OR OLD.version = 0) THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' OR NEW.version <> OLD.version + 1 OR (OLD.version > 0
      AND (NEW.id, NEW.trail_id, NEW.tenant, NEW.issuer, NEW.subject)
        IS DISTINCT FROM (OLD.id, OLD.trail_id, OLD.tenant, OLD.issuer, OLD.subject)) THEN
    RAISE EXCEPTION 'person % does not follow its version', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  SELECT e.hash, e.prev_hash, e.tenant, e.xid, e.metadata -> 'changes' AS told INTO event FROM audit_events e
    WHERE e.subject_type = 'person' AND e.subject_id = NEW.trail_id AND e.seq = NEW.version;
  IF NOT FOUND OR event.hash IS DISTINCT FROM NEW.audit_head OR event.tenant <> NEW.tenant
     OR event.prev_hash <> coalesce(OLD.audit_head, decode(repeat('00', 32), 'hex'))
     OR event.xid <> pg_current_xact_id() THEN
    RAISE EXCEPTION 'person % changed without its event', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  -- A list of more than 1 KiB is told as its digest, which audit_verify compares.
  IF jsonb_build_object('person', jsonb_build_object('issuer', NEW.issuer, 'subject', NEW.subject),
       'roles', to_jsonb(NEW.roles), 'is_active', NEW.is_active, 'is_staff', NEW.is_staff,
       'is_superuser', NEW.is_superuser, 'alias_of', NEW.alias_of_id)
     IS DISTINCT FROM jsonb_build_object('person', event.told -> 'person', 'roles', event.told -> 'roles',
       'is_active', event.told -> 'is_active', 'is_staff', event.told -> 'is_staff',
       'is_superuser', event.told -> 'is_superuser', 'alias_of', event.told -> 'alias_of')
     OR (to_jsonb(NEW.agent_roles) IS DISTINCT FROM event.told -> 'agent_roles'
         AND coalesce(jsonb_typeof(event.told -> 'agent_roles'), '') <> 'object') THEN
    RAISE EXCEPTION 'person % is not as the event says', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER people_person_recorded AFTER INSERT OR DELETE ON people_person
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION people_is_recorded();
CREATE CONSTRAINT TRIGGER people_person_recorded_update AFTER UPDATE ON people_person
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
    (OLD.id, OLD.trail_id, OLD.version, OLD.audit_head, OLD.tenant, OLD.issuer, OLD.subject, OLD.roles, OLD.agent_roles,
      OLD.is_active, OLD.is_staff, OLD.is_superuser, OLD.alias_of_id)
    IS DISTINCT FROM (NEW.id, NEW.trail_id, NEW.version, NEW.audit_head, NEW.tenant, NEW.issuer, NEW.subject, NEW.roles,
      NEW.agent_roles, NEW.is_active, NEW.is_staff, NEW.is_superuser, NEW.alias_of_id))
  EXECUTE FUNCTION people_is_recorded();
CREATE TRIGGER people_person_no_truncate BEFORE TRUNCATE ON people_person
  FOR EACH STATEMENT EXECUTE FUNCTION work_refuse_truncate();
ALTER TABLE people_person ENABLE ALWAYS TRIGGER people_person_recorded;
ALTER TABLE people_person ENABLE ALWAYS TRIGGER people_person_recorded_update;
ALTER TABLE people_person ENABLE ALWAYS TRIGGER people_person_no_truncate;
"""

# As before, and of people too.
EVENTS_ARE_TRUE = """
CREATE OR REPLACE FUNCTION work_event_is_true() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE reached int;
BEGIN
  CASE NEW.subject_type
    WHEN 'session' THEN SELECT version INTO reached FROM sessions WHERE id = NEW.subject_id;
    WHEN 'task' THEN SELECT version INTO reached FROM tasks WHERE id = NEW.subject_id;
    WHEN 'approval' THEN SELECT version INTO reached FROM approvals WHERE id = NEW.subject_id;
    WHEN 'person' THEN SELECT version INTO reached FROM people_person WHERE trail_id = NEW.subject_id;
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
"""


class Migration(migrations.Migration):
    """A function, three triggers, and the function of the trail's own made anew."""

    dependencies: ClassVar = [
        ("sessions_app", "0020_bounded_sessions"),
        ("people", "0009_chain_indexes"),
        ("audit_app", "0010_young_transactions"),
    ]
    operations: ClassVar = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (RECORDED, EVENTS_ARE_TRUE)]
