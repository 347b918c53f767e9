"""What awaits the decision of one person: their inbox, the same in the API and in the admin."""

from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

from orchestrator.actors import Actor
from sessions_app import permissions
from sessions_app.models import Approval

# Nothing is offered that would be refused: the transition and the trigger call the same two functions. They declare a
# high cost, so that PostgreSQL calls them last, for the rows that the other conditions leave. COALESCE keeps PostgreSQL
# from a join, and lets it expect that many rows pass: so it walks the index in order and stops early.
_AWAITS = """(
  approvals.status = 'pending' AND approvals.expires_at > statement_timestamp() AND approvals.approver_role = ANY(%s)
  AND (approvals.created_by_issuer, approvals.created_by_subject) <> (%s, %s)
  AND COALESCE((SELECT t.status IN ('pending', 'blocked', 'active')
    AND (t.deadline IS NULL OR t.deadline > statement_timestamp()) FROM tasks t WHERE t.id = approvals.task_id), TRUE)
  AND COALESCE((SELECT s.status IN ('pending', 'active') AND s.expires_at > statement_timestamp()
    FROM sessions s WHERE s.id = approvals.session_id), TRUE)
  AND COALESCE(work_barred(approvals.id, {issuers}, {subjects}) IS NULL
    AND work_counted_on(approvals.id, {issuers}, {subjects}) IS NULL, FALSE))""".format(
    # Without a reference to the row, so that PostgreSQL asks for them once.
    issuers="(SELECT array_agg(me.issuer) FROM people_same(%s, %s, %s) me)",
    subjects="(SELECT array_agg(me.subject) FROM people_same(%s, %s, %s) me)",
)


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
    values = [sorted(actor.agent_roles), *who, *([actor.tenant, *who] * 4)]
    awaits = RawSQL(_AWAITS, values, BooleanField())  # noqa: S611  no input in it
    return rows.filter(awaits, tenant=actor.tenant)
