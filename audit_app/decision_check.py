"""Verifying decisions: each as an event of its approval tells it, and none missing."""

from collections.abc import Iterator
from uuid import UUID

from django.apps import apps
from django.conf import settings

from audit_app.findings import Finding
from audit_app.snapshot import Raw
from audit_app.subjects import Subject

NOUN = "approval"


def check_decisions(connection: Raw, approvals: Subject, only: UUID | None) -> Iterator[Finding]:
    """Every approval, or one, whose decisions, or the time it was settled, are not those that its events tell of."""
    table = apps.get_model(settings.AUDIT_DECISIONS)._meta.db_table
    differing = f"""
      SELECT DISTINCT r.id, r.version FROM (
        SELECT approval_id, decider_issuer, decider_subject, decider_kind, decision, comments, decided_at
        FROM "{table}" {"" if only is None else "WHERE approval_id = %(only)s"}
      ) AS d FULL JOIN (
        SELECT subject_id, actor_issuer, actor_subject, actor_kind, reason, timestamp,
          CASE event_type WHEN 'approval.rejected' THEN 'rejected' ELSE 'approved' END AS decision
        FROM audit_events WHERE subject_type = 'approval'
          AND event_type IN ('approval.voted', 'approval.approved', 'approval.rejected')
          {"" if only is None else "AND subject_id = %(only)s"}
      ) AS e ON (e.subject_id, e.actor_issuer, e.actor_subject) = (d.approval_id, d.decider_issuer, d.decider_subject)
      JOIN "{approvals.table}" r ON r.id = coalesce(d.approval_id, e.subject_id)
      WHERE (d.decider_kind, d.decision, d.comments, d.decided_at)
        IS DISTINCT FROM (e.actor_kind, e.decision, e.reason, e.timestamp)
      UNION
      SELECT r.id, r.version FROM "{approvals.table}" r LEFT JOIN (
        SELECT subject_id, max(timestamp) AS settled_at FROM audit_events
        WHERE subject_type = 'approval' AND event_type IN ('approval.approved', 'approval.rejected')
          {"" if only is None else "AND subject_id = %(only)s"} GROUP BY subject_id
      ) AS s ON s.subject_id = r.id
      WHERE r.decision_at IS DISTINCT FROM s.settled_at {"" if only is None else "AND r.id = %(only)s"}
      ORDER BY id"""
    with connection.cursor("decisions") as cursor:
        for pk, version in cursor.execute(differing, {"only": only}):
            yield Finding("decisions", NOUN, pk, version)
