"""Warn where a promotion of a standby would lose acknowledged writes (docs/adr/0043)."""

import logging
from collections.abc import Sequence
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage
from django.db import DatabaseError, InterfaceError, connections

from orchestrator.patience import bounded

_ANSWER_SECONDS = 5.0
# Without a grant of pg_monitor the service sees how many standbys stream, and nothing else of them.
_CONFIRMED = """
SELECT (SELECT count(*) FROM pg_stat_replication),
  current_setting('synchronous_standby_names') <> '' AND current_setting('synchronous_commit') NOT IN ('off', 'local')
"""

log = logging.getLogger(__name__)


def standbys_confirm_writes(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Ask the database for `manage.py check --deploy`. Logs a warning where the database does not answer."""
    try:
        standbys = unconfirmed()
    except (DatabaseError, InterfaceError) as error:
        log.warning("nobody knows whether standbys confirm writes", extra={"why": type(error).__name__})
        return []
    if not standbys:
        return []
    message = f"{_said(standbys)}, and a COMMIT does not wait for any: a promotion loses acknowledged writes."
    hint = "Set synchronous_standby_names on the primary, and leave synchronous_commit on; see docs/deploying.md."
    return [checks.Warning(message, hint=hint, id="orchestrator.W004")]


def warn() -> None:
    """Log the warning at the start of a process. A database that is away is no reason to wait or to fail."""
    try:
        standbys = unconfirmed()
    except (DatabaseError, InterfaceError):
        return
    if standbys:
        log.warning("standbys do not confirm writes", extra={"standbys": standbys})


def warn_in_thread() -> None:
    """Log the warning in a thread that ends with it, and leave none of the thread's connections open.

    What receives `connection_created` may open the thread's own connection, beside the one that is asked about.
    """
    try:
        warn()
    finally:
        connections.close_all()


def unconfirmed() -> int:
    """Return how many standbys stream from the database while a COMMIT waits for none of them.

    On a connection of its own, and within a few seconds. Raises Django's DatabaseError or InterfaceError.
    """
    connection = connections.create_connection("default")
    try:
        connection.ensure_connection()
        bounded(connection, _ANSWER_SECONDS)
        with connection.cursor() as cursor:
            cursor.execute(_CONFIRMED)
            standbys, confirmed = cursor.fetchone()
    finally:
        connection.close()
    return 0 if confirmed else int(standbys)


def _said(standbys: int) -> str:
    return "A standby streams from the database" if standbys == 1 else f"{standbys} standbys stream from the database"
