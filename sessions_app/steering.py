"""Which requests an operator can reopen or replace now: the admin offers nothing that the transition would refuse."""

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from sessions_app import approvers
from sessions_app.models import Approval
from sessions_app.models.approval import MAX_OPEN, MAX_OPEN_BARE, ApprovalStatus

# The first of the requests that led to this one names the requester, as in the trigger on new requests.
_OPEN_FOR_QUESTIONS = """
SELECT CASE WHEN a.replaces THEN true
    WHEN a.task_id IS NULL AND a.session_id IS NULL THEN before.open_ones < %s ELSE before.open_ones < %s END
  AND before.approval_id IS NULL
  AND NOT EXISTS (SELECT FROM tasks t WHERE t.id = a.task_id
    AND (t.status NOT IN ('pending', 'blocked', 'active') OR t.deadline <= statement_timestamp()))
  AND NOT EXISTS (SELECT FROM sessions s WHERE s.id = a.session_id
    AND (s.status NOT IN ('pending', 'active') OR s.expires_at <= statement_timestamp()))
FROM (SELECT *, %s AS replaces FROM approvals WHERE id = %s) AS a
CROSS JOIN LATERAL work_requester(a.id) AS origin
CROSS JOIN LATERAL work_question_before(a.tenant, a.task_id, a.session_id, origin.issuer, origin.subject,
  origin.behalf_issuer, origin.behalf_subject, a.approver_role, a.action_digest,
  CASE WHEN a.replaces THEN a.id END, CASE WHEN NOT a.replaces THEN a.id END) AS before
"""


def live_reopenings(approval: Approval) -> QuerySet[Approval]:
    """Return the requests that reopen this one and are open or approved.

    One that was cancelled or expired undecided leaves the rejection as it was.
    """
    alive = Q(status=ApprovalStatus.PENDING, expires_at__gt=Now()) | Q(status=ApprovalStatus.APPROVED)
    return Approval.objects.filter(alive, reopens=approval)


def can_be_reopened(approval: Approval) -> bool:
    """Return whether a new request may reopen this one: it was rejected, and its question may be asked again."""
    if approval.status != ApprovalStatus.REJECTED:
        return False
    return not live_reopenings(approval).exists() and _may_be_asked(approval, replaces=False)


def can_be_replaced(approval: Approval) -> bool:
    """Return whether a new request may replace this one: it is open, and too few known people can decide it."""
    if approval.status != ApprovalStatus.PENDING or approval.is_overdue():
        return False
    if approval.known_approvers is None:
        approvers.look_up([approval])
    return approval.lacks_approvers and _may_be_asked(approval, replaces=True)


def _may_be_asked(approval: Approval, *, replaces: bool) -> bool:
    """Return whether its task or session takes the same question, beside this request."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_FOR_QUESTIONS, [MAX_OPEN_BARE, MAX_OPEN, replaces, approval.pk])
        return bool(cursor.fetchone()[0])
