"""Who reads the trail."""

from uuid import UUID

from django.db.models import QuerySet

from audit_app.models import AuditEvent
from orchestrator.actors import Actor, Role


def may_read(actor: Actor) -> bool:
    """Auditors and operators."""
    return actor.has(Role.AUDITOR, Role.OPERATOR)


def visible(actor: Actor) -> QuerySet[AuditEvent]:
    """The events that this actor may read: those of its tenant."""
    rows = AuditEvent.objects.all()
    return rows.filter(tenant=actor.tenant) if may_read(actor) else rows.none()


def about(subject_type: str, subject_id: UUID, actor: Actor) -> QuerySet[AuditEvent]:
    """The chain of one subject, the newest event first, as far as this actor may read it."""
    chain = visible(actor).filter(subject_type=subject_type, subject_id=subject_id, seq__isnull=False)
    return chain.order_by("-seq")
