"""Who is calling: a bearer token checked locally (RFC 6750, RFC 7519, RFC 8725), and what DRF needs of it."""

from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from orchestrator import jwks, names
from orchestrator.actors import Actor, Identity, Kind, Origin, Role
from orchestrator.claims import InvalidToken, moment, path, short_text, text_or_empty, words
from orchestrator.problems import Forbidden
from orchestrator.remembered import Remembered

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""What a signature may be made with: fixed here, never taken from the token."""

MAX_TOKEN_BYTES = 8192
LEEWAY_SECONDS = 30
SHORTEST_RSA_BITS = 2048
"""RFC 7518, section 3.3."""

_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
_REFUSED_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "enc", "zip"})
# An ID token's marks (OpenID Connect Core, section 2): it says who logged in, not what they may ask of us.
_ID_TOKEN_CLAIMS = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})
# OpenID Connect Core and Keycloak; RFC 9068; Okta; version 1.0 of Entra ID.
_CLIENT_CLAIMS = ("azp", "client_id", "cid", "appid")
_KTY = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
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
    """The claims of an access token that an issuer we trust signed for us and that is valid now, and that issuer.

    Raises InvalidToken; ServiceUnavailable where the issuer's keys are not to be had.
    """
    found = _remembered.get(token)
    if found is None:
        found = _verified(token)
        _remembered.put(token, found, expires_at=float(found[0]["exp"]))
    return found


def _verified(token: str) -> tuple[Mapping[str, Any], jwks.Issuer]:
    if len(token.encode("utf-8", "replace")) > MAX_TOKEN_BYTES:
        raise InvalidToken("oversized")
    try:
        header = jwt.get_unverified_header(token)
        unverified = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise InvalidToken(f"malformed: {type(error).__name__}") from error
    issuer = _issuer(unverified)
    key = signing_key(header, issuer)
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[header["alg"]],
            audience=issuer.audience,
            issuer=issuer.name,
            leeway=LEEWAY_SECONDS,
            options={"require": _REQUIRED, "verify_iat": True, "verify_nbf": True, "strict_aud": False},
        )
    except (jwt.PyJWTError, ValueError, OverflowError) as error:
        raise InvalidToken(f"{type(error).__name__}: {error}") from error
    _insist_on_access_token(header, claims)
    return claims, issuer


def _issuer(unverified: Mapping[str, Any]) -> jwks.Issuer:
    name = unverified.get("iss")
    issuer = jwks.issuers().get(name) if isinstance(name, str) else None
    if issuer is None:
        raise InvalidToken("unknown issuer")
    return issuer


def signing_key(header: Mapping[str, Any], issuer: jwks.Issuer) -> Any:
    """The issuer's key that the header names, if the key itself agrees to be used so. Raises InvalidToken."""
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise InvalidToken("algorithm not allowed")
    if refused := _REFUSED_HEADERS.intersection(header):
        raise InvalidToken(f"header not allowed: {', '.join(sorted(refused))}")
    key = issuer.key(kid) if isinstance(kid, str) else None
    if key is None:
        raise InvalidToken("unknown key id")
    said = key._jwk_data
    if said.get("kty") != _KTY[algorithm] or said.get("alg", algorithm) != algorithm or said.get("use", "sig") != "sig":
        raise InvalidToken("the key is not for this algorithm")
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < SHORTEST_RSA_BITS:
        raise InvalidToken("the key is too short")
    return key.key


def _insist_on_access_token(header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """ID tokens, refresh tokens and the like are signed by the same keys and are no way in. Raises InvalidToken."""
    kind = str(header.get("typ", "JWT")).lower().removeprefix("application/")
    if kind not in ("jwt", "at+jwt"):
        raise InvalidToken("not an access token: typ of the header")
    if str(claims.get("typ", "Bearer")).lower() != "bearer":
        raise InvalidToken("not an access token: typ of the payload")
    if "cnf" in claims:
        raise InvalidToken("bound to a key that the caller has not shown")
    if _ID_TOKEN_CLAIMS.intersection(claims):
        raise InvalidToken("an ID token")


def _who(claims: Mapping[str, Any], issuer: jwks.Issuer) -> tuple[Identity, Identity | None]:
    """Who acts and for whom: with `act` (RFC 8693, section 4.1) the agent is the actor, the subject its principal."""
    principal = Identity(issuer.name, short_text(claims, "sub"))
    act = claims.get("act")
    if act is None:
        return principal, None
    if not isinstance(act, Mapping):
        raise InvalidToken("act is no object")
    agent = Identity(short_text(act, "iss", issuer.name), short_text(act, "sub"))
    spoken_for = {*jwks.issuers(), settings.LOCAL_ISSUER} - {issuer.name}
    if agent.issuer in spoken_for:
        raise InvalidToken("act names a subject of an issuer that speaks for itself")
    return agent, principal


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
        """What a 401 carries (RFC 9110, section 11.6.1)."""
        return "Bearer"
