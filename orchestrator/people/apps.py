"""The people app."""

from django.apps import AppConfig


class PeopleConfig(AppConfig):
    """Holds the user model."""

    name = "orchestrator.people"
    label = "people"
