"""Which tokens are a person's: tokens as providers issue them, and the rules that an operator writes."""

from typing import Any

import pytest

from orchestrator import person_rules
from orchestrator.actors import Actor, Kind, Origin, Via
from orchestrator.auth import verify
from tests.orchestrator.key_server import jwk, serving, trusting
from tests.orchestrator.tokens import GONE

UUID = "6f1f9a3e-5b8e-4b43-9a0e-5d9d3f7b2c11"
OTHER = "0c0c2b9e-1d1e-4f6f-8a55-0a2b1c3d4e5f"

# As providers issue them unless they are configured otherwise, less what every token has.
PERSONS: dict[str, dict[str, Any]] = {
    "Keycloak": {
        "sub": UUID,
        "typ": "Bearer",
        "azp": "orchestrator-web",
        "sid": OTHER,
        "acr": "1",
        "auth_time": 1_790_000_000,
        "preferred_username": "petra",
    },
    "Keycloak, by password": {"sub": UUID, "typ": "Bearer", "azp": "goose-controller", "sid": OTHER, "acr": "1"},
    "Keycloak before version 22": {"sub": UUID, "azp": "web", "session_state": OTHER, "preferred_username": "petra"},
    "Keycloak, lightweight": {"sub": UUID, "typ": "Bearer", "azp": "orchestrator-web", "sid": OTHER},
    "Okta": {
        "sub": "petra@example.com",
        "ver": 1,
        "uid": "00u1a2b3c4D5E6f7g8h9",
        "cid": "0oa1a2b3c4D5E6f7g8h9",
        "scp": ["openid"],
        "auth_time": 1_790_000_000,
    },
    "Entra ID, version 2.0, with the optional claim sid": {
        "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
        "ver": "2.0",
        "oid": UUID,
        "azp": OTHER,
        "azpacr": "1",
        "idtyp": "user",
        "sid": OTHER,
        "scp": "work",
    },
    "Entra ID, version 1.0": {
        "sub": "AAAA-pairwise",
        "oid": UUID,
        "appid": OTHER,
        "amr": ["pwd", "mfa"],
        "scp": "work",
    },
}
MACHINES: dict[str, dict[str, Any]] = {
    "Keycloak": {
        "sub": UUID,
        "typ": "Bearer",
        "azp": "invoices",
        "client_id": "invoices",
        "preferred_username": "service-account-invoices",
        "acr": "1",
    },
    "Keycloak, with a session": {
        "sub": UUID,
        "azp": "jobs",
        "sid": OTHER,
        "preferred_username": "service-account-jobs",
    },
    "Keycloak, lightweight": {"sub": UUID, "typ": "Bearer", "azp": "invoices", "scope": "profile"},
    "Okta": {"sub": "0oa1a2b3c4", "cid": "0oa1a2b3c4", "ver": 1, "scp": ["work"]},
    "Okta, with a time of login": {"sub": "0oa1a2b3c4", "cid": "0oa1a2b3c4", "auth_time": 1_790_000_000},
    "Entra ID": {"sub": UUID, "oid": UUID, "azp": OTHER, "idtyp": "app", "roles": ["work"]},
    "Entra ID, with a session": {"sub": UUID, "oid": UUID, "azp": OTHER, "idtyp": "app", "sid": OTHER},
    "Entra ID, without the optional claim idtyp": {"sub": UUID, "oid": UUID, "azp": OTHER, "roles": ["work"]},
    "Auth0": {"sub": "abc123@clients", "azp": "abc123", "gty": "client-credentials"},
    "Auth0, with a session": {"sub": "auth0|abc", "azp": "abc", "gty": "client-credentials", "sid": OTHER},
    "Auth0, in the profile of RFC 9068": {"sub": "abc123@clients", "client_id": "abc123", "sid": OTHER},
    "several grants": {"sub": "x", "gty": ["refresh_token", "client-credentials"], "sid": OTHER},
    "RFC 9068": {"sub": "invoices", "client_id": "invoices", "auth_time": 1_790_000_000},
    "Google, a service account": {
        "sub": "107517467455664443765",
        "azp": "107517467455664443765",
        "email": "jobs@project.iam.gserviceaccount.com",
        "sid": OTHER,
    },
    "Google, a service account with a client": {"sub": "1", "azp": "2", "email": "a@b.gserviceaccount.com", "sid": "s"},
    # People whose tokens have no sign of it: the issuer's rules have to name one.
    "a person of Auth0": {"sub": "auth0|5f7c8ec7c33c6c004bbafe82", "azp": "abc123", "scope": "openid"},
    "a person of Google": {"sub": "110169484474386276334", "azp": "1.apps.googleusercontent.com", "email": "p@x.com"},
    "nothing": {"sub": UUID},
}
RULES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "Auth0": (
        {"any_of": [{"claim": "sub", "starts_with": "auth0|"}, {"claim": "sub", "starts_with": "samlp|"}]},
        MACHINES["a person of Auth0"],
        MACHINES["Auth0"],
    ),
    "Google": ({"any_of": ["email"]}, MACHINES["a person of Google"], MACHINES["Google, a service account"]),
    "Okta": ({"any_of": ["uid"]}, {"sub": "petra", "cid": "0oa", "uid": "00u"}, MACHINES["Okta"]),
    "Entra ID": (
        {"any_of": [{"claim": "idtyp", "equals": "user"}], "none_of": [{"claim": "oid", "same_as": "sub"}]},
        {"sub": "pairwise", "oid": UUID, "azp": OTHER, "idtyp": "user"},
        {"sub": UUID, "oid": UUID, "azp": OTHER, "idtyp": "user"},
    ),
}


def caller(claims: dict[str, Any], rules: Any = None) -> Actor:
    """The actor that a token with these claims speaks for, at an issuer with these rules."""
    with serving() as issuer:
        issuer.shows(jwk("key-1"))
        with trusting(issuer.issuer(**({} if rules is None else {"person_rules": rules}))):
            return verify(issuer.token(**claims), Origin(Via.API))


@pytest.mark.parametrize("claims", PERSONS.values(), ids=PERSONS)
def test_a_person_s_token_is_a_person_s(claims: dict[str, Any]) -> None:
    assert caller(claims).kind is Kind.PERSON


@pytest.mark.parametrize("claims", MACHINES.values(), ids=MACHINES)
def test_a_token_without_a_sign_of_a_login_or_with_a_mark_is_a_service_account_s(claims: dict[str, Any]) -> None:
    known = caller(claims)
    assert known.kind is Kind.SERVICE_ACCOUNT
    assert known.roles


@pytest.mark.parametrize("claims", PERSONS.values(), ids=PERSONS)
def test_no_token_with_act_is_a_person_s(claims: dict[str, Any]) -> None:
    assert caller({**claims, "act": {"sub": "bot"}}).kind is Kind.AGENT


@pytest.mark.parametrize(("rules", "person", "machine"), RULES.values(), ids=RULES)
def test_an_issuer_s_rules_name_its_signs(rules: Any, person: dict[str, Any], machine: dict[str, Any]) -> None:
    assert caller(person, rules).kind is Kind.PERSON
    assert caller(machine, rules).kind is Kind.SERVICE_ACCOUNT


def test_other_signs_stand_instead_of_the_usual_ones() -> None:
    assert caller({"sid": "s"}).kind is Kind.PERSON
    assert caller({"sid": "s"}, {"any_of": ["auth_time"]}).kind is Kind.SERVICE_ACCOUNT


def test_further_marks_leave_the_usual_signs_and_the_known_marks() -> None:
    rules = {"none_of": ["job", {"claim": "scp", "ends_with": ".jobs"}]}
    assert caller({"sid": "s", "scp": ["work", "read"]}, rules).kind is Kind.PERSON
    marked: list[dict[str, Any]] = [{"job": ""}, {"job": {}}, {"scp": ["work", "all.jobs"]}, {"scp": {"a": 1}}]
    for claims in [*marked, {"idtyp": "app"}]:
        assert caller({"sid": "s", **claims}, rules).kind is Kind.SERVICE_ACCOUNT, claims


def test_no_rule_takes_a_known_mark_away() -> None:
    rules = {"any_of": ["sub"], "none_of": [{"claim": "idtyp", "equals": "never"}]}
    for name in ("Keycloak", "Okta", "Entra ID", "Auth0", "RFC 9068", "Google, a service account"):
        assert caller(MACHINES[name], rules).kind is Kind.SERVICE_ACCOUNT, name


@pytest.mark.parametrize("value", ["", " ", 0, -1, False, True, None, [], [""], {}, {"id": "s"}, GONE], ids=ascii)
def test_a_sign_that_says_nothing_is_none(value: Any) -> None:
    assert caller({"sid": value}).kind is Kind.SERVICE_ACCOUNT


@pytest.mark.parametrize("value", [7, {"a": "app"}, ["user", 7], [["app"]], True], ids=ascii)
def test_a_claim_that_could_be_a_mark_and_is_not_understood_counts_as_one(value: Any) -> None:
    assert caller({"sid": "s", "idtyp": "user"}).kind is Kind.PERSON
    assert caller({"sid": "s", "idtyp": value}).kind is Kind.SERVICE_ACCOUNT


def test_the_kind_that_a_token_names_is_believed_of_the_local_issuer_alone() -> None:
    assert caller({"kind": "person"}).kind is Kind.SERVICE_ACCOUNT
    assert caller({"kind": "service_account", "sid": "s"}).kind is Kind.PERSON


@pytest.mark.parametrize(
    ("claims", "client"),
    [
        ({}, ""),
        ({"azp": "web"}, "web"),
        ({"azp": "web", "client_id": "other", "cid": "other"}, "web"),
        ({"client_id": "web", "cid": "other"}, "web"),
        ({"cid": "web"}, "web"),
        ({"appid": "web"}, "web"),
        ({"azp": None, "cid": "web"}, "web"),
        ({"azp": "Mu\u0308ller"}, "M\u00fcller"),
        # What is there and unusable is not looked for elsewhere.
        *(({"azp": bad, "client_id": "web"}, "") for bad in ("", " ", 7, ["web"], "w" * 256, "a\nb", {"a": 1})),
    ],
    ids=ascii,
)
def test_a_token_names_the_client_that_it_was_issued_to(claims: dict[str, Any], client: str) -> None:
    assert caller(claims).client == client


CONDITIONS: list[Any] = ["", " ", 7, None, [], {}, {"claim": "sid"}, {"equals": "app"}]


@pytest.mark.parametrize(
    "rules",
    [
        *([], "sid", 7, {}, {"any_of": []}, {"none_of": []}, {"any_of": "sid"}, {"any_of": ["sid"], "all_of": ["acr"]}),
        *({"any_of": [item]} for item in CONDITIONS),
        *({"none_of": [{"claim": "a", "equals": value}]} for value in ("", 7, None, ["app"])),
        {"none_of": [{"claim": "", "equals": "app"}]},
        {"none_of": [{"claim": "a", "equals": "b", "same_as": "c"}]},
        {"none_of": [{"claim": "a", "matches": ".*"}]},
        {"none_of": [{"claim": "a", "equals": "b", "else": "c"}]},
    ],
    ids=ascii,
)
def test_malformed_rules_are_refused(rules: Any) -> None:
    with pytest.raises(ValueError):
        person_rules.read(rules)
