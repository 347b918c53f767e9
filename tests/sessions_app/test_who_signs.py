"""Decisions by API and in the admin: by which client a person may make them, and after which login."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session as Login
from django.test import override_settings
from django.utils import timezone
from django.utils.html import escape

from orchestrator.people import logins
from sessions_app.models import Approval, Decision
from tests.admin import APPROVALS, Browser, person, text
from tests.api import Api
from tests.orchestrator.key_server import CLIENT, KeyServer, jwk, serving, trusting
from tests.orchestrator.logging_in import configured
from tests.orchestrator.oidc_provider import OidcProvider
from tests.orchestrator.tokens import GONE
from tests.sessions_app.approval_calls import ask, manager, nothing_but_refused, now, problem_of, where

pytestmark = pytest.mark.django_db(transaction=True)

VERBS = {"approve": "approved", "reject": "rejected"}
each = pytest.mark.parametrize("verb", VERBS)
STEP_UP = "insufficient-user-authentication"


def inbox(caller: Api) -> list[str]:
    return [row["approval_id"] for row in caller.get("/approvals?assignee=me").json()["approvals"]]


# The client.


@each
def test_a_person_s_token_of_another_client_decides_nothing(verb: str) -> None:
    approval, chat = ask(), manager(client="chat")
    tried = ("petra", verb, "client-may-not-decide")
    by_task = {"task_id": str(approval.task_id), "decision": VERBS[verb]}
    with nothing_but_refused(tried, tried, tried):
        for headers in ({}, {"Idempotency_Key": "a-key"}):
            answer = chat.post(where(approval, verb), {}, **headers)
            assert "chat" in problem_of(answer, 403, "client-may-not-decide")["detail"]
        problem_of(chat.post("/approvals", by_task), 403, "client-may-not-decide")


def test_such_a_token_is_offered_nothing_and_still_sees_what_it_may() -> None:
    approval = ask()
    assert inbox(manager()) == [str(approval.pk)]
    chat = manager(client="chat")
    assert inbox(chat) == []
    assert chat.get(where(approval)).status_code == 200


def test_with_a_provider_the_clients_that_are_named_decide() -> None:
    with serving() as issuer, trusting(issuer.issuer()):
        issuer.shows(jwk("key-1"))
        approval = ask(required_approvals=3)
        for client in (CLIENT, "another"):
            assert approve(issuer, approval, "petra", azp=client) == 403
        with override_settings(OIDC_DECIDING_CLIENTS=(CLIENT, "another")):
            assert approve(issuer, approval, "petra", azp=CLIENT) == 200
            assert approve(issuer, approval, "max", azp="another") == 200
            for bad in ({"azp": "chat"}, {"azp": GONE}, {"sid": GONE}, {"azp": "paul"}, {"gty": "client-credentials"}):
                assert approve(issuer, approval, "paul", **bad) == 403, bad
    assert Decision.objects.count() == 2


def approve(issuer: KeyServer, approval: Approval, subject: str, **claims: Any) -> int:
    caller = Api(issuer.person_token(sub=subject, **claims))
    return int(caller.post(where(approval, "approve"), {}).status_code)


# The login, by API.


@each
def test_a_login_that_is_too_weak_is_a_401_that_says_what_is_needed(verb: str, settings: Any) -> None:
    settings.APPROVAL_ACR_VALUES, settings.APPROVAL_MAX_AUTH_AGE_SECONDS = ("phrh", "mfa"), 300
    approval = ask()
    with nothing_but_refused(("petra", verb, STEP_UP), ("petra", verb, STEP_UP)):
        for acr in ("", "1"):
            answer = manager(acr=acr).post(where(approval, verb), {})
            problem = problem_of(answer, 401, STEP_UP)
            assert (problem["acr_values"], problem["max_age"]) == (["phrh", "mfa"], 300)
            assert answer.headers["WWW-Authenticate"] == (
                'Bearer error="insufficient_user_authentication", acr_values="phrh mfa", max_age="300"'
            )
    assert manager(acr="mfa").post(where(approval, verb), {}).json()["status"] == VERBS[verb]


def test_a_login_that_is_too_old_is_a_401_and_a_new_one_decides(settings: Any) -> None:
    settings.OIDC_DECIDING_CLIENTS, settings.APPROVAL_MAX_AUTH_AGE_SECONDS = (CLIENT,), 300
    with serving() as issuer, trusting(issuer.issuer()):
        issuer.shows(jwk("key-1"))
        approval = ask()
        moment = int(timezone.now().timestamp())
        for auth_time in (GONE, moment - 310, moment + 60):
            assert approve(issuer, approval, "petra", auth_time=auth_time) == 401
        assert approve(issuer, approval, "petra", auth_time=moment - 200) == 200


def test_a_refused_login_is_not_kept_under_the_key(settings: Any) -> None:
    settings.APPROVAL_ACR_VALUES = ("mfa",)
    approval = ask()
    answers = [
        manager(acr=acr).post(where(approval, "approve"), {}, Idempotency_Key="k-1") for acr in ("1", "mfa", "1")
    ]
    assert [answer.status_code for answer in answers] == [401, 200, 200]
    assert answers[2].headers["Idempotent-Replayed"] == "true"


def test_what_awaits_them_is_shown_whatever_the_login(settings: Any) -> None:
    settings.APPROVAL_ACR_VALUES = ("mfa",)
    approval = ask()
    assert inbox(manager()) == [str(approval.pk)]


def test_nothing_but_a_decision_needs_it(settings: Any) -> None:
    settings.APPROVAL_ACR_VALUES, settings.APPROVAL_MAX_AUTH_AGE_SECONDS = ("mfa",), 1
    approval = ask()
    assert manager().get(where(approval)).status_code == 200
    assert Api(None).get(where(approval)).headers["WWW-Authenticate"] == 'Bearer realm="orchestrator"'


# The login, in the admin.


def at_the_admin(how: logins.Authentication | None) -> Browser:
    """Petra at a browser, logged in so; None is a login of an older version."""
    browser = Browser(person("petra", roles=("approver",), agent_roles=("manager",)))
    login = SessionStore(Login.objects.get().session_key)
    if how is not None:
        login["authentication"] = logins.stored(how)
        login.save()
    return browser


def decide(browser: Browser, approval: Approval, verb: str = "approve") -> Any:
    return browser.move(f"{APPROVALS}{approval.pk}/", verb, {"comments": "Checked."})


def ago(seconds: float) -> datetime:
    return timezone.now() - timedelta(seconds=seconds)


@each
def test_in_the_admin_people_decide_whatever_the_clients(verb: str, settings: Any) -> None:
    settings.OIDC_DECIDING_CLIENTS = ()
    approval = ask()
    decide(at_the_admin(None), approval, verb)
    assert now(approval).status == VERBS[verb]


@pytest.mark.parametrize(
    ("level", "seconds", "said"),
    [
        (None, None, "level mfa"),
        ("", 5, "level mfa"),
        ("1", 5, "level mfa"),
        ("mfa", None, "not known when you logged in"),
        ("mfa", 310, "at most 300 seconds old"),
    ],
)
def test_in_the_admin_a_login_that_is_not_enough_is_refused(
    level: str | None, seconds: int | None, said: str, settings: Any
) -> None:
    settings.APPROVAL_ACR_VALUES, settings.APPROVAL_MAX_AUTH_AGE_SECONDS = ("mfa",), 300
    approval = ask()
    at = None if seconds is None else ago(seconds)
    browser = at_the_admin(None if level is None else logins.Authentication(level, at))
    with nothing_but_refused(("petra", "approve", STEP_UP)):
        page = decide(browser, approval)
    assert page.status_code == 200
    assert "A stronger or more recent login is needed" in text(page)
    assert said in text(page)
    assert "log out first" in text(page)


def test_in_the_admin_a_login_that_is_enough_decides(settings: Any) -> None:
    settings.APPROVAL_ACR_VALUES, settings.APPROVAL_MAX_AUTH_AGE_SECONDS = ("mfa",), 300
    approval = ask()
    decide(at_the_admin(logins.Authentication("mfa", timezone.now())), approval)
    assert now(approval).status == "approved"


def test_at_the_provider_people_log_in_again_and_come_back_to_the_page(settings: Any) -> None:
    settings.APPROVAL_MAX_AUTH_AGE_SECONDS = 300
    grant = {"realm_access": {"roles": ["approver"]}, "agent_roles": ["manager"]}
    with configured(settings) as provider:
        approval, browser = ask(), Browser()
        page = f"{APPROVALS}{approval.pk}/change/"
        assert logged_in(browser, provider, "", **grant, auth_time=int(ago(310).timestamp())) == "/admin/"
        page_after = decide(browser, approval)
        again = f"/oidc/authenticate/?next={page.replace('/', '%2F')}&again=1"
        assert f'href="{escape(again)}"' in page_after.content.decode()
        assert now(approval).status == "pending"
        assert logged_in(browser, provider, again, **grant, auth_time=int(ago(1).timestamp())) == page
        decide(browser, approval)
    assert now(approval).status == "approved"


def logged_in(browser: Browser, provider: OidcProvider, path: str, **grant: Any) -> str:
    """Where a login at the provider leads, which was asked for one that is recent enough."""
    begun = browser.get(path or "/oidc/authenticate/")["Location"]
    asked = parse_qs(urlsplit(begun).query)
    assert (asked["max_age"], asked.get("prompt")) == (["300"], ["login"] if path else None)
    return str(browser.get(f"/oidc/callback/?{provider.grant(begun, **grant)}")["Location"])
