"""Connecting as the worker: the role that may do what the service may, and write seals."""

from django.conf import settings
from django.db import connection


def connect_as_worker() -> None:
    """Let the connections that this process makes from now on, in every thread, be the worker's.

    Without WORKER_DATABASE_URL they stay those of DATABASE_URL, which then has to be the worker's.
    """
    if settings.WORKER_DATABASE is not None:
        connection.close()
        # The dictionary is the one that other threads make their connections by.
        connection.settings_dict.update(settings.WORKER_DATABASE)
