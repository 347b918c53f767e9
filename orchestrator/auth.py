"""Who is calling: what a verified bearer token (RFC 6750) says, as an actor, and what DRF needs of it."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from bearer_tokens import verifier
from bearer_tokens.subjects import InvalidToken, principal_and_agent, text_or_empty
from orchestrator import jwks, names
from orchestrator.actors import Actor, Identity, Kind, Origin, Role
from orchestrator.claims import moment, path, words
from orchestrator.problems import Forbidden, Unauthenticated
from orchestrator.remembered import Remembered

# OpenID Connect Core and Keycloak; RFC 9068; Okta; version 1.0 of Entra ID.
_CLIENT_CLAIMS = ("azp", "client_id", "cid", "appid")
_remembered: Remembered[tuple[Mapping[str, Any], jwks.Issuer]] = Remembered()
_ROLE_NAMES = {**{role.value: role for role in Role}, "orchestrator": Role.OPERATOR}


def bearer(request: HttpRequest) -> str:
    """The token of a request's `Authorization` (RFC 6750, section 2.1), or "" where it has none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def verify(token: str, origin: Origin) -> Actor:
    """The actor that a token speaks for.

    Raises InvalidToken, which says why for the log alone, or Forbidden for a caller without known role or tenant.
    """
    claims, issuer = verified_claims(token)
    roles = roles_in(claims)
    identity, behalf = _who(claims, issuer)
    if behalf is not None:
        # An agent acts with a person's rights but cannot be the person: nobody's agent decides or operates.
        roles -= {Role.APPROVER, Role.OPERATOR}
    if not roles:
        raise Forbidden("Your token names no role that this service knows.")
    return Actor(
        identity=identity,
        tenant=tenant_in(claims, issuer),
        kind=_kind(claims, behalf, issuer),
        origin=origin,
        roles=roles,
        agent_roles=frozenset(words(claims, settings.OIDC_AGENT_ROLES_CLAIM)),
        on_behalf_of=behalf,
        client=_client(claims),
        acr=text_or_empty(claims, "acr"),
        authenticated_at=moment(claims, "auth_time"),
    )


def verified_claims(token: str) -> tuple[Mapping[str, Any], jwks.Issuer]:
    """Return the claims of an access token that a trusted issuer signed for the service and that is valid now.

    The issuer comes with them. Raises InvalidToken; ServiceUnavailable where the issuer's keys are not to be had.
    """
    found = _remembered.get(token)
    if found is None:
        found = verifier.verified(token, jwks.issuers())
        _remembered.put(token, found, expires_at=float(found[0]["exp"]))
    return found


def _who(claims: Mapping[str, Any], issuer: jwks.Issuer) -> tuple[Identity, Identity | None]:
    """Return who acts and for whom: with `act` the agent is the actor, the subject its principal.

    Raises InvalidToken where the agent is of an issuer that signs its own tokens.
    """
    subject, agent = principal_and_agent(claims, issuer.name)
    principal = Identity(subject.issuer, subject.subject)
    if agent is None:
        return principal, None
    spoken_for = {*jwks.issuers(), settings.LOCAL_ISSUER} - {issuer.name}
    if agent.issuer in spoken_for:
        raise InvalidToken("act names a subject of an issuer that speaks for itself")
    return Identity(agent.issuer, agent.subject), principal


def _kind(claims: Mapping[str, Any], behalf: Identity | None, issuer: jwks.Issuer) -> Kind:
    """Return the kind of caller. A person needs a positive sign; what is not recognised is a service account."""
    if behalf is not None:
        return Kind.AGENT
    return Kind.PERSON if issuer.person_rules.match(claims) else Kind.SERVICE_ACCOUNT


def _client(claims: Mapping[str, Any]) -> str:
    """Return the client that the token was issued to: the first of its claims that is there, or ""."""
    named = next((name for name in _CLIENT_CLAIMS if claims.get(name) is not None), None)
    return "" if named is None else text_or_empty(claims, named)


def roles_in(claims: Mapping[str, Any]) -> frozenset[Role]:
    """The roles of ours that the claims name; others are passed over."""
    return frozenset(_ROLE_NAMES[name] for name in words(claims, settings.OIDC_ROLES_CLAIM) if name in _ROLE_NAMES)


def tenant_in(claims: Mapping[str, Any], issuer: jwks.Issuer) -> str:
    """The tenant that the claims name, or the issuer's own. Raises Forbidden where it may not speak for that one."""
    tenant = path(claims, settings.OIDC_TENANT_CLAIM)
    if tenant is None:
        tenant = issuer.fallback_tenant
    named = names.normal(tenant) if isinstance(tenant, str) else ""
    if not (len(named) <= 64 and names.is_clear(named) and issuer.may_assert(named)):
        raise Forbidden("Your token names no tenant that its issuer may speak for.")
    return named


class CallerAuthentication(BaseAuthentication):
    """Tells DRF whom the bearer middleware found. A session cookie is no way in."""

    def authenticate(self, request: Request) -> tuple[Actor, None] | None:
        """The caller, if there is one."""
        caller: Actor | None = getattr(request._request, "caller", None)
        return None if caller is None else (caller, None)

    def authenticate_header(self, request: Request) -> str:
        """Return what a 401 of DRF's own carries (RFC 9110, section 11.6.1)."""
        return Unauthenticated().headers["WWW-Authenticate"]
