"""The person at the admin, as an actor."""

from dataclasses import replace
from typing import cast

from django.http import HttpRequest

from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from orchestrator.addresses import client_address
from orchestrator.middleware import Call
from orchestrator.people import logins
from orchestrator.people.models import Person


def actor_of(request: HttpRequest) -> Actor:
    """Who is logged in, with the rights that their row gives them now, through the admin.

    Only behind `site.admin_view`, which lets nobody else in.
    """
    assert isinstance(request.user, Person)
    how = logins.authentication(request)
    return replace(as_actor(request.user, request), acr=how.acr, authenticated_at=how.at)


def as_actor(person: Person, request: HttpRequest) -> Actor:
    """Return a person at the admin, who need not be logged in yet: nothing is said of how they logged in."""
    call = cast(Call, request)
    return Actor(
        identity=Identity(person.issuer, person.subject),
        tenant=person.tenant,
        kind=Kind.PERSON,
        origin=Origin(Via.ADMIN, call.request_id, call.trace.id, client_address(request)),
        roles=frozenset(Role(name) for name in person.roles if name in Role.values),
        agent_roles=frozenset(person.agent_roles),
    )
