"""What is checked of every event, as functions: their plans are kept, where a condition is planned for each INSERT.

And what is asked at COMMIT, in less time.
"""

from typing import ClassVar

from django.db import migrations

HASH = r"""
CREATE FUNCTION audit_hash_is_true(hash bytea, prev_hash bytea, body text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before bytea := coalesce(prev_hash, decode(repeat('00', 32), 'hex'));
BEGIN
  RETURN octet_length(before) = 32
    AND hash = sha256(decode('61756469742f763100', 'hex') || before || convert_to(body, 'UTF8'));
END $$;
"""

# In the order of names of PostgreSQL's own, whatever the session that inserts has set. A text is built from the columns, and compared, in a tenth of the time that a document takes. Documents have the last
# word: where one thing can be written in two ways, as an address can, or what stands out of order.
COLUMNS = r"""
CREATE FUNCTION audit_columns_are_told(
  id uuid, event_type text, role text, happened timestamptz, trace_id text, metadata jsonb, subject_type text,
  subject_id uuid, seq int, from_status text, to_status text, body text, tenant text, actor_issuer text,
  actor_subject text, actor_kind text, on_behalf_of_issuer text, on_behalf_of_subject text, via text, reason text,
  cause uuid, request_id text, ip inet) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  at text := to_char(happened AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
  version text := coalesce(seq::text, 'null');
  is_of_a_row boolean := subject_type IS NOT NULL OR subject_id IS NOT NULL;
  is_for_another boolean := on_behalf_of_issuer IS NOT NULL OR on_behalf_of_subject IS NOT NULL;
  head text := concat('{"actor":{"issuer":', to_json(actor_issuer), ',"kind":', to_json(actor_kind), ',"subject":',
    to_json(actor_subject), '},"at":', coalesce('"' || at || '"', 'null'), ',"cause":',
    coalesce('"' || cause || '"', 'null'), ',"changes":');
  tail text := concat(',"event_type":', to_json(event_type), ',"from":', coalesce(to_json(from_status)::text, 'null'),
    ',"id":"', id, '","ip":', coalesce('"' || abbrev(ip) || '"', 'null'), ',"on_behalf_of":',
    CASE WHEN is_for_another THEN concat('{"issuer":', coalesce(to_json(on_behalf_of_issuer)::text, 'null'),
      ',"subject":', coalesce(to_json(on_behalf_of_subject)::text, 'null'), '}') ELSE 'null' END,
    ',"reason":', to_json(reason), ',"request_id":', to_json(request_id), ',"role":', to_json(role), ',"seq":',
    version, ',"subject":',
    CASE WHEN is_of_a_row THEN concat('{"id":', coalesce('"' || subject_id || '"', 'null'), ',"type":',
      coalesce(to_json(subject_type)::text, 'null'), '}') ELSE 'null' END,
    ',"tenant":', to_json(tenant), ',"to":', coalesce(to_json(to_status)::text, 'null'), ',"trace_id":',
    to_json(trace_id), ',"version":', version, ',"via":', to_json(via), '}');
  changes int := length(body) - length(head) - length(tail);
  document jsonb;
BEGIN
  IF changes > 0 AND starts_with(body, head) AND right(body, length(tail)) = tail THEN
    BEGIN
      RETURN metadata = jsonb_build_object('changes', substr(body, length(head) + 1, changes)::jsonb);
    EXCEPTION WHEN invalid_text_representation THEN
      NULL; -- more than the changes stands there, or what is no document at all
    END;
  END IF;
  document := body::jsonb;
  RETURN coalesce(
    document @> jsonb_build_object(
      'id', id, 'event_type', event_type, 'seq', seq, 'version', seq, 'from', from_status, 'to', to_status,
      'tenant', tenant, 'role', role, 'reason', reason, 'via', via, 'request_id', request_id, 'trace_id', trace_id,
      'cause', cause, 'at', at,
      'subject', CASE WHEN is_of_a_row THEN jsonb_build_object('type', subject_type, 'id', subject_id) END,
      'actor', jsonb_build_object('issuer', actor_issuer, 'subject', actor_subject, 'kind', actor_kind),
      'on_behalf_of', CASE WHEN is_for_another THEN
        jsonb_build_object('issuer', on_behalf_of_issuer, 'subject', on_behalf_of_subject) END)
    AND ip IS NOT DISTINCT FROM (document ->> 'ip')::inet
    AND metadata = jsonb_build_object('changes', document -> 'changes'), false);
END $$;
"""

CHECKS = """
ALTER TABLE audit_events DROP CONSTRAINT audit_events_hash;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_hash CHECK (audit_hash_is_true(hash, prev_hash, body));
ALTER TABLE audit_events DROP CONSTRAINT audit_events_columns;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_columns CHECK (audit_columns_are_told(
  id, event_type, role, timestamp, trace_id, metadata, subject_type, subject_id, seq, from_status, to_status, body,
  tenant, actor_issuer, actor_subject, actor_kind, on_behalf_of_issuer, on_behalf_of_subject, via, reason, cause,
  request_id, ip));
"""

# As before, but that only the columns are read that are compared, and no other function is called.
COMPLETE = """
CREATE OR REPLACE FUNCTION audit_is_complete() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
  noun text := TG_ARGV[0];
  event record;
BEGIN
  IF TG_OP = 'DELETE' THEN
    SELECT e.event_type, e.prev_hash, e.tenant, e.xid INTO event FROM audit_events e
      WHERE e.subject_type = noun AND e.subject_id = OLD.id AND e.seq = OLD.version + 1;
    IF NOT FOUND OR event.event_type <> noun || '.deleted' OR event.prev_hash <> OLD.audit_head
       OR event.tenant <> OLD.tenant THEN
      RAISE EXCEPTION '% % was deleted without its event', noun, OLD.id
        USING ERRCODE = 'integrity_constraint_violation';
    END IF;
  ELSE
    SELECT e.event_type, e.hash, e.prev_hash, e.from_status, e.to_status, e.tenant, e.xid INTO event
      FROM audit_events e WHERE e.subject_type = noun AND e.subject_id = NEW.id AND e.seq = NEW.version;
    IF NOT FOUND OR event.hash IS DISTINCT FROM NEW.audit_head OR event.to_status IS DISTINCT FROM NEW.status
       OR event.tenant <> NEW.tenant OR event.event_type = noun || '.deleted' THEN
      RAISE EXCEPTION '% % is not as its last event says', noun, NEW.id
        USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
      IF NEW.version <> 1 OR event.prev_hash <> decode(repeat('00', 32), 'hex') OR event.from_status IS NOT NULL THEN
        RAISE EXCEPTION '% % does not begin at version 1', noun, NEW.id
          USING ERRCODE = 'integrity_constraint_violation';
      END IF;
    ELSIF NEW.version <> OLD.version + 1 OR event.prev_hash <> OLD.audit_head OR NEW.id <> OLD.id
       OR NEW.tenant <> OLD.tenant OR event.from_status IS DISTINCT FROM OLD.status THEN
      RAISE EXCEPTION '% % does not follow its version %', noun, NEW.id, OLD.version
        USING ERRCODE = 'integrity_constraint_violation';
    END IF;
  END IF;
  -- An event of an earlier transaction tells of an earlier change: with it a deleted row could be brought back.
  IF event.xid <> pg_current_xact_id() THEN
    RAISE EXCEPTION '% % changed in another transaction than its event', noun, coalesce(NEW.id, OLD.id)
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
DROP FUNCTION audit_insist_on_now;
"""


class Migration(migrations.Migration):
    """Two functions, the two checks of events by them, and the function of the triggers made anew."""

    dependencies: ClassVar = [("audit_app", "0005_lists")]
    operations: ClassVar = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (HASH, COLUMNS, CHECKS, COMPLETE)]
