"""Verifying decisions: each one, and each that was set aside, as an event of its approval records it; none missing."""

from collections.abc import Iterator
from uuid import UUID

from django.apps import apps
from django.conf import settings

from audit_app.findings import Finding
from audit_app.row_check import differing_rows
from audit_app.snapshot import Raw
from audit_app.subjects import Subject

NOUN = "approval"

# A person who withdrew a decision can decide again, so an event belongs to the decision of the same time. `only` limits
# each part to one approval.
_MADE = """
SELECT coalesce(d.approval_id, e.subject_id) AS id FROM (
  SELECT approval_id, decider_issuer, decider_subject, decider_kind, decision, comments, decided_at
  FROM "{table}" {only_decisions}
) AS d FULL JOIN (
  SELECT subject_id, actor_issuer, actor_subject, actor_kind, reason, timestamp,
    CASE event_type WHEN 'approval.rejected' THEN 'rejected' ELSE 'approved' END AS decision
  FROM audit_events WHERE subject_type = 'approval'
    AND event_type IN ('approval.voted', 'approval.approved', 'approval.rejected') {only_events}
) AS e ON (e.subject_id, e.actor_issuer, e.actor_subject, e.timestamp)
  = (d.approval_id, d.decider_issuer, d.decider_subject, d.decided_at)
WHERE (d.decider_kind, d.decision, d.comments) IS DISTINCT FROM (e.actor_kind, e.decision, e.reason)"""

# One event sets decisions aside and names their deciders, or gives the digest of that list where it is long (as
# `audit_app.digests` does). Its cause tells a cut-off from a link.
_SET_ASIDE = """
SELECT coalesce(d.approval_id, e.subject_id) AS id FROM (
  SELECT approval_id, set_aside_at, set_aside_reason,
    jsonb_agg(jsonb_build_object('issuer', decider_issuer, 'subject', decider_subject)
      ORDER BY decided_at, id) AS people,
    '[' || string_agg(format('{{"issuer":%%s,"subject":%%s}}', to_json(decider_issuer), to_json(decider_subject)), ','
      ORDER BY decided_at, id) || ']' AS text
  FROM "{table}" WHERE (set_aside_at IS NOT NULL OR set_aside_reason IS NOT NULL) {and_only_decisions}
  GROUP BY approval_id, set_aside_at, set_aside_reason
) AS d FULL JOIN (
  SELECT a.subject_id, a.timestamp, a.metadata::jsonb -> 'changes' -> 'set_aside' AS people,
    CASE WHEN a.event_type = 'approval.decision_withdrawn' THEN 'withdrawn'
      WHEN cause.event_type = 'person.cut_off' THEN 'cut-off'
      WHEN cause.event_type = 'person.linked' THEN 'same-person' ELSE '' END AS why
  FROM audit_events a LEFT JOIN audit_events cause ON cause.id = a.cause
  WHERE a.subject_type = 'approval'
    AND a.event_type IN ('approval.decision_withdrawn', 'approval.decision_set_aside') {only_causes}
) AS e ON (e.subject_id, e.timestamp) = (d.approval_id, d.set_aside_at)
WHERE d.set_aside_reason IS DISTINCT FROM e.why
  OR (e.people IS DISTINCT FROM d.people AND e.people IS DISTINCT FROM jsonb_build_object(
    'bytes', octet_length(d.text), 'sha256', encode(sha256(convert_to(d.text, 'UTF8')), 'hex')))"""

_SETTLED = """
SELECT r.id FROM "{approvals}" r LEFT JOIN (
  SELECT subject_id, max(timestamp) AS settled_at FROM audit_events
  WHERE subject_type = 'approval' AND event_type IN ('approval.approved', 'approval.rejected') {only_events}
  GROUP BY subject_id
) AS s ON s.subject_id = r.id
WHERE r.decision_at IS DISTINCT FROM s.settled_at {only_approvals}"""

# The steps by which a task came to be held, or to be held no longer, and what its holder was after each.
_HOLDER = """
LEFT JOIN LATERAL (
  SELECT e.event_type = 'task.claimed' AS holds, e.actor_issuer, e.actor_subject, e.on_behalf_of_issuer,
    e.on_behalf_of_subject
  FROM audit_events e WHERE e.subject_type = 'task' AND e.subject_id = r.task_id AND e.seq IS NOT NULL AND {before}
    AND (e.event_type = 'task.claimed' OR (e.from_status = 'active' AND e.to_status IS DISTINCT FROM 'active'))
  ORDER BY e.seq DESC LIMIT 1
) AS {name} ON {name}.holds"""

_HOLDER_COLUMNS = "{name}.actor_issuer, {name}.actor_subject, {name}.on_behalf_of_issuer, {name}.on_behalf_of_subject"

# Beside a decision stand the requester and who held the task then: by the last claim, unless an event ended it. What
# came before the decision is told by the order in which the events were written, and by their times: either is wrong
# in honest work, where the clock was set back or a transaction waited for a lock, and then the other is right.
_COPIED = f"""
SELECT d.approval_id FROM "{{table}}" d JOIN "{{approvals}}" r ON r.id = d.approval_id
LEFT JOIN audit_events v ON v.subject_type = 'approval' AND v.subject_id = d.approval_id
  AND v.event_type IN ('approval.voted', 'approval.approved', 'approval.rejected')
  AND (v.actor_issuer, v.actor_subject, v.timestamp) = (d.decider_issuer, d.decider_subject, d.decided_at)
{_HOLDER.format(name="w", before="(e.era, e.xid) < (v.era, v.xid)")}
{_HOLDER.format(name="t", before="e.timestamp <= d.decided_at")}
WHERE ((d.requester_issuer, d.requester_subject, d.requester_for_issuer, d.requester_for_subject)
    IS DISTINCT FROM (r.created_by_issuer, r.created_by_subject, r.on_behalf_of_issuer, r.on_behalf_of_subject)
  OR ((d.holder_issuer, d.holder_subject, d.holder_for_issuer, d.holder_for_subject)
      IS DISTINCT FROM ({_HOLDER_COLUMNS.format(name="w")})
    AND (d.holder_issuer, d.holder_subject, d.holder_for_issuer, d.holder_for_subject)
      IS DISTINCT FROM ({_HOLDER_COLUMNS.format(name="t")})))
  {{only_approvals}}"""

_DIFFERING = f"""
SELECT r.id, r.version FROM "{{approvals}}" r
WHERE r.id IN ({_MADE} UNION ALL {_SET_ASIDE} UNION ALL {_SETTLED} UNION ALL {_COPIED}) ORDER BY r.id"""


def check_decisions(connection: Raw, approvals: Subject, only: UUID | None) -> Iterator[Finding]:
    """Find the approvals, all or one, that differ from their events.

    They differ in a decision, in the requester or the holder beside it, in a decision that was set aside, or in the
    time at which they were settled.
    """
    differing = _DIFFERING.format(
        table=apps.get_model(settings.AUDIT_DECISIONS)._meta.db_table,
        approvals=approvals.table,
        only_decisions="" if only is None else "WHERE approval_id = %(only)s",
        and_only_decisions="" if only is None else "AND approval_id = %(only)s",
        only_events="" if only is None else "AND subject_id = %(only)s",
        only_causes="" if only is None else "AND a.subject_id = %(only)s",
        only_approvals="" if only is None else "AND r.id = %(only)s",
    )
    yield from differing_rows(connection, "decisions", NOUN, differing, only)
