"""The house, as Django knows it."""

from django.apps import AppConfig
from django.core.checks import Tags, register

from orchestrator.checks import login_is_whole, production_is_safe
from orchestrator.replication import standbys_confirm_writes


class OrchestratorConfig(AppConfig):
    """Registers what production is checked for."""

    name = "orchestrator"

    def ready(self) -> None:
        """The checks run with every command, and where gunicorn loads the application."""
        register(production_is_safe, Tags.security)
        register(login_is_whole, Tags.security)
        register(standbys_confirm_writes, "replication", deploy=True)
