"""What people decided before about the same subject, for those who decide now."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from audit_app.trail import instant
from sessions_app.models import Approval

MOST = 20
"""How many earlier requests are shown with one, the latest first."""

_SETTLED = "e.status <> 'pending' AND e.tenant = asked.tenant AND e.created_at < asked.created_at"
# Each part is limited by itself: the history of a subject has no bound.
_LATEST = f"ORDER BY e.created_at DESC, e.id DESC LIMIT {MOST}"

# Of the same task and those it repeats; of the same session; of the same action of the same requester, without a task;
# and those that this one reopens or replaces.
_EARLIER = f"""
SELECT asked.id, before.id, before.status, before.approver_role, before.notes,
  coalesce(before.decision_at, before.updated_at), before.created_at,
  ARRAY(SELECT d.decider_issuer || '|' || d.decider_subject FROM approval_decisions d
    WHERE d.approval_id = before.id AND d.set_aside_at IS NULL ORDER BY d.decided_at, d.id)
FROM approvals asked CROSS JOIN LATERAL (
  SELECT e.* FROM approvals e WHERE e.id IN (
    (SELECT e.id FROM approvals e
      WHERE e.task_id = ANY(ARRAY(SELECT work_task_line(asked.task_id))) AND {_SETTLED} {_LATEST})
    UNION
    (SELECT e.id FROM approvals e WHERE e.session_id = asked.session_id AND {_SETTLED} {_LATEST})
    UNION
    (SELECT e.id FROM approvals e
      WHERE asked.task_id IS NULL AND e.task_id IS NULL AND e.action_digest = asked.action_digest AND {_SETTLED}
        AND (e.created_by_issuer, e.created_by_subject, e.on_behalf_of_issuer, e.on_behalf_of_subject)
          IS NOT DISTINCT FROM
          (asked.created_by_issuer, asked.created_by_subject, asked.on_behalf_of_issuer, asked.on_behalf_of_subject)
      {_LATEST})
    UNION
    (SELECT e.id FROM approvals e WHERE e.id IN (SELECT work_request_line(asked.id)) AND {_SETTLED} {_LATEST}))
  {_LATEST}) AS before
WHERE asked.id = ANY(%s) ORDER BY asked.id, before.created_at DESC, before.id DESC
"""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A settled request of the same subject: its outcome, who decided it, with which comments, and when."""

    approval_id: UUID
    outcome: str
    approver_role: str
    comments: str
    at: datetime
    deciders: tuple[str, ...]

    def out(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        return {
            "approval_id": str(self.approval_id),
            "outcome": self.outcome,
            "approver_role": self.approver_role,
            "deciders": list(self.deciders),
            "comments": self.comments,
            "at": instant(self.at),
        }


def earlier_requests(approvals: Collection[Approval]) -> dict[UUID, list[Earlier]]:
    """Return, for each request, the settled ones of the same subject from before it, the latest first; one query.

    A caller who sees a request sees these too: they are what its deciders need to know.
    """
    found: dict[UUID, list[Earlier]] = {approval.pk: [] for approval in approvals}
    if found:
        with connection.cursor() as cursor:
            cursor.execute(_EARLIER, [list(found)])
            for asked, pk, status, role, notes, at, _, deciders in cursor.fetchall():
                found[asked].append(Earlier(pk, status, role, notes, at, tuple(deciders)))
    return found


def as_earlier(approval: Approval) -> Earlier:
    """Return a settled request in the form in which later ones show it."""
    deciders = approval.decisions.filter(set_aside_at=None).order_by("decided_at", "pk")
    return Earlier(
        approval.pk,
        str(approval.status),
        approval.approver_role,
        approval.notes,
        approval.decision_at or approval.updated_at,
        tuple(str(decision.decider) for decision in deciders),
    )
