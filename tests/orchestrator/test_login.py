"""The admin's login at an identity provider, and everything it must refuse."""

import base64
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client

from orchestrator import rate_limit
from orchestrator.key_cache import FRESH_SECONDS
from orchestrator.people import login as login_module
from orchestrator.people.models import Person
from orchestrator.people.provider import Discovery
from orchestrator.problems import ServiceUnavailable
from tests.orchestrator.logging_in import ROLES, Browser, configured, is_page
from tests.orchestrator.oidc_provider import CLIENT_ID, CLIENT_SECRET, GONE, OidcProvider, _key
from tests.work import in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def provider(settings: Any) -> Iterator[OidcProvider]:
    with configured(settings) as served:
        yield served


@pytest.fixture
def browser(provider: OidcProvider) -> Browser:
    return Browser(provider)


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
    Person.objects.update(is_superuser=True)
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
    Person.objects.update(is_active=False)
    answer = Browser(provider).log_in(email="new@example.com")
    assert (answer.status_code, is_page(answer)) == (403, True)
    assert "withdrawn" in answer.content.decode()
    assert (the_person().email, the_person().is_active) == ("old@example.com", False)


def test_a_login_of_before_ends_with_the_next_request_after_a_cut_off(browser: Browser) -> None:
    browser.log_in()
    assert browser.is_in()
    Person.objects.update(is_active=False)
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


# What is no ID token of theirs.


def _signed_with_the_public_key(token: str) -> str:
    """By hand: PyJWT would not."""
    pem = _key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = f"{_part({'alg': 'HS256', 'kid': 'key-1', 'typ': 'JWT'})}.{token.split('.')[1]}"
    signature = hmac.digest(pem, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _part(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


CLAIMS: dict[str, dict[str, Any]] = {
    "the nonce of another login": {"nonce": "another"},
    "no nonce": {"nonce": GONE},
    "a nonce that is no text": {"nonce": ["another"]},
    "another issuer": {"iss": "https://elsewhere.example"},
    "no issuer": {"iss": GONE},
    "for another client": {"aud": "another"},
    "for the API alone": {"aud": "orchestrator-api"},
    "for nobody": {"aud": GONE},
    "for several without saying to whom it was issued": {"aud": [CLIENT_ID, "another"]},
    "issued to another client": {"azp": "another"},
    "issued to nobody": {"azp": None},
    "over": {"exp": lambda: int(time.time()) - 31},
    "without an end": {"exp": GONE},
    "issued in the future": {"iat": lambda: int(time.time()) + 60},
    "without a time": {"iat": GONE},
    "too early": {"nbf": lambda: int(time.time()) + 60},
    "without a subject": {"sub": GONE},
    "with an empty subject": {"sub": ""},
    "with a subject that is no text": {"sub": 7},
    "with a subject too long": {"sub": "s" * 256},
    "an access token": {"typ": "Bearer"},
    "a refresh token": {"typ": "Refresh"},
    "a logout token": {"typ": "Logout"},
}


@pytest.mark.parametrize("changed", CLAIMS.values(), ids=CLAIMS)
def test_refuses_an_id_token(browser: Browser, changed: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    answer = browser.log_in(**changed)
    assert (answer.status_code, is_page(answer)) == (403, True)
    assert b"could not be verified" in answer.content
    assert "ID token refused" in caplog.text
    assert not browser.is_in()
    assert not Person.objects.exists()


FORGED: dict[str, Callable[[OidcProvider, dict[str, Any]], Any]] = {
    "signed by another key": lambda p, c: p.signed(c, ec.generate_private_key(ec.SECP256R1())),
    "of an unknown key id": lambda p, c: p.signed(c, kid="another"),
    "unsigned": lambda _, c: jwt.encode(c, "", algorithm="none", headers={"kid": "key-1"}),
    "signed with the public key as a secret": lambda p, c: _signed_with_the_public_key(p.signed(c)),
    "signed with the client's secret": lambda p, c: p.signed(c, CLIENT_SECRET * 2, alg="HS256"),
    "that brings its own key": lambda p, c: p.signed(c, jwk={"kty": "EC"}),
    "that names where its key is": lambda p, c: p.signed(c, jku="https://elsewhere.example/keys"),
    "with its claims exchanged": lambda p, c: _exchanged(p.signed(c), {**c, "sub": "8"}),
    "that is no token": lambda *_: "abc",
    "that is empty": lambda *_: "..",
    "too large": lambda p, c: p.signed({**c, "filler": "x" * 8192}),
    "that is a list": lambda p, c: [p.signed(c)],
}


def _exchanged(token: str, claims: dict[str, Any]) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{_part(claims)}.{signature}"


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_refuses_a_forged_id_token(browser: Browser, provider: OidcProvider, forge: Callable[..., Any]) -> None:
    def claims(begun: str) -> dict[str, Any]:
        now = int(time.time())
        nonce = parse_qs(urlsplit(begun).query)["nonce"][0]
        basic = {"iss": provider.issuer, "sub": "7", "iat": now, "exp": now + 60, "aud": CLIENT_ID, "nonce": nonce}
        return {**basic, **ROLES}

    begun = browser.begin()
    assert browser.back(provider.grant(begun, id_token=provider.signed(claims(begun)))).status_code == 302
    Person.objects.update(email="untouched@example.com")
    other = Browser(provider)
    begun = other.begin()
    answer = other.back(provider.grant(begun, id_token=forge(provider, claims(begun))))
    assert (answer.status_code, is_page(answer)) == (403, True)
    assert not other.is_in()
    assert the_person().email == "untouched@example.com"


def test_accepts_what_is_still_good(browser: Browser) -> None:
    for good in (
        {"exp": lambda: int(time.time()) - 29},
        {"iat": lambda: int(time.time()) + 20},
        {"aud": [CLIENT_ID]},
        {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID},
        {"typ": "ID", "azp": CLIENT_ID},
    ):
        assert Browser(browser.provider).log_in(**good).status_code == 302


def test_says_nothing_of_tokens_in_the_log(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    browser.log_in()
    browser.log_in(azp="another")
    said = " ".join(str(record.__dict__) for record in caplog.records if record.name.startswith("orchestrator"))
    assert "ID token refused" in said
    assert "eyJ" not in said
    assert CLIENT_SECRET not in said


# What is no answer to this login.


@pytest.mark.parametrize("query", ["", "?state=unknown", "?code=1", "?code=1&state=unknown", "?error=access_denied"])
def test_a_callback_that_nobody_began_is_a_page(browser: Browser, provider: OidcProvider, query: str) -> None:
    browser.begin()
    provider.asked.clear()
    answer = browser.client.get(f"/oidc/callback/{query}")
    assert (answer.status_code, is_page(answer)) == (400, True)
    assert provider.asked == []


def test_a_login_that_another_browser_began_is_refused(browser: Browser, provider: OidcProvider) -> None:
    query = provider.grant(browser.begin(), **ROLES)
    stranger = Browser(provider)
    assert stranger.back(query).status_code == 400
    stranger.begin()
    assert stranger.back(query).status_code == 400
    assert not stranger.is_in()
    assert browser.back(query).status_code == 302


def test_a_callback_works_once(browser: Browser, provider: OidcProvider) -> None:
    query = provider.grant(browser.begin(), **ROLES)
    assert browser.back(query).status_code == 302
    assert browser.back(query).status_code == 400
    assert browser.is_in()


def test_a_login_takes_ten_minutes_at_most(
    browser: Browser, provider: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = provider.grant(browser.begin(), **ROLES)
    monkeypatch.setattr(login_module, "LOGIN_SECONDS", -1)
    assert browser.back(late).status_code == 400
    monkeypatch.undo()
    assert browser.back(late).status_code == 302


def test_a_state_without_a_code_is_refused(browser: Browser) -> None:
    state = browser.state_of(browser.begin())
    assert browser.back(f"state={state}").status_code == 400


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("access_denied", 403),
        ("<script>alert(1)</script>", 403),
        ("temporarily_unavailable", 503),
        ("server_error", 503),
    ],
)
def test_the_provider_s_no_is_a_page_and_ends_that_login(browser: Browser, error: str, status: int) -> None:
    begun = browser.begin()
    query = browser.provider.grant(begun, **ROLES)
    answer = browser.client.get("/oidc/callback/", {"error": error, "state": browser.state_of(begun)})
    assert (answer.status_code, is_page(answer)) == (status, True)
    assert b"<script>" not in answer.content
    assert browser.back(query).status_code == 400


def test_the_provider_s_no_leaves_somebody_logged_in_who_was(browser: Browser) -> None:
    browser.log_in()
    begun = browser.begin()
    browser.client.get("/oidc/callback/", {"error": "access_denied", "state": browser.state_of(begun)})
    assert browser.is_in()


def test_a_code_that_the_provider_does_not_know_is_refused(browser: Browser) -> None:
    state = browser.state_of(browser.begin())
    answer = browser.back(f"code=unknown&state={state}")
    assert (answer.status_code, is_page(answer)) == (403, True)


def test_a_code_for_another_challenge_is_refused_by_the_provider(browser: Browser, provider: OidcProvider) -> None:
    stolen = provider.grant(browser.begin(), **ROLES).split("&")[0]
    thief = Browser(provider)
    answer = thief.back(f"{stolen}&state={thief.state_of(thief.begin())}")
    assert answer.status_code == 403
    assert not thief.is_in()


def test_failed_logins_are_limited_by_address(browser: Browser, settings: Any) -> None:
    settings.AUTH_FAILURE_LIMIT = (3, 600)
    rate_limit.of_failures.cache_clear()
    statuses = [browser.back("code=1&state=unknown").status_code for _ in range(4)]
    rate_limit.of_failures.cache_clear()
    assert statuses == [400, 400, 400, 429]


# The provider away, or not itself.


@pytest.mark.parametrize("status", [500, 503])
def test_a_provider_that_cannot_exchange_a_code_is_503_on_a_page(
    browser: Browser, provider: OidcProvider, status: int
) -> None:
    provider.status = status
    answer = browser.log_in()
    assert (answer.status_code, is_page(answer)) == (503, True)


def test_a_redirect_of_the_token_endpoint_is_not_followed(browser: Browser, provider: OidcProvider) -> None:
    provider.status = 307
    assert browser.log_in().status_code == 403
    assert provider.asked[-1] == "/token"


def test_with_the_provider_away_a_login_is_503_on_a_page(settings: Any) -> None:
    with configured(settings) as provider:
        provider.document["issuer"] = "https://elsewhere.example"
        answer = Client(raise_request_exception=False).get("/oidc/authenticate/")
    assert (answer.status_code, is_page(answer)) == (503, True)


def test_whoever_is_logged_in_goes_on_while_the_provider_is_away(settings: Any) -> None:
    with configured(settings) as provider:
        browser = Browser(provider)
        begun = browser.begin()
        browser.log_in()
        query = provider.grant(begun, **ROLES)
    # From here on nobody listens there.
    settings.OIDC_ISSUERS = ({"issuer": provider.issuer, "audience": "a", "jwks_url": "", "tenants": ("default",)},)
    assert browser.is_in()
    answer = browser.back(query)
    assert (answer.status_code, is_page(answer)) == (503, True)
    assert browser.is_in()
    assert browser.client.post("/oidc/logout/")["Location"] == "/admin/login/"
    assert not browser.is_in()


def test_without_a_provider_there_is_no_such_login() -> None:
    client = Client(raise_request_exception=False)
    for path in ("/oidc/authenticate/", "/oidc/callback/?code=1&state=2"):
        answer = client.get(path)
        assert (answer.status_code, is_page(answer)) == (404, True)


@pytest.mark.parametrize("path", ["/oidc/authenticate/", "/oidc/callback/"])
def test_steps_are_taken_by_get_alone(browser: Browser, path: str) -> None:
    answer = browser.client.post(path)
    assert (answer.status_code, is_page(answer)) == (405, True)


# The way out.


def test_logging_out_leads_on_to_the_provider_and_back(browser: Browser, provider: OidcProvider) -> None:
    browser.log_in()
    token = browser.client.session["oidc_id_token"]
    answer = browser.client.post("/oidc/logout/")
    page = answer.content.decode().replace("&amp;", "&")
    onward = page.split('content="0; url=')[1].split('"')[0]
    asked = {name: values[0] for name, values in parse_qs(urlsplit(onward).query).items()}
    assert onward.startswith(f"{provider.issuer}/logout?")
    assert asked == {
        "id_token_hint": token,
        "client_id": CLIENT_ID,
        "post_logout_redirect_uri": "http://testserver/admin/login/",
    }
    assert not browser.is_in()


def test_the_admin_s_own_button_logs_out_in_the_same_way(browser: Browser, provider: OidcProvider) -> None:
    browser.log_in()
    answer = browser.client.post("/admin/logout/")
    assert f"{provider.issuer}/logout?" in answer.content.decode()
    assert not browser.is_in()


def test_a_provider_without_a_logout_is_left_alone(browser: Browser, provider: OidcProvider) -> None:
    del provider.document["end_session_endpoint"]
    browser.log_in()
    assert browser.client.post("/oidc/logout/")["Location"] == "/admin/login/"
    assert not browser.is_in()


def test_a_link_logs_nobody_out(browser: Browser) -> None:
    browser.log_in()
    for path in ("/oidc/logout/", "/admin/logout/"):
        assert browser.client.get(path).status_code == 405
    assert browser.is_in()


def test_a_form_from_elsewhere_logs_nobody_out(browser: Browser, provider: OidcProvider) -> None:
    browser.log_in()
    strict = Client(enforce_csrf_checks=True, raise_request_exception=False)
    strict.cookies = browser.client.cookies
    assert strict.post("/oidc/logout/").status_code == 403
    assert browser.is_in()


def test_logging_in_as_somebody_else_ends_the_login_of_before(browser: Browser) -> None:
    browser.log_in(sub="7")
    before = browser.client.session["oidc_id_token"]
    browser.log_in("?next=/admin/a/", sub="8")
    assert browser.client.session["_auth_user_id"] == str(Person.objects.get(subject="8").pk)
    assert browser.client.session["oidc_id_token"] not in (None, before)


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


# Discovery, kept.


def _discovery(*answers: Any) -> tuple[Discovery, list[float], list[Any]]:
    left, clock = list(answers), [0.0]

    def fetch() -> Any:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Discovery(fetch, lambda: clock[0]), clock, left


DOCUMENT = {
    "issuer": "https://id.example",
    "authorization_endpoint": "https://id.example/a",
    "token_endpoint": "https://id.example/t",
}


def test_endpoints_are_fetched_once_in_ten_minutes() -> None:
    discovery, clock, left = _discovery(DOCUMENT, {**DOCUMENT, "token_endpoint": "https://id.example/new"})
    for clock[0] in (0.0, FRESH_SECONDS):
        assert discovery.provider().token == "https://id.example/t"
    clock[0] += 1
    assert discovery.provider().token == "https://id.example/new"
    assert left == []


def test_known_endpoints_serve_for_a_day_while_the_provider_is_away() -> None:
    discovery, clock, _ = _discovery(DOCUMENT, OSError(), OSError())
    discovery.provider()
    clock[0] = 24 * 3600
    assert discovery.provider().token == "https://id.example/t"
    clock[0] += 10
    with pytest.raises(ServiceUnavailable):
        discovery.provider()


def test_a_provider_that_is_away_is_asked_again_after_five_seconds() -> None:
    discovery, clock, left = _discovery(OSError(), DOCUMENT)
    for clock[0] in (0.0, 4.9):
        with pytest.raises(ServiceUnavailable):
            discovery.provider()
    assert len(left) == 1
    clock[0] = 5.0
    assert discovery.provider().token == "https://id.example/t"


@pytest.mark.parametrize(
    "changed",
    [
        {"authorization_endpoint": None},
        {"token_endpoint": None},
        {"token_endpoint": 7},
        {"token_endpoint": "/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "http://id.example/t"},
        {"end_session_endpoint": "ftp://id.example/"},
    ],
    ids=str,
)
def test_a_discovery_document_with_odd_endpoints_is_none(changed: dict[str, Any]) -> None:
    discovery, _, _ = _discovery({**DOCUMENT, **changed})
    with pytest.raises(ServiceUnavailable):
        discovery.provider()
