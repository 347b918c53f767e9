"""Who reads the trail."""

from uuid import UUID

from django.db.models import QuerySet

from audit_app.models import AuditEvent
from orchestrator.actors import Actor, Role
from orchestrator.problems import Forbidden, NotFound


def may_read(actor: Actor) -> bool:
    """Auditors and operators."""
    return actor.has(Role.AUDITOR, Role.OPERATOR)


def insist_may_read(actor: Actor) -> None:
    """Auditors and operators. Raises Forbidden."""
    if not may_read(actor):
        raise Forbidden("Only an auditor or an operator may read the trail.")


def insist_may_ingest(actor: Actor) -> None:
    """Agents and operators hand in events of other systems. Raises Forbidden."""
    if not actor.has(Role.AGENT, Role.OPERATOR):
        raise Forbidden("Only an agent or an operator may hand in events.")


def find(pk: UUID, actor: Actor) -> AuditEvent:
    """One event that this actor may read. Raises NotFound: unseen and missing look the same."""
    found = visible(actor).filter(pk=pk).first()
    if found is None:
        raise NotFound
    return found


def visible(actor: Actor) -> QuerySet[AuditEvent]:
    """The events that this actor may read: those of its tenant."""
    rows = AuditEvent.objects.all()
    return rows.filter(tenant=actor.tenant) if may_read(actor) else rows.none()


def about(subject_type: str, subject_id: UUID, actor: Actor) -> QuerySet[AuditEvent]:
    """The chain of one subject, the newest event first, as far as this actor may read it."""
    chain = visible(actor).filter(subject_type=subject_type, subject_id=subject_id, seq__isnull=False)
    return chain.order_by("-seq")
