"""What comes back from the provider, or does not."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.sessions.models import Session as Login
from django.core import signing
from django.test import Client

from orchestrator import rate_limit
from orchestrator.people import pending_logins
from tests.orchestrator.logging_in import ROLES, Browser, configured, is_page
from tests.orchestrator.oidc_provider import OidcProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def provider(settings: Any) -> Iterator[OidcProvider]:
    with configured(settings) as served:
        yield served


@pytest.fixture
def browser(provider: OidcProvider) -> Browser:
    return Browser(provider)


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
    monkeypatch.setattr(pending_logins, "LOGIN_SECONDS", -1)
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


# What the browser keeps of a login that it began.

COOKIE = "login"


def rows() -> int:
    return Login.objects.count()


def test_beginning_a_login_writes_no_row(provider: OidcProvider) -> None:
    for _ in range(20):
        browser = Browser(provider)
        browser.begin("?next=/admin/sessions_app/session/")
        browser.begin("?again=1")
        assert "sessionid" not in browser.client.cookies
    assert rows() == 0


@pytest.mark.parametrize("end", ["unknown state", "unknown code", "refused", "no role", "no code"])
def test_a_login_that_leads_nowhere_writes_no_row(browser: Browser, provider: OidcProvider, end: str) -> None:
    begun = browser.begin()
    state = browser.state_of(begun)
    queries = {
        "unknown state": "code=1&state=unknown",
        "unknown code": f"code=1&state={state}",
        "refused": f"error=access_denied&state={state}",
        "no role": provider.grant(begun),
        "no code": f"state={state}",
    }
    assert browser.back(queries[end]).status_code in (400, 403)
    assert rows() == 0
    assert "sessionid" not in browser.client.cookies


def test_the_cookie_is_for_ten_minutes_and_for_the_browser_alone(browser: Browser) -> None:
    browser.begin()
    cookie = browser.client.cookies[COOKIE]
    assert (cookie["max-age"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (600, True, "Lax", "/")
    assert cookie["domain"] == ""


def test_over_https_the_cookie_is_this_hosts_alone(browser: Browser, settings: Any) -> None:
    settings.LOGIN_COOKIE_NAME, settings.SESSION_COOKIE_SECURE = "__Host-login", True
    browser.begin()
    assert browser.client.cookies["__Host-login"]["secure"] is True


def test_an_altered_cookie_is_none(browser: Browser, provider: OidcProvider) -> None:
    query = provider.grant(browser.begin(), **ROLES)
    whole = browser.client.cookies[COOKIE].value
    for altered in ("", "x", whole[:-1], whole.swapcase(), f"x{whole}", signing.dumps({"oidc_states": {}})):
        browser.client.cookies[COOKIE] = altered
        assert browser.back(query).status_code == 400
        browser.client.cookies[COOKIE] = whole
    assert browser.back(query).status_code == 302


def test_the_cookie_of_before_does_not_take_a_code_twice(browser: Browser, provider: OidcProvider) -> None:
    query = provider.grant(browser.begin(), **ROLES)
    whole = browser.client.cookies[COOKIE].value
    assert browser.back(query).status_code == 302
    assert browser.client.cookies[COOKIE].value == ""
    thief = Browser(provider)
    thief.client.cookies[COOKIE] = whole
    assert thief.back(query).status_code == 403
    assert not thief.is_in()


def test_a_login_that_was_begun_stays_while_another_ends(browser: Browser, provider: OidcProvider) -> None:
    first, second = (provider.grant(browser.begin(), **ROLES) for _ in range(2))
    state = first.rpartition("=")[2]
    assert browser.back(f"error=access_denied&state={state}").status_code == 403
    assert browser.back(first).status_code == 400
    assert browser.back(second).status_code == 302


def test_of_many_logins_the_latest_five_are_kept_and_the_cookie_stays_small(
    browser: Browser, provider: OidcProvider
) -> None:
    queries = [provider.grant(browser.begin(f"?next=/admin/?q={'é' * 3000}"), **ROLES) for _ in range(7)]
    assert len(browser.client.cookies[COOKIE].value) <= pending_logins.MAX_COOKIE_BYTES
    assert browser.back(queries[1]).status_code == 400
    answer = browser.back(queries[2])
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_no_token_of_the_provider_is_in_the_cookie(browser: Browser, provider: OidcProvider) -> None:
    browser.begin()
    assert browser.log_in(realm_access={"roles": ["agent"]}).status_code == 403
    kept = pending_logins.PendingLogins(browser.client.cookies[COOKIE].value)
    assert set(kept.keys()) == {"oidc_states", "oidc_refused"}
