"""What a login leaves of somebody: their row, with the rights that the provider gives them now."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import connection

from bearer_tokens.subjects import InvalidToken, short_text
from orchestrator import boundary
from orchestrator.actors import Identity, Role
from orchestrator.auth import roles_in, tenant_in, verified_claims
from orchestrator.claims import path, words
from orchestrator.jwks import Issuer
from orchestrator.people.models import Person
from orchestrator.problems import Forbidden, Problem

_NAMES = {"given_name": ("first_name", 150), "family_name": ("last_name", 150), "email": ("email", 254)}
"""Claims, and the columns that they are kept in, with the room there."""
_LONGEST_AGENT_ROLE = 50

log = logging.getLogger(__name__)


def arrive(claims: Mapping[str, Any], access_token: object, issuer: Issuer) -> Person:
    """The person whom a verified ID token speaks of, made or brought up to date.

    Somebody is the issuer and the subject: an e-mail address finds nobody. Nobody becomes a superuser by a login.

    Raises Forbidden for somebody who was cut off, who holds no role that the admin is for (the row then says so too)
    or whose tenant the issuer may not speak for; ServiceUnavailable without a database.
    """
    identity = Identity(issuer.name, short_text(claims, "sub"))
    columns = {**_rights(claims, access_token, issuer), **_names(claims)}
    person = boundary.write(lambda: _written(identity, columns))
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


def _written(identity: Identity, columns: Mapping[str, Any]) -> Person:
    _hold_logins(identity)
    person = row_of(identity, columns["tenant"])
    if not person.is_active:
        raise Forbidden("Your access was withdrawn. An operator can restore it.")
    for name, value in columns.items():
        setattr(person, name, value)
    person.is_superuser = False
    person.save(update_fields=["is_superuser", *columns])
    elsewhere = Person.objects.filter(issuer=identity.issuer, subject=identity.subject).exclude(pk=person.pk)
    # The provider now names another tenant. Only an operator of a tenant cuts off there, so is_active stays.
    elsewhere.update(roles=[], agent_roles=[], is_staff=False, is_superuser=False)
    return person


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
