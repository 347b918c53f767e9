"""Verifying attempts: who held a task, from when to when, and how that ended, as the events of the task record it."""

from collections.abc import Iterator
from uuid import UUID

from django.apps import apps
from django.conf import settings

from audit_app.findings import Finding
from audit_app.row_check import differing_rows
from audit_app.snapshot import Raw
from audit_app.subjects import Subject

NOUN = "task"

# A lease begins with a claim and ends with the event that leads out of `active`. Both have the number of the claim: the
# epoch. It is compared as a text: a forged event may say anything in its place.
_STEPS = """
steps AS MATERIALIZED (
  SELECT subject_id, event_type, timestamp, actor_issuer, actor_subject, actor_kind, on_behalf_of_issuer,
    on_behalf_of_subject, reason, metadata -> 'changes' AS changes,
    count(*) FILTER (WHERE event_type = 'task.claimed') OVER (PARTITION BY subject_id ORDER BY seq) AS epoch
  FROM audit_events WHERE subject_type = 'task' AND seq IS NOT NULL
    AND (event_type = 'task.claimed' OR (from_status = 'active' AND to_status IS DISTINCT FROM 'active'))
    {only_events})"""

# What ended an attempt follows from the event: its changes, its reason, and whether the holder or a job caused it. An
# attempt that was lost is counted; after a lost delivery the same attempt follows, after a pause. Whoever asks for an
# approval puts a lapsed task back, and that may be its former holder. The holder who fails an attempt chooses the code
# in the reason, and the event tells the error only where it differs from the one before.
_OUTCOME = """
CASE e.event_type
  WHEN 'task.completed' THEN a.outcome = 'completed'
  WHEN 'task.released' THEN a.outcome = 'released'
  WHEN 'task.requeued' THEN a.outcome = ANY(CASE WHEN NOT e.changes ? 'attempt' THEN '{{lost-delivery}}'::text[]
    WHEN NOT by_holder THEN '{{lease-lost}}'
    WHEN e.changes ? 'error' OR e.reason <> 'lease-lost' THEN '{{failed}}'
    ELSE '{{lease-lost,failed}}' END)
  WHEN 'task.force_released' THEN a.outcome = CASE WHEN e.changes ? 'attempt' THEN 'lease-lost'
    WHEN e.changes ? 'not_before' THEN 'lost-delivery' ELSE 'force-released' END
  ELSE a.outcome = ANY(CASE
    WHEN by_holder THEN '{{failed,released,lease-lost,force-released}}'::text[]
    WHEN e.actor_kind = 'job' AND e.reason = 'deadline-exceeded' THEN '{{deadline-exceeded}}'
    WHEN e.actor_kind = 'job' AND e.reason = 'cut-off' THEN '{{force-released}}'
    WHEN e.actor_kind = 'job' THEN '{{lease-lost}}'
    ELSE '{{lease-lost,force-released}}' END)
END"""

_ATTEMPTS = f"""
WITH {_STEPS}
SELECT DISTINCT r.id, r.version FROM (
  SELECT *, epoch::text AS told FROM "{{attempts}}" {{only_attempts}}
) AS a FULL JOIN (
  SELECT *, changes ->> 'lease_epoch' AS told FROM steps WHERE event_type = 'task.claimed'
) AS c ON (c.subject_id, c.told) = (a.task_id, a.told)
LEFT JOIN (SELECT * FROM steps WHERE event_type <> 'task.claimed') AS e
  ON (e.subject_id, e.epoch) = (c.subject_id, c.epoch)
JOIN "{{tasks}}" r ON r.id = coalesce(a.task_id, c.subject_id)
CROSS JOIN LATERAL (SELECT
  (e.actor_issuer, e.actor_subject, e.on_behalf_of_issuer, e.on_behalf_of_subject) IS NOT DISTINCT FROM
  (c.actor_issuer, c.actor_subject, c.on_behalf_of_issuer, c.on_behalf_of_subject) AS by_holder) AS judged
WHERE (a.holder_issuer, a.holder_subject, a.holder_for_issuer, a.holder_for_subject, a.claimed_at) IS DISTINCT FROM
    (c.actor_issuer, c.actor_subject, c.on_behalf_of_issuer, c.on_behalf_of_subject, c.timestamp)
  OR (a.ended_at IS NULL) <> (e.subject_id IS NULL)
  OR (a.outcome IS NULL) <> (e.subject_id IS NULL)
  OR a.ended_at < e.timestamp - interval '1 minute' OR a.ended_at > e.timestamp + interval '1 minute'
  OR NOT {_OUTCOME}
  -- The error of the holder, unless it is long and recorded as its digest.
  OR (a.outcome = 'failed' AND e.changes -> 'error' IS DISTINCT FROM a.error AND e.changes ? 'error'
    AND NOT e.changes -> 'error' ? 'sha256')
  OR (a.error IS NOT NULL AND a.outcome <> 'failed')
ORDER BY r.id"""

# A heartbeat leaves no event: until when a lease lasts is known by the time it was asked for and the clock alone.
_LEASES = f"""
WITH {_STEPS}
SELECT r.id, r.version FROM "{{tasks}}" r
LEFT JOIN steps c ON (c.subject_id, c.epoch) = (r.id, r.lease_epoch) AND c.event_type = 'task.claimed'
LEFT JOIN "{{attempts}}" a ON (a.task_id, a.epoch) = (r.id, r.lease_epoch)
WHERE CASE r.status WHEN 'active' THEN
    (r.lease_issuer, r.lease_subject, r.lease_for_issuer, r.lease_for_subject) IS DISTINCT FROM
      (c.actor_issuer, c.actor_subject, c.on_behalf_of_issuer, c.on_behalf_of_subject)
    OR r.lease_token_hash IS DISTINCT FROM a.token_hash
    OR r.lease_expires_at IS NULL
    OR r.lease_expires_at > clock_timestamp() + make_interval(secs => r.lease_seconds) + interval '1 minute'
  ELSE num_nonnulls(r.lease_issuer, r.lease_subject, r.lease_for_issuer, r.lease_for_subject, r.lease_token_hash,
    r.lease_expires_at) > 0 END
  {{only_tasks}}
ORDER BY r.id"""


def check_attempts(connection: Raw, tasks: Subject, only: UUID | None) -> Iterator[Finding]:
    """Find the tasks, all or one, whose attempts differ from their events: whose, for whom, when, how ended."""
    yield from _differing(connection, "attempts", _ATTEMPTS, tasks, only)


def check_leases(connection: Raw, tasks: Subject, only: UUID | None) -> Iterator[Finding]:
    """Find the tasks, all or one, whose running lease differs from its claim, or that have one without being active."""
    yield from _differing(connection, "lease", _LEASES, tasks, only)


def _differing(connection: Raw, kind: str, query: str, tasks: Subject, only: UUID | None) -> Iterator[Finding]:
    differing = query.format(
        attempts=apps.get_model(settings.AUDIT_ATTEMPTS)._meta.db_table,
        tasks=tasks.table,
        only_attempts="" if only is None else "WHERE task_id = %(only)s",
        only_events="" if only is None else "AND subject_id = %(only)s",
        only_tasks="" if only is None else "AND r.id = %(only)s",
    )
    yield from differing_rows(connection, kind, NOUN, differing, only)
