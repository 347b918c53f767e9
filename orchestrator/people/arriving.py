"""What a login leaves of somebody: their row, with the rights that the provider gives them now."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.utils.module_loading import import_string

from bearer_tokens.subjects import InvalidToken, short_text
from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Role
from orchestrator.auth import roles_in, tenant_in, verified_claims
from orchestrator.claims import path, words
from orchestrator.jwks import Issuer
from orchestrator.people.models import Person
from orchestrator.problems import Forbidden, Problem

_NAMES = {"given_name": ("first_name", 150), "family_name": ("last_name", 150), "email": ("email", 254)}
"""Claims, and the columns that they are kept in, with the room there."""
_LONGEST_AGENT_ROLE = 50
_RIGHTS = ("roles", "agent_roles", "is_staff")
_NO_RIGHTS: Mapping[str, Any] = {"roles": [], "agent_roles": [], "is_staff": False, "is_superuser": False}

log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Writes the rights of a locked person with an event, which the last part of its type names."""

    def __call__(self, person: Person, word: str, *, actor: Actor) -> None:
        """Record it, inside a write boundary."""


def arrive(
    claims: Mapping[str, Any], access_token: object, issuer: Issuer, acting: Callable[[Person], Actor]
) -> Person:
    """The person whom a verified ID token speaks of, made or brought up to date.

    Somebody is the issuer and the subject: an e-mail address finds nobody. Nobody becomes a superuser by a login. The
    login and the rights that it changes are events of the person, as whom `acting` makes an actor.

    Raises Forbidden for somebody who was cut off, who holds no role that the admin is for (the row then says so too)
    or whose tenant the issuer may not speak for; ServiceUnavailable without a database.
    """
    identity = Identity(issuer.name, short_text(claims, "sub"))
    columns = {**_rights(claims, access_token, issuer), **_names(claims)}
    person = boundary.write(lambda: _written(identity, columns, acting))
    if not person.is_staff:
        raise Forbidden(f"The admin is for {', '.join(settings.OIDC_STAFF_ROLES)}. You hold none of these roles.")
    return person


def row_of(identity: Identity, tenant: str) -> Person:
    """Their row, locked; made, without any rights, if there is none. Inside a write boundary only.

    The lock settles the race of two logins, and of a login with a cut-off: the second sees what the first left.
    """
    new = Person(
        username=hashlib.sha256(f"{tenant}|{identity}".encode()).hexdigest(),
        issuer=identity.issuer,
        subject=identity.subject,
        tenant=tenant,
        password=make_password(None),
    )
    Person.objects.bulk_create([new], ignore_conflicts=True)
    rows = Person.objects.select_for_update(no_key=True)
    return rows.get(tenant=tenant, issuer=identity.issuer, subject=identity.subject)


def _written(identity: Identity, columns: Mapping[str, Any], acting: Callable[[Person], Actor]) -> Person:
    _hold_logins(identity)
    person = row_of(identity, columns["tenant"])
    if not person.is_active:
        raise Forbidden("Your access was withdrawn. An operator can restore it.")
    _name(person, columns)
    _entitle(person, {name: columns[name] for name in _RIGHTS} | {"is_superuser": False}, acting)
    elsewhere = Person.objects.filter(issuer=identity.issuer, subject=identity.subject).exclude(pk=person.pk)
    # The provider now names another tenant. Only an operator of a tenant cuts off there, so is_active stays.
    for other in elsewhere.order_by("pk").select_for_update(no_key=True):
        _entitle(other, _NO_RIGHTS, acting)
    if person.is_staff:
        _recorder()(person, "logged_in", actor=acting(person))
    return person


def _name(person: Person, columns: Mapping[str, Any]) -> None:
    """Keep what they are called now, if that is something else."""
    others = {column: columns[column] for column, _ in _NAMES.values() if getattr(person, column) != columns[column]}
    if others:
        for column, value in others.items():
            setattr(person, column, value)
        person.save(update_fields=list(others))


def _entitle(person: Person, rights: Mapping[str, Any], acting: Callable[[Person], Actor]) -> None:
    """Give a locked person these rights, by an event if they are other than before."""
    _recorder()(person, "recorded", actor=acting(person))
    if all(getattr(person, name) == value for name, value in rights.items()):
        return
    for name, value in rights.items():
        setattr(person, name, value)
    _recorder()(person, "rights_changed", actor=acting(person))


def _recorder() -> Recorder:
    return cast(Recorder, import_string(settings.PEOPLE_RECORDER))


def _hold_logins(identity: Identity) -> None:
    """Let the logins of one identity follow one another, in any tenant. No tenant has an empty name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT people_hold('', ARRAY[%s], ARRAY[%s])", [identity.issuer, identity.subject])


def _rights(claims: Mapping[str, Any], access_token: object, issuer: Issuer) -> dict[str, Any]:
    """Roles, agent roles and tenant: each as the ID token has it or, where it has nothing, the access token."""
    named = (settings.OIDC_ROLES_CLAIM, settings.OIDC_AGENT_ROLES_CLAIM, settings.OIDC_TENANT_CLAIM)
    missing = [dotted for dotted in named if path(claims, dotted) is None]
    access = _access_claims(access_token, claims["sub"], issuer) if missing else {}
    for_roles, for_agent_roles, for_tenant = (access if dotted in missing else claims for dotted in named)
    roles = roles_in(for_roles)
    agent_roles = words(for_agent_roles, settings.OIDC_AGENT_ROLES_CLAIM)
    return {
        "roles": sorted(role.value for role in roles),
        "agent_roles": [role for role in agent_roles if len(role) <= _LONGEST_AGENT_ROLE],
        "tenant": tenant_in(for_tenant, issuer),
        "is_staff": not roles.isdisjoint(Role(name) for name in settings.OIDC_STAFF_ROLES),
    }


def _access_claims(token: object, subject: str, issuer: Issuer) -> Mapping[str, Any]:
    """The claims of the access token, if we would take it at the API and it is the same person's; else none."""
    try:
        claims, signer = verified_claims(str(token))
    except (InvalidToken, Problem) as error:
        log.info("the access token of a login tells no rights", extra={"why": str(error)})
        return {}
    return claims if signer == issuer and claims["sub"] == subject else {}


def _names(claims: Mapping[str, Any]) -> dict[str, str]:
    """What they are called, to be shown: cut to what fits, "" where it is missing."""
    found = {}
    for claim, (column, longest) in _NAMES.items():
        value = claims.get(claim)
        found[column] = value[:longest] if isinstance(value, str) and value.isprintable() else ""
    return found
