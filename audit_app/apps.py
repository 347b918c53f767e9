"""The audit app."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Holds the trail."""

    name = "audit_app"
    verbose_name = "audit"
