"""The maintenance app."""

from django.apps import AppConfig


class MaintenanceConfig(AppConfig):
    """Holds the records of maintenance jobs and of the rows that they cannot move."""

    name = "orchestrator.maintenance"
    label = "maintenance"
