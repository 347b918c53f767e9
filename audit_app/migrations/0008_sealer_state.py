"""What keeps the trail from being sealed, so that `/health` can say so; and what a seal must be, said by the database."""

from typing import ClassVar

from django.db import migrations, models

# After the insert, so that the key and the checks of the table have had their say.
FOLLOWS = r"""
CREATE FUNCTION audit_seal_follows() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
  before record;
  events bigint;
BEGIN
  SELECT s.last_era, s.last_xid, s.last_id, s.hash INTO before FROM audit_seals s WHERE s.number = NEW.number - 1;
  IF (NEW.number > 1) <> FOUND OR EXISTS (SELECT FROM audit_seals s WHERE s.number > NEW.number) THEN
    RAISE EXCEPTION 'seal % is not the one after the last', NEW.number USING ERRCODE = 'check_violation';
  END IF;
  IF NEW.prev_hash <> coalesce(before.hash, decode(repeat('00', 32), 'hex')) THEN
    RAISE EXCEPTION 'seal % does not name the seal before it', NEW.number USING ERRCODE = 'check_violation';
  END IF;
  IF NOT EXISTS (SELECT FROM audit_events e
      WHERE (e.era, e.xid, e.id) = (NEW.last_era, NEW.last_xid, NEW.last_id)) THEN
    RAISE EXCEPTION 'seal % ends with an event that does not exist', NEW.number USING ERRCODE = 'check_violation';
  END IF;
  SELECT count(*) INTO events FROM audit_events e
    WHERE (e.era, e.xid, e.id) <= (NEW.last_era, NEW.last_xid, NEW.last_id)
      AND (e.era, e.xid, e.id) > (coalesce(before.last_era, -2147483648), coalesce(before.last_xid, '0'::xid8),
        coalesce(before.last_id, '00000000-0000-0000-0000-000000000000'::uuid));
  IF events <> NEW.size THEN
    RAISE EXCEPTION 'seal % is over % events, not %', NEW.number, events, NEW.size USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER audit_seals_follow AFTER INSERT ON audit_seals
  FOR EACH ROW EXECUTE FUNCTION audit_seal_follows();
ALTER TABLE audit_seals ENABLE ALWAYS TRIGGER audit_seals_follow;
"""

GRANT = "GRANT SELECT, INSERT, UPDATE ON audit_sealer_state TO orchestrator_service;"


class Migration(migrations.Migration):
    """A table, a trigger, and a grant."""

    dependencies: ClassVar = [("audit_app", "0007_time_guard")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="SealerState",
            fields=[
                ("part", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("problem", models.CharField(default="", max_length=40)),
                ("since", models.DateTimeField(null=True)),
            ],
            options={"db_table": "audit_sealer_state"},
        ),
        migrations.RunSQL(FOLLOWS, migrations.RunSQL.noop),
        migrations.RunSQL(GRANT, migrations.RunSQL.noop),
    ]
