"""Let the worker's role write seals, and the service's no more.

The role is made by a superuser, before or after: docs/upgrading.md. Until it is there, the service's role keeps its
right, so that a sweeper of before goes on. Whoever makes the role afterwards calls the function, as the owner.
"""

from typing import ClassVar

from django.db import migrations

WORKER = """
CREATE FUNCTION audit_let_worker_seal() RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orchestrator_worker') THEN
    RETURN false;
  END IF;
  GRANT SELECT, INSERT ON audit_seals TO orchestrator_worker;
  GRANT SELECT, INSERT, UPDATE ON audit_sealer_state TO orchestrator_worker;
  REVOKE INSERT ON audit_seals FROM orchestrator_service;
  REVOKE INSERT, UPDATE ON audit_sealer_state FROM orchestrator_service;
  RETURN true;
END $$;
REVOKE EXECUTE ON FUNCTION audit_let_worker_seal() FROM PUBLIC;
SELECT audit_let_worker_seal();
"""


class Migration(migrations.Migration):
    """A function, and its first call."""

    dependencies: ClassVar = [("audit_app", "0010_young_transactions")]
    operations: ClassVar = [migrations.RunSQL(WORKER, migrations.RunSQL.noop)]
