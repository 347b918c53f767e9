"""What awaits somebody's decision: everyone's inbox, the same in the API and in the admin."""

from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

from orchestrator.actors import Actor
from sessions_app import permissions
from sessions_app.models import Approval

# What `transitions.separation.barred()` and the state would refuse is not offered.
_AWAITS = """(
  approvals.status = 'pending' AND approvals.expires_at > statement_timestamp() AND approvals.approver_role = ANY(%s)
  AND (approvals.created_by_issuer, approvals.created_by_subject) <> (%s, %s)
  AND (approvals.on_behalf_of_issuer, approvals.on_behalf_of_subject) IS DISTINCT FROM (%s::varchar, %s::varchar)
  AND NOT EXISTS (SELECT FROM tasks t WHERE t.id = approvals.task_id AND (
    (t.lease_issuer, t.lease_subject) = (%s, %s) OR (t.lease_for_issuer, t.lease_for_subject) = (%s, %s)))
  AND NOT EXISTS (SELECT FROM approval_decisions d WHERE d.approval_id = approvals.id
    AND (d.decider_issuer, d.decider_subject) = (%s, %s)))"""


def awaiting(actor: Actor) -> QuerySet[Approval]:
    """The open approvals that this actor may decide now.

    Of their roles, not past their time, not asked by or for them, not of a task that they hold, and not answered by
    them yet.
    """
    return among(permissions.visible(Approval, actor), actor)


def among(rows: QuerySet[Approval], actor: Actor) -> QuerySet[Approval]:
    """Those of some rows within sight that await this actor's decision."""
    if not permissions.may_decide(actor):
        return rows.none()
    who = [actor.identity.issuer, actor.identity.subject]
    awaits = RawSQL(_AWAITS, [sorted(actor.agent_roles), *who * 5], BooleanField())  # noqa: S611  no input in it
    return rows.filter(awaits, tenant=actor.tenant)
