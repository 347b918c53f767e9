"""How people are cut off and let in again. Their events stand outside every chain: a person has no version."""

from audit_app import trail
from audit_app.trail import Action, Event
from orchestrator.actors import Actor, Identity
from orchestrator.clock import database_now
from orchestrator.people.arriving import row_of
from orchestrator.people.models import Person
from orchestrator.problems import NotFound
from sessions_app.transitions.change import insist_on_boundary


def cut_off(who: Identity, *, actor: Actor, reason: str) -> Person:
    """Nothing that this subject sends is taken any more, whatever its tokens say; from now on, within 30 seconds.

    They need never have been here. Where they are cut off already, nothing changes and no event is left.
    Raises NotFound for somebody of another tenant.
    """
    return _set(who, Action.PERSON_CUT_OFF, active=False, actor=actor, reason=reason)


def restore(who: Identity, *, actor: Actor, reason: str) -> Person:
    """What this subject sends is taken again, within 30 seconds. Raises NotFound for somebody of another tenant."""
    return _set(who, Action.PERSON_RESTORED, active=True, actor=actor, reason=reason)


def record_password_login(person: Person, *, actor: Actor) -> None:
    """Somebody came past the identity provider, with a password."""
    _record(person, Action.PERSON_BROKE_GLASS, actor=actor, reason="")


def record_password_change(person: Person, *, actor: Actor) -> None:
    """Somebody changed the password by which they come past the identity provider."""
    _record(person, Action.PERSON_PASSWORD_CHANGED, actor=actor, reason="")


def _set(who: Identity, action: Action, *, active: bool, actor: Actor, reason: str) -> Person:
    insist_on_boundary()
    person = row_of(who, actor.tenant)
    if person.tenant != actor.tenant:
        raise NotFound
    if person.is_active is not active:
        person.is_active = active
        person.save(update_fields=["is_active"])
        _record(person, action, actor=actor, reason=reason)
    return person


def _record(person: Person, action: Action, *, actor: Actor, reason: str) -> None:
    insist_on_boundary()
    who = {"issuer": person.issuer, "subject": person.subject}
    event = Event(
        action=action, tenant=person.tenant, actor=actor, at=database_now(), reason=reason, changes={"person": who}
    )
    trail.record(trail.link(event))
