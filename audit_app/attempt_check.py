"""Verifying attempts: whoever held a task held it as an event of the task tells it, and nobody is missing."""

from collections.abc import Iterator
from uuid import UUID

from django.apps import apps
from django.conf import settings

from audit_app.findings import Finding
from audit_app.snapshot import Raw
from audit_app.subjects import Subject

NOUN = "task"


def check_attempts(connection: Raw, tasks: Subject, only: UUID | None) -> Iterator[Finding]:
    """Every task, or one, whose attempts do not begin as its events tell: the epoch, whose, for whom, when."""
    table = apps.get_model(settings.AUDIT_ATTEMPTS)._meta.db_table
    # The epoch is compared as a text: a forged event may say anything in its place.
    differing = f"""
      SELECT DISTINCT r.id, r.version FROM (
        SELECT task_id, epoch::text AS epoch, holder_issuer, holder_subject,
          holder_for_issuer, holder_for_subject, claimed_at
        FROM "{table}" {"" if only is None else "WHERE task_id = %(only)s"}
      ) AS a FULL JOIN (
        SELECT subject_id, metadata #>> '{{changes,lease_epoch}}' AS epoch, actor_issuer, actor_subject,
          on_behalf_of_issuer, on_behalf_of_subject, timestamp
        FROM audit_events WHERE subject_type = 'task' AND event_type = 'task.claimed'
          {"" if only is None else "AND subject_id = %(only)s"}
      ) AS e ON (e.subject_id, e.epoch) = (a.task_id, a.epoch)
      JOIN "{tasks.table}" r ON r.id = coalesce(a.task_id, e.subject_id)
      WHERE (a.holder_issuer, a.holder_subject, a.holder_for_issuer, a.holder_for_subject, a.claimed_at)
        IS DISTINCT FROM (e.actor_issuer, e.actor_subject, e.on_behalf_of_issuer,
                          e.on_behalf_of_subject, e.timestamp)
      ORDER BY r.id"""
    with connection.cursor("attempts") as cursor:
        for pk, version in cursor.execute(differing, {"only": only}):
            yield Finding("attempts", NOUN, pk, version)
