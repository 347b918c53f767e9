"""What the service's role may do with the tables of the admin: keep who is logged in, and read Django's empty log."""

from typing import ClassVar

from django.db import migrations

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON django_session TO orchestrator_service;
GRANT SELECT ON django_admin_log TO orchestrator_service;
"""


class Migration(migrations.Migration):
    """Grants only."""

    dependencies: ClassVar = [
        ("people", "0002_grants"),
        ("sessions", "0001_initial"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]
    operations: ClassVar = [migrations.RunSQL(GRANTS, migrations.RunSQL.noop)]
