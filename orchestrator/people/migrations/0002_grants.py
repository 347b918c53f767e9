"""What the service's role may do with people, and with the tables of Django's own that come with them."""

from typing import ClassVar

from django.db import migrations

GRANTS = """
GRANT SELECT, INSERT, UPDATE ON people_person TO orchestrator_service;
GRANT SELECT, INSERT, DELETE ON people_person_groups, people_person_user_permissions TO orchestrator_service;
GRANT SELECT ON auth_group, auth_permission, auth_group_permissions, django_content_type, django_migrations
  TO orchestrator_service;
"""


class Migration(migrations.Migration):
    """Grants only."""

    dependencies: ClassVar = [("people", "0001_initial")]
    operations: ClassVar = [migrations.RunSQL(GRANTS, migrations.RunSQL.noop)]
