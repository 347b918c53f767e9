"""The idempotency app."""

from django.apps import AppConfig


class IdempotencyConfig(AppConfig):
    """Holds what was answered."""

    name = "orchestrator.idempotency"
    label = "idempotency"
