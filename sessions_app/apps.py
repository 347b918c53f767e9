"""The sessions app."""

from django.apps import AppConfig


class SessionsConfig(AppConfig):
    """Holds the work."""

    name = "sessions_app"
    verbose_name = "work"
