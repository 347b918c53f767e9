"""What the database itself says of seals: append-only, true to their hash. And of every event what its text says."""

from typing import ClassVar

from django.db import migrations

SEALS = r"""
CREATE FUNCTION audit_seals_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit_seals is append-only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_seals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
  FOR EACH STATEMENT EXECUTE FUNCTION audit_seals_refuse();
ALTER TABLE audit_seals ENABLE ALWAYS TRIGGER audit_seals_append_only;
ALTER TABLE audit_seals ADD CONSTRAINT audit_seals_hash CHECK (
  octet_length(root) = 32 AND octet_length(prev_hash) = 32 AND octet_length(signature) = 64 AND
  octet_length(endorsement) = 64 AND
  hash = sha256('\x7365616c2f763100'::bytea || convert_to(body, 'UTF8')));
GRANT SELECT, INSERT ON audit_seals TO orchestrator_service;
"""

# As before for the events of chains, and now for those outside any as well: refused attempts, events of other systems.
COLUMNS = r"""
ALTER TABLE audit_events DROP CONSTRAINT audit_events_columns;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_columns CHECK (coalesce(
  body::jsonb @> jsonb_build_object(
    'id', id, 'event_type', event_type, 'seq', seq, 'version', seq, 'from', from_status, 'to', to_status,
    'tenant', tenant, 'role', role, 'reason', reason, 'via', via, 'request_id', request_id, 'trace_id', trace_id,
    'cause', cause, 'at', to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'subject', CASE WHEN subject_type IS NOT NULL OR subject_id IS NOT NULL THEN
      jsonb_build_object('type', subject_type, 'id', subject_id) END,
    'actor', jsonb_build_object('issuer', actor_issuer, 'subject', actor_subject, 'kind', actor_kind),
    'on_behalf_of', CASE WHEN on_behalf_of_issuer IS NOT NULL OR on_behalf_of_subject IS NOT NULL THEN
      jsonb_build_object('issuer', on_behalf_of_issuer, 'subject', on_behalf_of_subject) END)
  AND ip IS NOT DISTINCT FROM (body::jsonb ->> 'ip')::inet
  AND metadata = jsonb_build_object('changes', body::jsonb -> 'changes'), false));
"""


class Migration(migrations.Migration):
    """Triggers, checks and grants of seals."""

    dependencies: ClassVar = [("audit_app", "0003_seals")]
    operations: ClassVar = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (SEALS, COLUMNS)]
