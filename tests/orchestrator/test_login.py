"""The admin's login at an identity provider: who is let in, who is not, and where to."""

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.people.models import Person
from tests.database import without_trigger
from tests.orchestrator.logging_in import ROLES, Browser, configured, is_page
from tests.orchestrator.oidc_provider import CLIENT_ID, GONE, OidcProvider
from tests.work import in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def provider(settings: Any) -> Iterator[OidcProvider]:
    with configured(settings) as served:
        yield served


@pytest.fixture
def browser(provider: OidcProvider) -> Browser:
    return Browser(provider)


def past_the_guards(**columns: Any) -> None:
    """Change everybody's row without an event, as the owner of the tables can."""
    with without_trigger("people_person", "people_person_recorded_update"):
        Person.objects.update(**columns)


def roles(*named: str) -> dict[str, Any]:
    return {"realm_access": {"roles": [*named]}}


def the_person() -> Person:
    return Person.objects.get()


# The way in.


def test_whoever_holds_a_role_of_the_admin_is_let_in(browser: Browser) -> None:
    assert not browser.is_in()
    answer = browser.log_in()
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert browser.is_in()


def test_the_provider_is_asked_for_a_code_with_pkce_state_and_nonce(browser: Browser, provider: OidcProvider) -> None:
    sent = urlsplit(browser.begin())
    assert f"{sent.scheme}://{sent.netloc}{sent.path}" == provider.document["authorization_endpoint"]
    asked = {name: values[0] for name, values in parse_qs(sent.query).items()}
    assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", CLIENT_ID, "S256")
    assert asked["redirect_uri"] == "http://testserver/oidc/callback/"
    assert set(asked["scope"].split()) == {"openid", "profile", "email"}
    assert len(asked["state"]) >= 32
    assert len(asked["nonce"]) >= 32
    assert len(asked["code_challenge"]) == 43


def test_two_logins_share_neither_state_nor_nonce_nor_challenge(browser: Browser) -> None:
    one, two = (parse_qs(urlsplit(browser.begin()).query) for _ in range(2))
    assert all(one[name] != two[name] for name in ("state", "nonce", "code_challenge"))


def test_nothing_but_discovery_one_exchange_and_the_keys_is_asked_of_the_provider(
    browser: Browser, provider: OidcProvider
) -> None:
    browser.log_in()
    assert provider.asked == [
        "/.well-known/openid-configuration",
        "/token",
        "/.well-known/openid-configuration",
        "/jwks",
    ]
    provider.asked.clear()
    assert browser.is_in()
    Browser(provider).log_in()
    assert provider.asked == ["/token"]


def test_somebody_is_kept_by_issuer_and_subject_with_what_the_provider_says_of_them(
    browser: Browser, provider: OidcProvider
) -> None:
    said = {"given_name": "Olga", "family_name": "Orlova", "email": "olga@example.com", "tenant": "acme"}
    browser.log_in(**roles("operator", "agent", "cook"), agent_roles=["finance", "x" * 51], **said)
    person = the_person()
    assert (person.issuer, person.subject, person.tenant) == (provider.issuer, "7", "acme")
    assert (person.roles, person.agent_roles) == (["agent", "operator"], ["finance"])
    assert (person.get_full_name(), person.email) == ("Olga Orlova", "olga@example.com")
    assert (person.is_staff, person.is_superuser, person.is_active) == (True, False, True)
    assert not person.has_usable_password()


def test_a_second_login_brings_the_row_up_to_date_and_makes_no_other(browser: Browser, provider: OidcProvider) -> None:
    browser.log_in(**roles("operator"), email="old@example.com", given_name="Olga")
    Browser(provider).log_in(**roles("auditor"), email="new@example.com")
    person = the_person()
    assert (person.roles, person.email, person.first_name) == (["auditor"], "new@example.com", "")


def test_a_login_never_makes_a_superuser(browser: Browser) -> None:
    browser.log_in()
    past_the_guards(is_superuser=True)
    browser.log_in(is_superuser=True)
    assert not the_person().is_superuser


@pytest.mark.parametrize("role", ["operator", "auditor", "approver", "orchestrator"])
def test_each_role_of_the_admin_lets_in(browser: Browser, role: str) -> None:
    browser.log_in(**roles(role))
    assert browser.is_in()


def test_names_that_are_no_text_or_too_long_do_not_hinder(browser: Browser) -> None:
    browser.log_in(given_name=["a"], family_name="x" * 1000, email="a\nb@example.com")
    person = the_person()
    assert (person.first_name, person.last_name, person.email) == ("", "x" * 150, "")


def test_roles_are_those_of_the_access_token_where_the_id_token_names_none(browser: Browser) -> None:
    browser.log_in(realm_access=GONE, access={**roles("auditor"), "tenant": "acme", "agent_roles": ["sales"]})
    person = the_person()
    assert (person.roles, person.tenant, person.agent_roles) == (["auditor"], "acme", ["sales"])


def test_what_the_id_token_leaves_out_is_as_in_the_access_token_and_nothing_else_is(browser: Browser) -> None:
    browser.log_in(**roles("auditor"), access={**roles("operator"), "tenant": "acme", "agent_roles": ["sales"]})
    person = the_person()
    assert (person.roles, person.tenant, person.agent_roles) == (["auditor"], "acme", ["sales"])


@pytest.mark.parametrize(
    "access",
    [{"aud": "account"}, {"sub": "8"}, {"exp": 1}, {"iss": "https://elsewhere.example"}, {"typ": "Refresh"}],
    ids=str,
)
def test_an_access_token_that_the_api_would_refuse_gives_no_roles(browser: Browser, access: dict[str, Any]) -> None:
    assert browser.log_in(realm_access=GONE, access=ROLES).status_code == 302
    other = Browser(browser.provider)
    assert other.log_in(realm_access=GONE, access={**ROLES, **access}).status_code == 403
    assert not other.is_in()


# Afterwards: to where they wanted.


@pytest.mark.parametrize("wanted", ["/admin/sessions_app/session/", "/admin/?q=1"])
def test_next_leads_to_a_path_of_this_host(browser: Browser, wanted: str) -> None:
    assert browser.log_in(f"?next={wanted}")["Location"] == wanted


@pytest.mark.parametrize(
    "wanted",
    [
        *("https://evil.example/", "//evil.example/", "///evil.example", "http:///evil.example", "/\\evil.example"),
        *(
            "javascript:alert(1)",
            "http://testserver.evil.example/",
            "http://testserver@evil.example/",
            "\x01//evil.example",
        ),
    ],
)
def test_next_leads_nowhere_else(browser: Browser, wanted: str) -> None:
    begun = browser.client.get("/oidc/authenticate/", {"next": wanted})["Location"]
    assert browser.back(browser.provider.grant(begun, **ROLES))["Location"] == "/admin/"


def test_next_of_one_login_does_not_stay_for_the_following(browser: Browser) -> None:
    assert browser.log_in("?next=/admin/a/")["Location"] == "/admin/a/"
    assert browser.log_in()["Location"] == "/admin/"


# Who is not let in.


@pytest.mark.parametrize("held", [[], ["agent"], ["cook"], ["Operator"]], ids=str)
def test_whoever_holds_no_such_role_is_told_so_on_a_page(browser: Browser, held: list[str]) -> None:
    answer = browser.log_in(**roles(*held))
    assert (answer.status_code, is_page(answer)) == (403, True)
    assert b"operator, auditor, approver" in answer.content
    assert not browser.is_in()
    assert not the_person().is_staff


def test_the_roles_for_the_admin_are_a_setting(browser: Browser, settings: Any) -> None:
    settings.OIDC_STAFF_ROLES = ("auditor",)
    assert browser.log_in(**roles("operator")).status_code == 403
    assert browser.log_in(**roles("auditor")).status_code == 302


def test_a_role_that_was_taken_away_ends_the_login_of_before(browser: Browser, provider: OidcProvider) -> None:
    browser.log_in()
    assert browser.is_in()
    Browser(provider).log_in(**roles("agent"))
    assert not browser.is_in()
    assert not the_person().is_staff


def test_whoever_was_refused_is_asked_who_they_are_the_next_time(browser: Browser) -> None:
    assert "prompt=" not in browser.begin()
    browser.log_in(**roles("agent"))
    assert "prompt=login" in browser.begin()
    assert "prompt=" not in browser.begin()


def test_whoever_was_cut_off_is_not_let_in_and_their_row_stays_as_it_was(
    browser: Browser, provider: OidcProvider
) -> None:
    browser.log_in(email="old@example.com")
    past_the_guards(is_active=False)
    answer = Browser(provider).log_in(email="new@example.com")
    assert (answer.status_code, is_page(answer)) == (403, True)
    assert "withdrawn" in answer.content.decode()
    assert (the_person().email, the_person().is_active) == ("old@example.com", False)


def test_a_login_of_before_ends_with_the_next_request_after_a_cut_off(browser: Browser) -> None:
    browser.log_in()
    assert browser.is_in()
    past_the_guards(is_active=False)
    assert not browser.is_in()


def test_an_issuer_speaks_for_its_own_tenants_alone(browser: Browser) -> None:
    assert browser.log_in(tenant="acme").status_code == 302
    answer = Browser(browser.provider).log_in(tenant="umbrella")
    assert (answer.status_code, is_page(answer)) == (403, True)
    assert the_person().tenant == "acme"


def test_the_same_email_and_name_but_another_subject_is_another_person(browser: Browser) -> None:
    said: dict[str, Any] = {"email": "olga@example.com", "preferred_username": "olga", "email_verified": True}
    browser.log_in(sub="7", **roles("operator"), **said)
    other = Browser(browser.provider)
    other.log_in(sub="8", **roles("auditor"), **said)
    assert {(row.subject, *row.roles) for row in Person.objects.all()} == {("7", "operator"), ("8", "auditor")}


def test_somebody_of_the_same_subject_made_here_is_another_person(browser: Browser) -> None:
    Person.objects.create_superuser("7", "olga@example.com", "correct horse battery staple")
    browser.log_in(email="olga@example.com")
    assert set(Person.objects.values_list("issuer", "is_superuser")) == {
        ("local", True),
        (browser.provider.issuer, False),
    }


def test_of_two_first_logins_at_once_both_are_let_in_and_one_row_is_made(provider: OidcProvider) -> None:
    browsers = [Browser(provider) for _ in range(4)]
    queries = [provider.grant(browser.begin(), **ROLES) for browser in browsers]
    together = threading.Barrier(len(browsers))

    def come_back(browser: Browser, query: str) -> int:
        together.wait()
        return int(browser.back(query).status_code)

    answers = [in_a_thread(partial(come_back, *both)) for both in zip(browsers, queries, strict=True)]
    assert [answer.result() for answer in answers] == [302] * 4
    assert Person.objects.count() == 1


# What a login is not.


def test_a_session_cookie_is_no_way_into_the_api(browser: Browser) -> None:
    browser.log_in()
    assert browser.is_in()
    assert browser.client.cookies["sessionid"].value
    for method, path in (("GET", "/sessions"), ("POST", "/sessions"), ("DELETE", "/sessions/1"), ("GET", "/nowhere")):
        assert browser.client.generic(method, path, b"{}", "application/json").status_code == 401


def test_an_id_token_is_no_way_into_the_api(browser: Browser, provider: OidcProvider) -> None:
    browser.log_in(aud=[CLIENT_ID, "orchestrator-api"], azp=CLIENT_ID)
    token = browser.client.session["oidc_id_token"]
    assert browser.client.get("/sessions", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_an_access_token_is_not_kept(browser: Browser) -> None:
    browser.log_in()
    assert not any("access" in name for name, _ in [*browser.client.session.items()])


# Of several tenants.


def rows() -> dict[str, tuple[Any, ...]]:
    """The rights of each row, by its tenant."""
    columns = ("tenant", "roles", "agent_roles", "is_staff", "is_superuser", "is_active")
    return {tenant: tuple(rest) for tenant, *rest in Person.objects.values_list(*columns)}


def test_a_login_in_another_tenant_ends_the_rights_in_the_one_before(browser: Browser, provider: OidcProvider) -> None:
    browser.log_in(tenant="default", agent_roles=["finance"])
    past_the_guards(is_superuser=True)
    assert browser.is_in()
    other = Browser(provider)
    other.log_in(**roles("auditor"), tenant="acme")
    assert rows() == {
        "default": ([], [], False, False, True),
        "acme": (["auditor"], [], True, False, True),
    }
    assert other.is_in()
    assert not browser.is_in()


def test_a_login_in_another_tenant_leaves_other_people_alone(browser: Browser, provider: OidcProvider) -> None:
    browser.log_in(sub="8", tenant="default", access={"sub": "8"})
    Browser(provider).log_in(tenant="acme")
    assert [rights[2] for rights in rows().values()] == [True, True]


def test_who_is_cut_off_in_one_tenant_may_log_in_to_another(browser: Browser, provider: OidcProvider) -> None:
    browser.log_in(tenant="default")
    past_the_guards(is_active=False)
    assert browser.log_in(tenant="default").status_code == 403
    other = Browser(provider)
    assert other.log_in(tenant="acme").status_code == 302
    assert other.is_in()
    assert (rows()["default"][-1], rows()["acme"][-1]) == (False, True)


def test_of_logins_to_two_tenants_at_once_one_has_the_rights_in_the_end(provider: OidcProvider) -> None:
    browsers = [Browser(provider) for _ in range(8)]
    codes = [
        provider.grant(browser.begin(), **ROLES, tenant=("default", "acme")[turn % 2])
        for turn, browser in enumerate(browsers)
    ]
    together = threading.Barrier(len(browsers))

    def back(browser: Browser, code: str) -> int:
        together.wait()
        return int(browser.back(code).status_code)

    came = [in_a_thread(partial(back, browser, code)) for browser, code in zip(browsers, codes, strict=True)]
    assert [one.result() for one in came] == [302] * len(browsers)
    assert sorted(rights[2] for rights in rows().values()) == [False, True]
