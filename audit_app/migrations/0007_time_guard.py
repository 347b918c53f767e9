"""Let no event be written with a time further than one minute from the clock of the database."""

from typing import ClassVar

from django.db import migrations

# A trigger rather than a CHECK: a dump that is restored holds old events, and has its triggers last.
TIME = """
CREATE FUNCTION audit_event_is_of_another_time() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'event %: its time % is further than one minute from the clock of the database', NEW.id, NEW.timestamp
    USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER audit_events_of_now BEFORE INSERT ON audit_events FOR EACH ROW
  WHEN (NEW.timestamp NOT BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp() + interval '1 minute')
  EXECUTE FUNCTION audit_event_is_of_another_time();
ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_of_now;
"""


class Migration(migrations.Migration):
    """A function and a trigger on new events. Events that are there already are not judged."""

    dependencies: ClassVar = [("audit_app", "0006_quick_checks")]
    operations: ClassVar = [migrations.RunSQL(TIME, migrations.RunSQL.noop)]
