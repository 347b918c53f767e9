"""What awaits the decision of one person: their inbox, the same in the API and in the admin."""

from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

from orchestrator.actors import Actor
from sessions_app import permissions
from sessions_app.models import Approval

# Nothing is offered that would be refused: the transition and the trigger call the same two functions. They declare a
# high cost, so that PostgreSQL calls them last, for the rows that the other conditions leave.
_AWAITS = """(
  approvals.status = 'pending' AND approvals.expires_at > statement_timestamp() AND approvals.approver_role = ANY(%s)
  AND (approvals.created_by_issuer, approvals.created_by_subject) <> (%s, %s)
  AND NOT EXISTS (SELECT FROM tasks t WHERE t.id = approvals.task_id
    AND (t.status NOT IN ('pending', 'blocked', 'active') OR t.deadline <= statement_timestamp()))
  AND NOT EXISTS (SELECT FROM sessions s WHERE s.id = approvals.session_id
    AND (s.status NOT IN ('pending', 'active') OR s.expires_at <= statement_timestamp()))
  AND work_barred(approvals.id, %s, %s) IS NULL AND work_counted_on(approvals.id, %s, %s) IS NULL)"""


def awaiting(actor: Actor) -> QuerySet[Approval]:
    """Return the open approvals that this actor may decide now, among those that they see.

    An approval is not among them if it is of another role, past its time, their own matter (separation of duties), or
    if their decision counts already, on it or on another request that the same task waits for.
    """
    return among(permissions.visible(Approval, actor), actor)


def among(rows: QuerySet[Approval], actor: Actor) -> QuerySet[Approval]:
    """Return those of some visible rows that await this actor's decision."""
    if not permissions.may_decide(actor):
        return rows.none()
    who = [actor.identity.issuer, actor.identity.subject]
    awaits = RawSQL(_AWAITS, [sorted(actor.agent_roles), *who * 3], BooleanField())  # noqa: S611  no input in it
    return rows.filter(awaits, tenant=actor.tenant)
