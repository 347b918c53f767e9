"""Whether a caller's bearer token is for this server: RFC 6750, RFC 7519, RFC 8725, RFC 9728."""

import logging
from typing import Any

import anyio.to_thread
import jwt
from mcp.server.auth.provider import AccessToken

from agent_mesh.keys import Keys

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""What a signature may be made with: fixed here, never taken from the token."""

_LONGEST = 8192
_LEEWAY_SECONDS = 30
_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
_REFUSED_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "enc", "zip"})
# Marks of an ID token: it says who logged in, not what they may ask of us.
_ID_TOKEN = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_KEYCLOAK_TYPES = frozenset({"ID", "Refresh", "Offline", "Logout"})
_KTY = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
_logger = logging.getLogger(__name__)


class NotForUs(Exception):  # noqa: N818
    """Says why, for the log alone."""


class BearerCheck:
    """The SDK's TokenVerifier: a signature of the issuer's, and an audience that is this server and no other."""

    def __init__(self, issuer: str, audience: str, keys: Keys) -> None:
        self._issuer, self._audience, self._keys = issuer, audience, keys

    async def verify_token(self, token: str) -> AccessToken | None:
        """None where it is not good: the caller is answered 401, which says nothing about why. Raises KeysAway."""
        try:
            claims = await anyio.to_thread.run_sync(self.claims, token)
        except NotForUs as why:
            _logger.warning("A bearer token was refused: %s", why)
            return None
        return AccessToken(
            token=token,
            client_id=str(claims.get("azp") or claims.get("client_id") or claims["sub"]),
            scopes=str(claims.get("scope") or "").split(),
            expires_at=int(claims["exp"]) + _LEEWAY_SECONDS,
            subject=str(claims["sub"]),
            claims={"iss": claims["iss"]},
        )

    def claims(self, token: str) -> dict[str, Any]:
        """What a good token says. Raises NotForUs, and KeysAway where nobody can tell."""
        if len(token.encode("utf-8", "replace")) > _LONGEST:
            raise NotForUs("oversized")
        try:
            header = jwt.get_unverified_header(token)
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(header),
                algorithms=[header["alg"]],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": _REQUIRED, "verify_iat": True, "verify_nbf": True},
            )
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
            raise NotForUs(f"{type(error).__name__}: {error}") from error
        if _ID_TOKEN & set(claims) or claims.get("typ") in _KEYCLOAK_TYPES:
            raise NotForUs("no access token")
        return claims

    def _key(self, header: dict[str, Any]) -> jwt.PyJWK:
        if header.get("alg") not in ALGORITHMS or _REFUSED_HEADERS & set(header):
            raise NotForUs("a header that is not taken")
        if str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise NotForUs("a type that is not taken")
        key = self._keys.key(str(header.get("kid")))
        if key is None or key.key_type != _KTY[header["alg"]]:
            raise NotForUs("no such key")
        return key
