"""Issuers that an operator configures: whose tokens are taken, for which tenants, and for how long."""

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.exceptions import ImproperlyConfigured
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_decode
from jwt.warnings import InsecureKeyLengthWarning

from orchestrator import auth, env
from orchestrator.actors import Actor, Identity, Origin, Role, Via
from orchestrator.auth import verify
from orchestrator.remembered import MOST, Remembered
from tests.api import Api, token
from tests.orchestrator.key_server import AUDIENCE, KeyServer, jwk, private_key, serving, trusting
from tests.orchestrator.tokens import GONE, b64, made

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
database = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> Iterator[KeyServer]:
    """An issuer with a key for each algorithm, its id the algorithm's name."""
    with serving() as running:
        running.shows(*(jwk(algorithm, algorithm) for algorithm in ALGORITHMS))
        yield running


@pytest.fixture
def another() -> Iterator[KeyServer]:
    """One that signs by ES256 alone, under an id of its own."""
    with serving() as running:
        running.shows(jwk("theirs", "ES256"))
        yield running


def status(bearer: str) -> int:
    """What a caller with this token is answered who asks for what is not there: 404 if it is let in."""
    return int(Api(bearer).get("/nowhere").status_code)


def actor(bearer: str) -> Actor:
    return verify(bearer, Origin(Via.API, "a-request", "a-trace", None))


# Which tokens.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("jwks_url", ["configured", "discovered"])
def test_takes_a_token_of_a_configured_issuer(server: KeyServer, algorithm: str, jwks_url: str) -> None:
    entry = server.issuer() if jwks_url == "configured" else server.issuer(jwks_url="")
    with trusting(entry):
        bearer = server.token(algorithm, algorithm)
        assert status(bearer) == 404
        assert actor(bearer).identity == Identity(server.address, "alice")
    assert len(server.asked) == (1 if jwks_url == "configured" else 2)


def test_with_an_issuer_configured_the_services_own_tokens_are_none(server: KeyServer) -> None:
    assert status(token("here-before")) == 404
    with trusting(server.issuer()):
        assert status(server.token(kid="EdDSA")) == 404
        assert status(token("too-late")) == 401
        assert status(server.token(kid="EdDSA", iss="local")) == 401
    assert status(token("here-again")) == 404


@pytest.mark.parametrize("claims", [{"iss": "/"}, {"iss": "upper"}, {"aud": "account"}, {"aud": [AUDIENCE + "2"]}])
def test_issuer_and_audience_are_matched_exactly(server: KeyServer, claims: dict[str, Any]) -> None:
    names = {"/": f"{server.address}/", "upper": server.address.upper()}
    changed = {name: names.get(value, value) if name == "iss" else value for name, value in claims.items()}
    with trusting(server.issuer()):
        assert status(server.token(kid="EdDSA", aud=["account", AUDIENCE])) == 404
        assert status(server.token(kid="EdDSA", **changed)) == 401


def signed_with_the_public_key(form: Any) -> Callable[[KeyServer], str]:
    def bearer(server: KeyServer) -> str:
        public = private_key("RS256").public_key().public_bytes(serialization.Encoding.PEM, form)
        payload = json.loads(_payload(server.token("RS256", "RS256")))
        return made({"alg": "HS256", "kid": "RS256"}, payload, lambda text: hmac.digest(public, text, hashlib.sha256))

    return bearer


def _payload(bearer: str) -> bytes:
    return base64url_decode(bearer.split(".")[1])


def headed_otherwise(was: str, says: str, kid: str | None = None) -> Callable[[KeyServer], str]:
    """Signed by one algorithm, its header naming another."""

    def bearer(server: KeyServer) -> str:
        _, payload, signature = server.token(was, was).split(".")
        head = {"alg": says, "kid": kid or was}
        return f"{b64(json.dumps(head).encode())}.{payload}.{signature}"

    return bearer


CONFUSED: dict[str, tuple[Callable[[KeyServer], str], str]] = {
    "HS256, signed with the RSA public key": (
        signed_with_the_public_key(serialization.PublicFormat.SubjectPublicKeyInfo),
        "algorithm not allowed",
    ),
    "HS256, signed with the RSA public key as PKCS 1": (
        signed_with_the_public_key(serialization.PublicFormat.PKCS1),
        "algorithm not allowed",
    ),
    **{
        f"{was} headed as {says}": (headed_otherwise(was, says), "not for this algorithm")
        for was in ALGORITHMS
        for says in ALGORITHMS
        if was != says
    },
    "ES256 under the id of the RSA key": (lambda server: server.token("ES256", "RS256"), "not for this algorithm"),
    "PS256 under the id of the key for RS256": (lambda server: server.token("PS256", "RS256"), "not for this"),
    "EdDSA headed and named as RS256": (headed_otherwise("EdDSA", "RS256", "RS256"), "Signature verification failed"),
    "a key id that nobody has": (lambda server: server.token(kid="nobody's"), "unknown key id"),
}


@pytest.mark.parametrize("name", CONFUSED)
def test_refuses_a_token_whose_algorithm_is_not_its_keys(
    server: KeyServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, why = CONFUSED[name]
    with trusting(server.issuer()), caplog.at_level(logging.INFO, logger="orchestrator.auth"):
        assert status(make(server)) == 401
    (record,) = [record for record in caplog.records if record.name == "orchestrator.auth"]
    assert why in vars(record)["why"]


def test_a_key_without_an_algorithm_of_its_own_serves_every_one_of_its_kind(server: KeyServer) -> None:
    server.shows(jwk("rsa", "RS256", alg=GONE, use=GONE))
    with trusting(server.issuer()):
        assert status(server.token("RS256", "rsa")) == 404
        assert status(server.token("PS256", "rsa")) == 404
        assert status(server.token("ES256", "rsa")) == 401


@pytest.mark.parametrize("said", [{"use": "enc"}, {"alg": "RSA-OAEP"}, {"kty": "oct", "k": "AAAA"}], ids=str)
def test_a_key_for_something_else_verifies_nothing(server: KeyServer, said: dict[str, str]) -> None:
    server.shows(jwk("good", "RS256"), jwk("bad", "RS256", **said))
    with trusting(server.issuer()):
        assert status(server.token("RS256", "good")) == 404
        assert status(server.token("RS256", "bad")) == 401


def test_a_key_of_fewer_than_2048_bits_verifies_nothing(server: KeyServer) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    server.shows(jwk("good", "RS256"), {**RSAAlgorithm.to_jwk(short.public_key(), as_dict=True), "kid": "short"})
    with pytest.warns(InsecureKeyLengthWarning):
        signed = server.token("RS256", "short", key=short)
    with trusting(server.issuer()):
        assert status(signed) == 401
        assert status(server.token("RS256", "good")) == 404


# Several issuers.


def test_each_of_several_issuers_is_found_by_its_own_keys(server: KeyServer, another: KeyServer) -> None:
    with trusting(server.issuer("acme"), another.issuer("globex", audience="theirs")):
        assert status(server.token(kid="EdDSA", tenant="acme")) == 404
        assert status(another.token("ES256", "theirs", aud="theirs", tenant="globex")) == 404
        # The audience is each issuer's own.
        assert status(another.token("ES256", "theirs", tenant="globex")) == 401
        # Signed by the one, in the name of the other.
        assert status(another.token("ES256", "theirs", iss=server.address, tenant="acme")) == 401
        assert (
            status(
                another.token(
                    "ES256", "ES256", iss=server.address, key=ec.generate_private_key(ec.SECP256R1()), tenant="acme"
                )
            )
            == 401
        )


def test_an_issuer_speaks_for_its_own_tenants_alone(server: KeyServer, another: KeyServer) -> None:
    with trusting(server.issuer("acme", "acme-labs"), another.issuer("globex")):
        for tenant in ("acme", "acme-labs"):
            assert actor(server.token(kid="EdDSA", tenant=tenant)).tenant == tenant
        assert actor(another.token("ES256", "theirs", tenant="globex")).tenant == "globex"
        for tenant in ("globex", "default", "*", "acm", "ACME"):
            answer = Api(server.token(kid="EdDSA", tenant=tenant)).get("/nowhere")
            assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden"), tenant
        assert status(another.token("ES256", "theirs", tenant="acme")) == 403


@pytest.mark.parametrize("said", [GONE, None])
def test_a_token_must_name_its_tenant_where_there_are_several_issuers(
    server: KeyServer, another: KeyServer, said: Any
) -> None:
    bearer = server.token(kid="EdDSA", tenant=said)
    with trusting(server.issuer("default")):
        assert actor(bearer).tenant == "default"
        assert status(bearer) == 404
    with trusting(server.issuer("default"), another.issuer("globex")):
        assert status(server.token(kid="EdDSA", tenant="default")) == 404
        assert status(server.token(kid="EdDSA", tenant=said, sub="bob")) == 403


def test_a_single_issuer_that_may_not_speak_for_the_default_tenant_must_name_one(server: KeyServer) -> None:
    with trusting(server.issuer("acme")):
        assert status(server.token(kid="EdDSA", tenant="acme")) == 404
        assert status(server.token(kid="EdDSA")) == 403


@database
def test_one_subject_of_two_issuers_is_two_people(server: KeyServer, another: KeyServer) -> None:
    with trusting(server.issuer("acme"), another.issuer("acme")):
        here = Api(server.token(kid="EdDSA", tenant="acme"))
        there = Api(another.token("ES256", "theirs", tenant="acme", agent_roles=["legal"]))
        made_here = here.post("/sessions", {"agent_role": "finance"})
        assert made_here.json()["created_by"] == f"{server.address}|alice"
        assert here.get(made_here.headers["Location"]).status_code == 200
        assert there.get(made_here.headers["Location"]).status_code == 404


# The realm of existing deployments.


def of_the_existing_realm(server: KeyServer, *roles: str) -> Api:
    """A token as Keycloak makes one there: no agent roles, no tenant, roles of its own beside ours."""
    said = {
        "typ": "Bearer",
        "azp": "goose-controller",
        "aud": [AUDIENCE, "account"],
        "acr": "1",
        "scope": "profile email",
        "preferred_username": "somebody",
        "agent_roles": GONE,
        "realm_access": {"roles": [*roles, "offline_access", "uma_authorization", "default-roles-dev"]},
        "resource_access": {"account": {"roles": ["manage-account"]}},
    }
    return Api(server.token("RS256", "RS256", **said))


@database
def test_the_realm_of_existing_deployments_has_operators(server: KeyServer) -> None:
    with trusting(server.issuer()):
        operator = of_the_existing_realm(server, "orchestrator")
        made_there = operator.post("/sessions", {"agent_role": "finance"})
        assert made_there.status_code == 201
        where = made_there.headers["Location"]
        assert operator.put(where, {"status": "active"}).status_code == 200
        assert operator.put(where, {"status": "completed"}).status_code == 200
        assert operator.send("DELETE", f"{where}?reason=over").status_code == 204


@database
def test_the_realm_of_existing_deployments_has_auditors(server: KeyServer) -> None:
    with trusting(server.issuer()):
        where = of_the_existing_realm(server, "orchestrator").post("/sessions", {"agent_role": "finance"})
        auditor = of_the_existing_realm(server, "auditor")
        assert auditor.get(where.headers["Location"]).status_code == 200
        assert auditor.get("/sessions").json()["total"] == 1
        assert auditor.put(where.headers["Location"], {"status": "active"}).status_code == 403
        assert auditor.post("/sessions", {"agent_role": "finance"}).status_code == 403
        assert of_the_existing_realm(server).get("/sessions").status_code == 403


def test_roles_are_found_where_the_settings_say(server: KeyServer, settings: Any) -> None:
    settings.OIDC_ROLES_CLAIM = "resource_access.orchestrator-api.roles"
    settings.OIDC_AGENT_ROLES_CLAIM = "https://id.example/agent-roles"
    settings.OIDC_TENANT_CLAIM = "org.id"
    said: dict[str, Any] = {
        "resource_access": {"orchestrator-api": {"roles": ["auditor"]}},
        "https://id.example/agent-roles": ["legal"],
        "org": {"id": "acme"},
    }
    with trusting(server.issuer("acme")):
        known = actor(server.token(kid="EdDSA", **said))
    assert (known.roles, known.agent_roles) == (frozenset({Role.AUDITOR}), frozenset({"legal"}))
    assert known.tenant == "acme"


# What is remembered.


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_what_was_found_in_a_token_is_remembered_for_a_minute_and_never_past_its_end() -> None:
    clock = Clock()
    memory: Remembered[str] = Remembered(clock)
    memory.put("long", "found", expires_at=clock.now + 600)
    memory.put("short", "found", expires_at=clock.now + 10)
    memory.put("over", "found", expires_at=clock.now)
    assert [memory.get(name) for name in ("long", "short", "over", "other")] == ["found", "found", None, None]
    clock.now += 9.9
    assert (memory.get("long"), memory.get("short")) == ("found", "found")
    clock.now += 0.1
    assert (memory.get("long"), memory.get("short")) == ("found", None)
    clock.now += 49.9
    assert memory.get("long") == "found"
    clock.now += 0.1
    assert memory.get("long") is None


def test_the_memory_is_bounded_and_keeps_no_token() -> None:
    memory: Remembered[int] = Remembered(Clock())
    for number in range(MOST + 1):
        memory.put(f"a-token-{number}", number, expires_at=2e9)
    assert [memory.get(f"a-token-{number}") for number in (0, 1, MOST)] == [None, 1, MOST]
    assert "a-token" not in str(vars(memory))


def test_a_withdrawn_key_ends_its_tokens_within_a_minute(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    clock.now = time.time()
    monkeypatch.setattr(auth, "_remembered", Remembered(clock))
    bearer = server.token(kid="EdDSA")
    with trusting(server.issuer()):
        assert status(bearer) == 404
    server.shows(jwk("another", "ES256"))
    with trusting(server.issuer()):
        clock.now += 59
        assert status(bearer) == 404
        assert status(server.token(kid="EdDSA", sub="bob")) == 401
        clock.now += 2
        assert status(bearer) == 401


def test_a_remembered_token_ends_with_its_leeway(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    clock.now = time.time()
    monkeypatch.setattr(auth, "_remembered", Remembered(clock))
    bearer = server.token(kid="EdDSA", exp=int(clock.now) + 20)

    class Moved(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Self:
            return cls.fromtimestamp(clock.now, tz)

    monkeypatch.setattr("jwt.api_jwt.datetime", Moved)
    with trusting(server.issuer()):
        assert status(bearer) == 404
        clock.now = int(clock.now) + 20 + 29.9
        assert status(bearer) == 404
        clock.now += 0.2
        assert status(bearer) == 401


def test_what_is_remembered_is_the_token_and_not_the_way_it_came(server: KeyServer) -> None:
    with trusting(server.issuer()):
        bearer = server.token(kid="EdDSA")
        first, second = (verify(bearer, Origin(Via.API, name, "a-trace", None)) for name in ("first", "second"))
    assert (first.origin.request_id, second.origin.request_id) == ("first", "second")


# The settings.

NAMES = (
    *("OIDC_ISSUERS", "OIDC_ISSUERS_FILE", "OIDC_ISSUER_URL", "OIDC_AUDIENCE", "OIDC_JWKS_URL", "OIDC_TENANTS"),
    "OIDC_PERSON_RULES",
)
ONE = {"OIDC_ISSUER_URL": "https://id.example/realms/dev", "OIDC_AUDIENCE": AUDIENCE}
GOOD = {"issuer": "https://a.example", "audience": "x", "tenants": ["acme"]}


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Reads the issuers from an environment with these variables."""

    def read(**variables: str) -> Any:
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return env.issuers()

    return read


def test_reads_a_single_issuer(configure: Callable[..., Any]) -> None:
    assert configure() == ()
    said = {"issuer": ONE["OIDC_ISSUER_URL"], "audience": AUDIENCE}
    assert configure(**ONE) == ({**said, "jwks_url": "", "tenants": ("default",)},)
    more = {"OIDC_JWKS_URL": "http://keycloak:8080/certs", "OIDC_TENANTS": "acme, globex"}
    assert configure(**ONE, **more) == (
        {**said, "jwks_url": "http://keycloak:8080/certs", "tenants": ("acme", "globex")},
    )


def test_reads_several_issuers(configure: Callable[..., Any], tmp_path: Any) -> None:
    other = {**GOOD, "issuer": "https://b.example", "jwks_url": "https://b.example/keys"}
    assert configure(OIDC_ISSUERS=json.dumps([GOOD, other])) == ({**GOOD, "jwks_url": ""}, other)
    (tmp_path / "issuers.json").write_text(json.dumps([GOOD]))
    assert configure(OIDC_ISSUERS_FILE=str(tmp_path / "issuers.json")) == ({**GOOD, "jwks_url": ""},)


BAD: dict[str, Any] = {
    "no JSON": "{",
    "no list": json.dumps(GOOD),
    "an empty list": "[]",
    "a word in the list": '["https://a.example"]',
    **{f"without {name}": json.dumps([{**GOOD, name: None}]) for name in GOOD},
    **{f"with an empty {name}": json.dumps([{**GOOD, name: type(GOOD[name])()}]) for name in GOOD},
    "tenants a word": json.dumps([{**GOOD, "tenants": "acme"}]),
    "a tenant a number": json.dumps([{**GOOD, "tenants": ["acme", 7]}]),
    "jwks_url a number": json.dumps([{**GOOD, "jwks_url": 7}]),
    "the service itself as an issuer": json.dumps([{**GOOD, "issuer": "local"}]),
    "malformed person_rules": json.dumps([{**GOOD, "person_rules": {"any_of": []}}]),
    "an issuer twice": json.dumps([GOOD, {**GOOD, "tenants": ["globex"]}]),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_issuers_that_it_cannot_use(configure: Callable[..., Any], name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="OIDC_ISSUERS"):
        configure(OIDC_ISSUERS=BAD[name])


@pytest.mark.parametrize("changed", [{"OIDC_AUDIENCE": ""}, {"OIDC_ISSUER_URL": "id.example"}, {"OIDC_JWKS_URL": "x"}])
def test_refuses_a_single_issuer_that_it_cannot_use(configure: Callable[..., Any], changed: dict[str, str]) -> None:
    assert len(configure(**ONE)) == 1
    with pytest.raises(ImproperlyConfigured, match=next(iter(changed))):
        configure(**{**ONE, **changed})


RULES = {"any_of": ["uid"], "none_of": [{"claim": "scp", "equals": "jobs"}]}


def test_reads_the_rules_by_which_tokens_are_a_person_s(configure: Callable[..., Any]) -> None:
    assert configure(**ONE, OIDC_PERSON_RULES=json.dumps(RULES))[0]["person_rules"] == RULES
    several = json.dumps([{**GOOD, "person_rules": RULES}])
    assert configure(OIDC_ISSUERS=several)[0]["person_rules"] == RULES


@pytest.mark.parametrize("rules", ["{", "[]", "{}", "null", '{"any_of": []}', '{"anyof": ["sid"]}', "[" * 100_000])
def test_refuses_person_rules_that_it_cannot_use(configure: Callable[..., Any], rules: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="OIDC_PERSON_RULES"):
        configure(**ONE, OIDC_PERSON_RULES=rules)


def test_refuses_rules_for_a_single_issuer_beside_several(configure: Callable[..., Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match="OIDC_PERSON_RULES"):
        configure(OIDC_ISSUERS=json.dumps([GOOD]), OIDC_PERSON_RULES=json.dumps(RULES))
