"""How strongly and when a person logged in to the admin: requested from the provider, kept, carried by the actor."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session as Login
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone

from orchestrator.admin.acting import actor_of
from orchestrator.middleware import Call
from orchestrator.people import logins
from orchestrator.people.models import Person
from orchestrator.traces import trace_of
from tests.admin import PASSWORD, person
from tests.admin import Browser as AtTheAdmin
from tests.orchestrator.logging_in import Browser, configured
from tests.orchestrator.oidc_provider import GONE, OidcProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def provider(settings: Any) -> Iterator[OidcProvider]:
    with configured(settings) as served:
        yield served


@pytest.fixture
def browser(provider: OidcProvider) -> Browser:
    return Browser(provider)


def asked(browser: Browser, query: str = "") -> dict[str, str]:
    """What the provider is asked for."""
    sent = parse_qs(urlsplit(browser.begin(query)).query)
    return {name: sent[name][0] for name in ("acr_values", "max_age", "prompt") if name in sent}


def now_and_then(ago: int = 0) -> int:
    return int(time.time()) - ago


def kept() -> logins.Authentication:
    """What the one login that there is keeps."""
    request = HttpRequest()
    request.session = SessionStore(Login.objects.get().session_key)
    return logins.authentication(request)


def test_a_provider_is_asked_for_nothing_special_unless_something_is_required(browser: Browser) -> None:
    assert asked(browser) == {}


def test_the_provider_is_asked_for_the_login_that_a_decision_needs(browser: Browser, settings: Any) -> None:
    settings.APPROVAL_ACR_VALUES, settings.APPROVAL_MAX_AUTH_AGE_SECONDS = ("phrh", "mfa"), 300
    assert asked(browser) == {"acr_values": "phrh mfa", "max_age": "300"}
    assert asked(browser, "?again=1") == {"acr_values": "phrh mfa", "max_age": "300", "prompt": "login"}
    settings.APPROVAL_ACR_VALUES = ()
    assert asked(browser) == {"max_age": "300"}


def test_logging_in_again_asks_for_a_new_login_and_leads_back(browser: Browser) -> None:
    assert asked(browser, "?again=1") == {"prompt": "login"}
    answer = browser.log_in("?again=1&next=/admin/sessions_app/approval/")
    assert answer["Location"] == "/admin/sessions_app/approval/"


def test_what_the_id_token_says_of_the_login_is_kept_with_it(browser: Browser) -> None:
    at = now_and_then(100)
    browser.log_in(acr="mfa", auth_time=at)
    assert kept() == logins.Authentication("mfa", datetime.fromtimestamp(at, UTC))


def test_what_the_access_token_says_of_it_is_not(browser: Browser) -> None:
    browser.log_in(access={"acr": "mfa", "auth_time": now_and_then()})
    assert kept() == logins.Authentication()


def test_the_next_login_replaces_what_was_kept(browser: Browser) -> None:
    browser.log_in(acr="mfa", auth_time=now_and_then())
    browser.log_in()
    assert kept() == logins.Authentication()


def test_a_login_that_is_refused_leaves_the_one_before_as_it_was(browser: Browser) -> None:
    browser.log_in(acr="1", auth_time=now_and_then(500))
    before = kept()
    assert browser.log_in(acr="mfa", auth_time=now_and_then(), realm_access=GONE).status_code == 403
    assert kept() == before


def test_a_login_as_somebody_else_keeps_that_one_s_alone(browser: Browser) -> None:
    browser.log_in(acr="mfa", auth_time=now_and_then())
    browser.log_in(sub="8", access={"sub": "8"}, acr="1")
    assert kept() == logins.Authentication("1")


@pytest.mark.parametrize(
    "claims",
    [
        *({"acr": bad} for bad in ("", 1, ["mfa"], "x" * 256)),
        *({"auth_time": bad} for bad in ("soon", 0, -1, True, [1])),
        {"auth_time": lambda: now_and_then(-35)},
    ],
    ids=lambda claims: str({name: "ahead" if callable(value) else value for name, value in claims.items()}),
)
def test_an_id_token_that_says_it_unusably_is_refused(browser: Browser, claims: dict[str, Any]) -> None:
    assert browser.log_in(acr="mfa", auth_time=now_and_then(-25)).status_code == 302
    assert Browser(browser.provider).log_in(**claims).status_code == 403


def test_a_weaker_login_than_was_asked_for_lets_people_look(browser: Browser, settings: Any) -> None:
    settings.APPROVAL_ACR_VALUES, settings.APPROVAL_MAX_AUTH_AGE_SECONDS = ("mfa",), 60
    browser.log_in(acr="1", auth_time=now_and_then(600))
    assert browser.is_in()


def test_a_login_by_password_is_of_no_level_and_as_old_as_it_is() -> None:
    olga = person()
    olga.set_password(PASSWORD)
    olga.save()
    before = timezone.now()
    AtTheAdmin().send("/admin/login/?next=/admin/", {"username": "olga", "password": PASSWORD})
    how = kept()
    assert how.acr == ""
    assert how.at is not None
    assert before - timedelta(seconds=1) <= how.at <= timezone.now()


def test_the_actor_at_the_admin_carries_it(browser: Browser) -> None:
    at = now_and_then(100)
    browser.log_in(acr="mfa", auth_time=at)
    request = cast(Call, RequestFactory().get("/admin/"))
    request.session, request.user = SessionStore(Login.objects.get().session_key), Person.objects.get()
    request.request_id, request.trace = "request-1", trace_of(request)
    actor = actor_of(request)
    assert (actor.acr, actor.authenticated_at, actor.client) == ("mfa", datetime.fromtimestamp(at, UTC), "")
