"""Which bearer tokens the MCP server takes, and what becomes of them while the issuer is away."""

import time
from typing import Any

import anyio
import httpx
import jwt
import pytest

from agent_mesh.bearer import BearerCheck, NotForUs
from agent_mesh.keys import Keys, KeysAway
from tests.orchestrator.key_server import jwk, private_key

ISSUER, AUDIENCE = "https://id.example/realms/dev", "https://mesh.example/mcp"


class Issuer(httpx.BaseTransport):
    """What it answers can be changed by the test."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys, self.away, self.asked = list(keys), False, list[str]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.away:
            raise httpx.ConnectError("connection refused")
        if request.url.path.endswith("/openid-configuration"):
            return httpx.Response(200, json={"jwks_uri": "https://id.example/keys"})
        return httpx.Response(200, json={"keys": self.keys})


class Clock:
    now = 100_000.0

    def __call__(self) -> float:
        return self.now


def check(issuer: Issuer | None = None, clock: Clock | None = None) -> BearerCheck:
    shown = issuer or Issuer(*(jwk(f"key-{algorithm}", algorithm) for algorithm in ("RS256", "ES256", "EdDSA")))
    return BearerCheck(ISSUER, AUDIENCE, Keys(ISSUER, transport=shown, clock=clock or Clock()))


def token(algorithm: str = "EdDSA", headers: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
    now = int(time.time())
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300, **claims}
    kept = {name: value for name, value in said.items() if value is not None}
    known = {"kid": f"key-{algorithm}", "typ": "at+jwt", **(headers or {})}
    head = {name: value for name, value in known.items() if value is not None}
    return jwt.encode(kept, key or private_key(algorithm), algorithm, headers=head)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_token_for_this_server_is_taken(algorithm: str) -> None:
    async def verified() -> Any:
        return await check().verify_token(token(algorithm, azp="goose", scope="tasks audit"))

    access = anyio.run(verified)
    assert (access.subject, access.client_id, access.scopes) == ("alice", "goose", ["tasks", "audit"])
    assert access.claims == {"iss": ISSUER}


def test_one_of_several_audiences_is_enough() -> None:
    assert check().claims(token(aud=["orchestrator", AUDIENCE]))["sub"] == "alice"


def seconds(past: int) -> int:
    return int(time.time()) + past


HOSTILE: dict[str, Any] = {
    "another audience": lambda: token(aud="orchestrator"),
    "no audience": lambda: token(aud=None),
    "part of the audience": lambda: token(aud="https://mesh.example"),
    "another issuer": lambda: token(iss="https://evil.example"),
    "no issuer": lambda: token(iss=None),
    "no subject": lambda: token(sub=None),
    "no end": lambda: token(exp=None),
    "no beginning": lambda: token(iat=None),
    "over": lambda: token(exp=seconds(-31), iat=seconds(-100)),
    "not yet": lambda: token(nbf=seconds(60)),
    "of the future": lambda: token(iat=seconds(60)),
    "unknown key": lambda: token(headers={"kid": "another"}),
    "no key id": lambda: token(headers={"kid": None}),
    "signed by somebody else": lambda: token(key=jwt.PyJWK(_foreign()).key),
    "key of another kind": lambda: token(headers={"kid": "key-RS256"}),
    "HS256": lambda: jwt.encode({"sub": "alice"}, "x" * 32, "HS256", headers={"kid": "key-EdDSA"}),
    "none": lambda: jwt.encode({"sub": "alice"}, "", "none", headers={"kid": "key-EdDSA"}),
    "jku": lambda: token(headers={"jku": "https://evil.example/keys"}),
    "x5u": lambda: token(headers={"x5u": "https://evil.example/keys"}),
    "embedded jwk": lambda: token(headers={"jwk": jwk("key-EdDSA")}),
    "crit": lambda: token(headers={"crit": ["exp"], "exp": 1}),
    "logout token": lambda: token(headers={"typ": "logout+jwt"}),
    "ID token": lambda: token(nonce="abc"),
    "ID token of Keycloak": lambda: token(typ="ID"),
    "refresh token of Keycloak": lambda: token(typ="Refresh"),
    "oversized": lambda: token(filler="x" * 9000),
    "no token": lambda: "no.such.token",
    "empty": lambda: "",
    "NUL": lambda: "a\x00b",
}


def _foreign() -> dict[str, Any]:
    """A private key that the issuer does not have."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from jwt.algorithms import OKPAlgorithm

    return dict(OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate(), as_dict=True))


@pytest.mark.parametrize("name", HOSTILE)
def test_any_other_is_not(name: str) -> None:
    with pytest.raises(NotForUs):
        check().claims(HOSTILE[name]())


def test_why_is_logged_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    bad = token(aud="orchestrator")

    async def verified() -> Any:
        return await check().verify_token(bad)

    assert anyio.run(verified) is None
    assert "InvalidAudienceError" in caplog.text
    assert bad not in caplog.text


def test_keys_are_fetched_once_in_ten_minutes() -> None:
    issuer, clock = Issuer(jwk("key-EdDSA")), Clock()
    checking = check(issuer, clock)
    for clock.now in (100_000.0, 100_600.0):
        checking.claims(token())
    assert len(issuer.asked) == 2  # the discovery document, and the keys
    clock.now += 1
    checking.claims(token())
    assert len(issuer.asked) == 4


def test_a_new_key_is_looked_for_and_a_flood_of_unknown_ones_is_not() -> None:
    issuer, clock = Issuer(jwk("key-1")), Clock()
    checking = check(issuer, clock)
    for _ in range(50):
        with pytest.raises(NotForUs):
            checking.claims(token(headers={"kid": "key-2"}))
    assert len(issuer.asked) == 2
    issuer.keys.append(jwk("key-2"))
    clock.now += 31
    assert checking.claims(token(headers={"kid": "key-2"}))["sub"] == "alice"


def test_known_keys_serve_for_a_day_while_the_issuer_is_away() -> None:
    issuer, clock = Issuer(jwk("key-EdDSA")), Clock()
    checking = check(issuer, clock)
    checking.claims(token())
    issuer.away = True
    clock.now += 86_399
    assert checking.claims(token())["sub"] == "alice"
    clock.now += 32
    with pytest.raises(KeysAway):
        checking.claims(token())


def test_without_any_key_nobody_can_tell() -> None:
    issuer = Issuer()
    issuer.away = True
    with pytest.raises(KeysAway):
        check(issuer).claims(token())


@pytest.mark.parametrize("odd", [{"kid": "a"}, "no key", {"kid": "a", "kty": "oct", "k": "AA"}, {"kty": "OKP"}, None])
def test_odd_keys_in_the_set_do_no_harm(odd: Any) -> None:
    assert check(Issuer(odd, jwk("key-EdDSA"))).claims(token())["sub"] == "alice"
