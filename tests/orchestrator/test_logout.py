"""The way out of the admin, and out of the provider."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from orchestrator.people.models import Person
from tests.orchestrator.logging_in import Browser, configured
from tests.orchestrator.oidc_provider import CLIENT_ID, OidcProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def provider(settings: Any) -> Iterator[OidcProvider]:
    with configured(settings) as served:
        yield served


@pytest.fixture
def browser(provider: OidcProvider) -> Browser:
    return Browser(provider)


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
