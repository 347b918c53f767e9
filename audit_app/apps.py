"""The audit app."""

from django.apps import AppConfig
from django.core.checks import Tags, register

from audit_app.checks import service_writes_no_seals


class AuditConfig(AppConfig):
    """Holds the trail."""

    name = "audit_app"
    verbose_name = "audit"

    def ready(self) -> None:
        """Register what the database is checked for, by those commands that check databases."""
        register(service_writes_no_seals, Tags.database)
