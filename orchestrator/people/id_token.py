"""ID tokens: who logged in, checked as OpenID Connect Core, section 3.1.3.7, has it."""

import hmac
import time
from collections.abc import Mapping
from typing import Any

from bearer_tokens import verifier
from bearer_tokens.subjects import InvalidToken, short_text, text_or_empty
from orchestrator.claims import moment
from orchestrator.jwks import Issuer

_REQUIRED = ["exp", "iat", "iss", "aud", "sub", "nonce"]


def verified(token: object, *, issuer: Issuer, client_id: str, nonce: str) -> Mapping[str, Any]:
    """The claims of an ID token that this issuer signed for this client, in answer to the login with this nonce.

    Raises InvalidToken, which says why for the log alone; ServiceUnavailable where the issuer's keys are not to be had.
    """
    if not isinstance(token, str):
        raise InvalidToken("no ID token")
    header = verifier.unverified_header(token)
    claims = verifier.signed_claims(token, header, issuer, audience=client_id, required=_REQUIRED)
    _insist_on_ours(claims, client_id=client_id, nonce=nonce)
    _insist_on_login(claims)
    short_text(claims, "sub")
    return claims


def _insist_on_login(claims: Mapping[str, Any]) -> None:
    """Check `acr` and `auth_time` where they are there. Raises InvalidToken.

    Whether the login is strong and recent enough is checked at each decision: a weaker one lets people look.
    """
    if claims.get("acr") is not None and not text_or_empty(claims, "acr"):
        raise InvalidToken("acr is unusable")
    if claims.get("auth_time") is None:
        return
    at = moment(claims, "auth_time")
    if at is None or at.timestamp() > time.time() + verifier.LEEWAY_SECONDS:
        raise InvalidToken("auth_time is unusable or in the future")


def _insist_on_ours(claims: Mapping[str, Any], *, client_id: str, nonce: str) -> None:
    """It is an ID token, for us alone, and answers this login. Raises InvalidToken."""
    if str(claims.get("typ", "ID")).upper() != "ID":
        raise InvalidToken("not an ID token")
    party = claims.get("azp")
    if party != client_id if "azp" in claims else isinstance(claims["aud"], list) and len(claims["aud"]) > 1:
        raise InvalidToken("issued to another client")
    if not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
        raise InvalidToken("it answers another login: nonce")
