"""Whether an access token is good: signed by a trusted issuer, for this audience, valid now (RFC 7519, RFC 8725)."""

from collections.abc import Mapping
from typing import Any, TypeVar

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from bearer_tokens.issuers import TrustedIssuer
from bearer_tokens.subjects import InvalidToken, principal_and_agent

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""The algorithms of a signature: fixed here, never taken from the token."""

MAX_TOKEN_BYTES = 8192
LEEWAY_SECONDS = 30
MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3."""

MAX_TIME = 253_402_300_799
"""The last second of the year 9999: no later time fits a date, and none is meant."""

_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
_REFUSED_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "enc", "zip"})
# Claims of an ID token (OpenID Connect Core, section 2): it says who logged in, not what the bearer may do.
_ID_TOKEN_CLAIMS = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})
_KTY = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
_UNREADABLE = (jwt.PyJWTError, ValueError, OverflowError, RecursionError)

IssuerT = TypeVar("IssuerT", bound=TrustedIssuer)


def verified(token: str, issuers: Mapping[str, IssuerT]) -> tuple[Mapping[str, Any], IssuerT]:
    """Return the claims of an access token that is good now, and the issuer among the trusted ones, by its name.

    Raises InvalidToken, and KeysUnavailable where the keys of the issuer are not to be had.
    """
    header = unverified_header(token)
    try:
        unverified = jwt.decode(token, options={"verify_signature": False})
    except _UNREADABLE as error:
        raise InvalidToken(f"malformed: {type(error).__name__}") from error
    name = unverified.get("iss")
    issuer = issuers.get(name) if isinstance(name, str) else None
    if issuer is None:
        raise InvalidToken("unknown issuer")
    claims = signed_claims(token, header, issuer, audience=issuer.audience, required=_REQUIRED)
    _require_access_token(header, claims)
    principal_and_agent(claims, issuer.name)
    return claims, issuer


def unverified_header(token: str) -> Mapping[str, Any]:
    """Return the header of a token of at most 8 KiB, as it stands. Raise InvalidToken where it cannot be read."""
    if len(token.encode("utf-8", "replace")) > MAX_TOKEN_BYTES:
        raise InvalidToken("oversized")
    try:
        return jwt.get_unverified_header(token)
    except _UNREADABLE as error:
        raise InvalidToken(f"malformed: {type(error).__name__}") from error


def signed_claims(
    token: str, header: Mapping[str, Any], issuer: TrustedIssuer, *, audience: str, required: list[str]
) -> Mapping[str, Any]:
    """Return the claims of a token that an issuer signed for an audience and that is valid now.

    Raises InvalidToken, and KeysUnavailable where the keys of the issuer are not to be had.
    """
    key = _signing_key(header, issuer)
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[header["alg"]],
            audience=audience,
            issuer=issuer.name,
            leeway=LEEWAY_SECONDS,
            options={"require": required, "verify_iat": True, "verify_nbf": True, "strict_aud": False},
        )
    except _UNREADABLE as error:
        raise InvalidToken(f"{type(error).__name__}: {error}") from error
    _require_times(claims)
    return claims


def _require_times(claims: Mapping[str, Any]) -> None:
    """Raise InvalidToken for a time that is no NumericDate (RFC 7519, section 2). PyJWT takes a text of digits too."""
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TIME:
            raise InvalidToken(f"{name} is no time")


def _signing_key(header: Mapping[str, Any], issuer: TrustedIssuer) -> Any:
    """Return the key that a header names, if the key itself may be used in that way. Raise InvalidToken otherwise."""
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise InvalidToken("algorithm not allowed")
    if refused := _REFUSED_HEADERS.intersection(header):
        raise InvalidToken(f"header not allowed: {', '.join(sorted(refused))}")
    key = issuer.key(kid) if isinstance(kid, str) else None
    if key is None:
        raise InvalidToken("unknown key id")
    jwk = key._jwk_data
    if jwk.get("kty") != _KTY[algorithm] or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        raise InvalidToken("the key is not for this algorithm")
    operations = jwk.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise InvalidToken("the key is not for verifying")
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < MIN_RSA_BITS:
        raise InvalidToken("the key is too short")
    return key.key


def _require_access_token(header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """Raise InvalidToken for ID tokens, refresh tokens and the like, which the same keys sign."""
    kind = str(header.get("typ", "JWT")).lower().removeprefix("application/")
    if kind not in ("jwt", "at+jwt"):
        raise InvalidToken("not an access token: typ of the header")
    if str(claims.get("typ", "Bearer")).lower() != "bearer":
        raise InvalidToken("not an access token: typ of the payload")
    if "cnf" in claims:
        raise InvalidToken("bound to a key that the caller has not shown")
    if _ID_TOKEN_CLAIMS.intersection(claims):
        raise InvalidToken("an ID token")
