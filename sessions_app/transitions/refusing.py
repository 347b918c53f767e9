"""Refused attempts that matter are remembered, outside every chain: they move no row's version."""

from typing import TypeVar

from audit_app import trail
from audit_app.trail import Action, Event
from orchestrator.actors import Actor
from orchestrator.problems import Problem
from sessions_app.models import Recorded
from sessions_app.transitions.clock import database_now

Kind = TypeVar("Kind", bound=Problem)

_WORDS = {"task": Action.TASK_REFUSED, "approval": Action.APPROVAL_REFUSED}


def remembered(refusal: Kind, row: Recorded, attempted: str, *, actor: Actor) -> Kind:
    """The refusal, whose event is written once everything else of its transaction is rolled back.

    `attempted` is the verb that was refused; the event's reason is the refusal's slug.
    """

    def record() -> None:
        event = Event(
            action=_WORDS[row.NOUN],
            tenant=row.tenant,
            subject_type=row.NOUN,
            subject_id=row.pk,
            actor=actor,
            at=database_now(),
            role=row.trail_role,
            reason=refusal.slug,
            changes={"attempted": attempted, "version": row.version},
        )
        trail.record(trail.link(event))

    refusal.afterwards = record
    return refusal
