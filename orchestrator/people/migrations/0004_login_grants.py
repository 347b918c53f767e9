"""What the service's role may do with the failed logins that django-axes counts."""

from typing import ClassVar

from django.db import migrations

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON axes_accessattempt TO orchestrator_service;
GRANT SELECT, DELETE ON axes_accessattemptexpiration TO orchestrator_service;
"""


class Migration(migrations.Migration):
    """Grants only."""

    dependencies: ClassVar = [("people", "0003_admin_grants"), ("axes", "0010_accessattemptexpiration")]
    operations: ClassVar = [migrations.RunSQL(GRANTS, migrations.RunSQL.noop)]
