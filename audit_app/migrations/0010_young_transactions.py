"""Let no transaction write an event once it is older than ten minutes."""

from typing import ClassVar

from django.db import migrations

# The feed turns times into places by this bound. A trigger rather than a CHECK: a dump that is restored may take longer,
# and has its triggers last.
YOUNG = """
CREATE FUNCTION audit_event_is_of_an_old_transaction() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'event %: its transaction is older than ten minutes', NEW.id
    USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER audit_events_of_young_transactions BEFORE INSERT ON audit_events FOR EACH ROW
  WHEN (transaction_timestamp() < clock_timestamp() - interval '10 minutes')
  EXECUTE FUNCTION audit_event_is_of_an_old_transaction();
ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_of_young_transactions;
"""


class Migration(migrations.Migration):
    """A function and a trigger on new events."""

    dependencies: ClassVar = [("audit_app", "0009_feed")]
    operations: ClassVar = [migrations.RunSQL(YOUNG, migrations.RunSQL.noop)]
