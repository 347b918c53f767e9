"""Keycloak's keys change, and Keycloak goes away, while callers call."""

import base64
import json
import time

import pytest

from bearer_tokens.jwks_cache import UNKNOWN_SECONDS
from tests.keycloak.calls import administer, call, service_token, traffic
from tests.keycloak.server import Keycloak

pytestmark = [pytest.mark.keycloak, pytest.mark.django_db(transaction=True)]


def key_id(token: str) -> str:
    header = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


def test_no_request_fails_while_the_signing_key_is_rotated(keycloak: Keycloak, service: str) -> None:
    old = service_token(keycloak.address("dev"))
    with traffic(service, old) as asking:
        # An unknown key is looked for at most every thirty seconds: every worker's first look must be that long ago.
        time.sleep(UNKNOWN_SECONDS + 2)
        administer(keycloak, "POST", "/components", _new_key())
        new = service_token(keycloak.address("dev"))
        asking.bearers.append(new)
        before = len(asking.statuses)
        time.sleep(3)
    assert key_id(new) != key_id(old)
    assert len(asking.statuses) > before + 20
    assert set(asking.statuses) == {200}


def _new_key() -> dict[str, object]:
    return {
        "name": "newer",
        "providerId": "rsa-generated",
        "providerType": "org.keycloak.keys.KeyProvider",
        "config": {"priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]},
    }


def test_no_request_fails_while_keycloak_is_stopped(keycloak: Keycloak, service: str) -> None:
    token = service_token(keycloak.address("dev"))
    try:
        with traffic(service, token) as asking:
            time.sleep(2)
            keycloak.stop()
            before = len(asking.statuses)
            time.sleep(5)
        assert len(asking.statuses) > before + 20
        assert set(asking.statuses) == {200}
        # Signed by nobody we know: not taken on trust because the issuer cannot be asked, and no error of ours.
        forged = ".".join([_header("nobody"), *token.split(".")[1:]])
        assert call("GET", f"{service}/sessions", forged)[0] == 401
    finally:
        keycloak.start()


def _header(kid: str) -> str:
    return base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": kid}).encode()).rstrip(b"=").decode()
