"""What the database itself says of the trail: append-only, true to its hash, complete."""

from typing import ClassVar

from django.db import migrations

APPEND_ONLY = """
CREATE FUNCTION audit_events_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit_events is append-only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
  FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse();
ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_append_only;
"""

# The hash is of the body, and the columns beside it say what the body says.
TRUE_TO_ITS_HASH = r"""
ALTER TABLE audit_events ADD CONSTRAINT audit_events_hash CHECK (
  octet_length(coalesce(prev_hash, decode(repeat('00', 32), 'hex'))) = 32 AND
  hash = sha256('\x61756469742f763100'::bytea || coalesce(prev_hash, decode(repeat('00', 32), 'hex'))
                || convert_to(body, 'UTF8')));
ALTER TABLE audit_events ADD CONSTRAINT audit_events_columns CHECK (seq IS NULL OR coalesce(
  body::jsonb @> jsonb_build_object(
    'id', id, 'event_type', event_type, 'seq', seq, 'version', seq, 'from', from_status, 'to', to_status,
    'tenant', tenant, 'role', role, 'reason', reason, 'via', via, 'request_id', request_id, 'trace_id', trace_id,
    'cause', cause, 'at', to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'subject', jsonb_build_object('type', subject_type, 'id', subject_id),
    'actor', jsonb_build_object('issuer', actor_issuer, 'subject', actor_subject, 'kind', actor_kind),
    'on_behalf_of', CASE WHEN on_behalf_of_subject IS NOT NULL THEN
      jsonb_build_object('issuer', on_behalf_of_issuer, 'subject', on_behalf_of_subject) END)
  AND ip IS NOT DISTINCT FROM (body::jsonb ->> 'ip')::inet
  AND metadata = jsonb_build_object('changes', body::jsonb -> 'changes'), false));
"""

# Called by deferred constraint triggers with the subject's type: at COMMIT, whatever moved must have its event.
# pg_temp stands last in the path: a temporary table named audit_events must not be believed.
COMPLETE = """
-- An event of an earlier transaction tells of an earlier change: with it a deleted row could be brought back.
CREATE FUNCTION audit_insist_on_now(written xid8, noun text, id uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF written <> pg_current_xact_id() THEN
    RAISE EXCEPTION '% % changed in another transaction than its event', noun, id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
END $$;

CREATE FUNCTION audit_is_complete() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
  noun text := TG_ARGV[0];
  event audit_events;
BEGIN
  IF TG_OP = 'DELETE' THEN
    SELECT * INTO event FROM audit_events e
      WHERE e.subject_type = noun AND e.subject_id = OLD.id AND e.seq = OLD.version + 1;
    IF NOT FOUND OR event.event_type <> noun || '.deleted' OR event.prev_hash <> OLD.audit_head
       OR event.tenant <> OLD.tenant THEN
      RAISE EXCEPTION '% % was deleted without its event', noun, OLD.id
        USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    PERFORM audit_insist_on_now(event.xid, noun, OLD.id);
    RETURN NULL;
  END IF;
  SELECT * INTO event FROM audit_events e
    WHERE e.subject_type = noun AND e.subject_id = NEW.id AND e.seq = NEW.version;
  IF NOT FOUND OR event.hash IS DISTINCT FROM NEW.audit_head OR event.to_status IS DISTINCT FROM NEW.status
     OR event.tenant <> NEW.tenant OR event.event_type = noun || '.deleted' THEN
    RAISE EXCEPTION '% % is not as its last event says', noun, NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.version <> 1 OR event.prev_hash <> decode(repeat('00', 32), 'hex') OR event.from_status IS NOT NULL THEN
      RAISE EXCEPTION '% % does not begin at version 1', noun, NEW.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
  ELSIF NEW.version <> OLD.version + 1 OR event.prev_hash <> OLD.audit_head OR NEW.id <> OLD.id
     OR NEW.tenant <> OLD.tenant OR event.from_status IS DISTINCT FROM OLD.status THEN
    RAISE EXCEPTION '% % does not follow its version %', noun, NEW.id, OLD.version
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  PERFORM audit_insist_on_now(event.xid, noun, NEW.id);
  RETURN NULL;
END $$;
"""

# xid and era are not in the list: the database sets them.
GRANTS = """
GRANT SELECT ON audit_events TO orchestrator_service;
GRANT INSERT (id, event_type, role, timestamp, trace_id, metadata, subject_type, subject_id, seq, from_status,
  to_status, body, hash, prev_hash, tenant, actor_issuer, actor_subject, actor_kind, on_behalf_of_issuer,
  on_behalf_of_subject, via, reason, cause, request_id, ip) ON audit_events TO orchestrator_service;
"""


class Migration(migrations.Migration):
    """Functions, triggers, checks and grants of the trail."""

    dependencies: ClassVar = [("audit_app", "0001_initial")]
    operations: ClassVar = [
        migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (APPEND_ONLY, TRUE_TO_ITS_HASH, COMPLETE, GRANTS)
    ]
