"""The chain of a person: each change of their rights, of a cut-off or of a link, and each login, is an event of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from uuid_utils.compat import uuid7

from audit_app import trail
from audit_app.trail import Action, Event
from orchestrator.actors import Actor
from orchestrator.clock import database_now
from orchestrator.people.models import TOLD, Person
from sessions_app.transitions.change import insist_on_boundary

NOUN = "person"

_ARRIVALS = {"rights_changed": Action.PERSON_RIGHTS_CHANGED, "logged_in": Action.PERSON_LOGGED_IN}
_COLUMNS = ("trail_id", "version", "audit_head", *TOLD)
_UPDATE = f"UPDATE people_person SET {', '.join(f'{name} = %s' for name in _COLUMNS)} WHERE id = %s"


def begin(person: Person, *, actor: Actor) -> None:
    """Begin the chain of a locked person who has none, with their rights as they are. In a write boundary only."""
    if person.version == 0:
        person.trail_id, person.audit_head = uuid7(), trail.GENESIS
        record(person, Action.PERSON_RECORDED, actor=actor)


def record(
    person: Person, action: Action, *, actor: Actor, reason: str = "", more: Mapping[str, Any] | None = None
) -> UUID:
    """Write the rights of a locked person, with the event that tells all of them. In a write boundary only.

    The chain must have begun before the rights were changed. Returns the event's id.
    """
    insist_on_boundary()
    assert person.audit_head is not None
    event = Event(
        action=action,
        tenant=person.tenant,
        subject_type=NOUN,
        subject_id=person.trail_id,
        seq=person.version + 1,
        prev_hash=bytes(person.audit_head),
        actor=actor,
        at=database_now(),
        reason=reason,
        changes={**told(person), **(more or {})},
    )
    link = trail.link(event)
    person.version, person.audit_head = person.version + 1, link.hash
    trail.record(link, told=(_UPDATE, [*(getattr(person, name) for name in _COLUMNS), person.pk]))
    return event.id


def told(person: Person) -> dict[str, Any]:
    """Return who they are and what they may do, as events tell it."""
    rights = {name.removesuffix("_id"): getattr(person, name) for name in TOLD}
    return {"person": {"issuer": person.issuer, "subject": person.subject}, **rights}


def record_arrival(person: Person, word: str, *, actor: Actor) -> None:
    """Begin the chain, or record what a login at the provider did. In a write boundary only."""
    if word == "recorded":
        begin(person, actor=actor)
    else:
        record(person, _ARRIVALS[word], actor=actor)


def lock(person: Person) -> None:
    """Lock a person's row and read it again, into the same object. In a write boundary only."""
    insist_on_boundary()
    person.refresh_from_db(from_queryset=Person.objects.select_for_update(no_key=True))


def begin_many(rows: QuerySet[Person], *, actor: Actor) -> int:
    """Begin the chains of the people of a query, who have none; how many. In a write boundary only."""
    insist_on_boundary()
    people = list(rows.select_for_update(skip_locked=True, no_key=True))
    for person in people:
        begin(person, actor=actor)
    return len(people)
