"""Hostile tokens at both doors: what one refuses the other refuses, and the good ones are let in by both."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.warnings import InsecureKeyLengthWarning

from orchestrator import local_key
from tests.bearer_tokens.doors import Door, both
from tests.bearer_tokens.hostile import HOSTILE, TAKEN
from tests.orchestrator.key_server import KeyServer, jwk
from tests.orchestrator.tokens import GONE, b64, claims, good, header, made, own_key

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
DOORS = ("the service", "the MCP server")
AUDIENCE = "orchestrator"
# No database: a token is judged without it, and a caller who reached it would be answered 500.


@cache
def short_key() -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


@cache
def other_curve() -> Any:
    return ec.generate_private_key(ec.SECP384R1())


def by_the_other_curve(issuer: KeyServer) -> str:
    """ES256 over P-384: its signature is as long as that curve's numbers (RFC 7518, section 3.4)."""

    def sign(text: bytes) -> bytes:
        pair = decode_dss_signature(other_curve().sign(text, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(48, "big") for number in pair)

    return made(header(alg="ES256", kid="P-384"), claims(), sign)


def own_jwk() -> dict[str, Any]:
    key = own_key().public_key()
    return {**OKPAlgorithm.to_jwk(key, as_dict=True), "kid": local_key.key_id(key), "use": "sig", "alg": "EdDSA"}


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[KeyServer, dict[str, Door]]]:
    """Both doors, and an issuer that shows good keys beside some that verify nothing."""
    with both() as (issuer, doors):
        issuer.shows(
            own_jwk(),
            *(jwk(algorithm, algorithm) for algorithm in ALGORITHMS),
            {**RSAAlgorithm.to_jwk(short_key().public_key(), as_dict=True), "kid": "short"},
            jwk("to encrypt", "RS256", use="enc"),
            jwk("for RSA-OAEP", "RS256", alg="RSA-OAEP"),
            {"kty": "oct", "k": b64(b"0" * 32), "kid": "a secret", "alg": "HS256"},
            jwk("to sign", "RS256", key_ops=["sign"], alg=GONE, use=GONE),
            jwk("odd", "RS256", key_ops=7),
            {**ECAlgorithm.to_jwk(other_curve().public_key(), as_dict=True), "kid": "P-384"},
            jwk("any RSA", "RS256", alg=GONE, use=GONE),
            jwk("to verify", "RS256", key_ops=["verify"]),
        )
        yield issuer, doors


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, world: tuple[KeyServer, dict[str, Door]]) -> Door:
    return world[1][request.param]


def signed(algorithm: str, kid: str, **changes: Any) -> Callable[[KeyServer], str]:
    return lambda issuer: issuer.token(algorithm, kid, **{"aud": AUDIENCE, **changes})


def with_a_short_key(issuer: KeyServer) -> str:
    with pytest.warns(InsecureKeyLengthWarning):
        return issuer.token("RS256", "short", key=short_key(), aud=AUDIENCE)


def headed_as(was: str, says: str, kid: str | None = None) -> Callable[[KeyServer], str]:
    """Signed by one algorithm, the header naming another."""

    def bearer(issuer: KeyServer) -> str:
        _, payload, signature = issuer.token(was, was, aud=AUDIENCE).split(".")
        return f"{b64(json.dumps({'alg': says, 'kid': kid or was}).encode())}.{payload}.{signature}"

    return bearer


BY_ITS_KEY: dict[str, Callable[[KeyServer], str]] = {
    "a 1,024-bit RSA key": with_a_short_key,
    "a key of another curve": by_the_other_curve,
    "a key to sign with": signed("RS256", "to sign"),
    "a key of odd operations": signed("RS256", "odd"),
    "a key to encrypt with": signed("RS256", "to encrypt"),
    "a key for another algorithm": signed("RS256", "for RSA-OAEP"),
    "a shared secret": signed("HS256", "a secret", key=b"0" * 32),
    "the id of another kind of key": signed("ES256", "RS256"),
    "a key id that the issuer lacks": signed("EdDSA", "another"),
    "EdDSA headed and named as RS256": headed_as("EdDSA", "RS256", "RS256"),
    **{f"{was} headed as {says}": headed_as(was, says) for was in ALGORITHMS for says in ALGORITHMS if was != says},
}
TAKEN_BY_ITS_KEY = {
    **{algorithm: signed(algorithm, algorithm) for algorithm in ALGORITHMS},
    "RS256 by a key of no algorithm": signed("RS256", "any RSA"),
    "PS256 by a key of no algorithm": signed("PS256", "any RSA"),
    "a key to verify with": signed("RS256", "to verify"),
    "a login": signed("EdDSA", "EdDSA", sid="a-login", azp="a-client"),
    "for several audiences": signed("EdDSA", "EdDSA", aud=["account", AUDIENCE]),
    "on behalf of somebody": signed("EdDSA", "EdDSA", act={"sub": "bot"}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_refused(door: Door, name: str) -> None:
    token = HOSTILE[name][0]()
    status, challenge = door.knock(token)
    assert status == 401
    assert challenge.startswith("Bearer ")
    assert 'error="invalid_token"' in challenge


@pytest.mark.parametrize("name", BY_ITS_KEY)
def test_a_token_whose_key_is_not_good_for_it_is_refused(
    door: Door, world: tuple[KeyServer, dict[str, Door]], name: str
) -> None:
    assert door.knock(BY_ITS_KEY[name](world[0]))[0] == 401


@pytest.mark.parametrize("name", TAKEN)
def test_a_good_token_is_taken(door: Door, name: str) -> None:
    assert door.knock(TAKEN[name]()) == (door.opened, "")


@pytest.mark.parametrize("name", TAKEN_BY_ITS_KEY)
def test_a_token_of_each_kind_of_key_is_taken(door: Door, world: tuple[KeyServer, dict[str, Door]], name: str) -> None:
    assert door.knock(TAKEN_BY_ITS_KEY[name](world[0])) == (door.opened, "")


@pytest.mark.parametrize("name", DOORS)
def test_without_a_token_the_challenge_names_no_error(world: tuple[KeyServer, dict[str, Door]], name: str) -> None:
    status, challenge = world[1][name].knock(None)
    assert (status, challenge.split(" ")[0]) == (401, "Bearer")
    assert "error" not in challenge


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("said", ["another issuer", "no issuer", "a file", "a redirect"])
def test_keys_by_a_discovery_document_that_is_not_the_issuer_s_are_not_taken(name: str, said: str) -> None:
    with both() as (issuer, doors):
        issuer.shows(own_jwk())
        document = {"issuer": issuer.address, "jwks_uri": issuer.jwks_url}
        changes: dict[str, dict[str, Any]] = {
            "another issuer": {"issuer": "https://evil.example"},
            "no issuer": {"issuer": None},
            "a file": {"jwks_uri": "file:///etc/hostname"},
        }
        if said == "a redirect":
            issuer.says("/.well-known/openid-configuration", {}, 302, Location=f"{issuer.address}/keys")
        else:
            issuer.says("/.well-known/openid-configuration", {**document, **changes[said]})
        # Nobody can tell whether the token is good: that is no 401, which would be untrue.
        assert doors[name].knock(good())[0] == 503
        assert "/keys" not in issuer.asked


@pytest.mark.parametrize("name", DOORS)
def test_keys_by_the_issuer_s_own_discovery_document_are_taken(name: str) -> None:
    with both() as (issuer, doors):
        issuer.shows(own_jwk())
        assert doors[name].knock(good())[0] == doors[name].opened
        assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
