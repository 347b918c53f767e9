"""Whether a caller's bearer token is for this server: the check that the service makes, as the MCP SDK calls it."""

import logging
from collections.abc import Mapping
from typing import Any

import anyio.to_thread
from mcp.server.auth.provider import AccessToken

from bearer_tokens import verifier
from bearer_tokens.issuers import TrustedIssuer
from bearer_tokens.subjects import InvalidToken

_logger = logging.getLogger(__name__)


class BearerCheck:
    """The SDK's TokenVerifier: accept the access tokens of one issuer for one audience, which is this server."""

    def __init__(self, issuer: TrustedIssuer) -> None:
        self._issuers = {issuer.name: issuer}

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return what a token says, or None where it is refused; the log alone says why. Raises KeysUnavailable."""
        try:
            claims = await anyio.to_thread.run_sync(self._claims, token)
        except InvalidToken as error:
            _logger.warning("A bearer token was refused: %s", error)
            return None
        return AccessToken(
            token=token,
            client_id=str(claims.get("azp") or claims.get("client_id") or claims["sub"]),
            scopes=str(claims.get("scope") or "").split(),
            expires_at=int(claims["exp"]) + verifier.LEEWAY_SECONDS,
            subject=str(claims["sub"]),
            claims={"iss": claims["iss"]},
        )

    def _claims(self, token: str) -> Mapping[str, Any]:
        return verifier.verified(token, self._issuers)[0]
