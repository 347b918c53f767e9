"""Logging in to the admin by a password, and what that login is good for."""

import io
import logging
from typing import Any

import pytest
from django.core.management import call_command

from orchestrator.people.models import Person
from tests.admin import PASSWORD, SESSIONS, Browser, person, text
from tests.api import Api, token
from tests.sessions_app.session_calls import last_event, only_refused, session_in, unchanged

pytestmark = pytest.mark.django_db(transaction=True)

LOGIN = "/admin/login/"


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Person:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", interactive=False, username="root", email="", stdout=io.StringIO())
    return Person.objects.get(username="root")


def log_in(browser: Browser, **fields: str) -> Any:
    return browser.send(f"{LOGIN}?next={SESSIONS}", {"username": "root", "password": PASSWORD, **fields})


def test_lets_in_whom_createsuperuser_made(root: Person) -> None:
    browser = Browser()
    answer = log_in(browser)
    assert (answer.status_code, answer["Location"]) == (302, SESSIONS)
    assert answer.cookies["sessionid"]["httponly"]
    assert answer.cookies["sessionid"]["samesite"] == "Lax"
    assert browser.get(SESSIONS).status_code == 200


def test_such_a_superuser_acts_as_an_operator_of_the_default_tenant(root: Person) -> None:
    session, browser = session_in("pending"), Browser()
    log_in(browser)
    browser.send(f"{SESSIONS}{session.pk}/move/active/", {"reason": "it waits"})
    event = last_event(session.pk)
    assert (event.event_type, event.tenant) == ("session.activated", "default")
    assert (event.actor_issuer, event.actor_subject, event.actor_kind, event.via) == (
        "local",
        "root",
        "person",
        "admin",
    )


def test_refuses_a_wrong_password_without_telling_it_to_the_log(root: Person, caplog: pytest.LogCaptureFixture) -> None:
    browser = Browser()
    with caplog.at_level(logging.DEBUG):
        answer = log_in(browser, password="a secret that is wrong")
        log_in(browser)
    assert answer.status_code == 200
    assert "Please enter the correct username and password" in text(answer)
    told = " ".join(str(record.__dict__) for record in caplog.records)
    assert "a secret that is wrong" not in told
    assert PASSWORD not in told


def test_refuses_a_login_that_no_form_of_ours_sent(root: Person) -> None:
    browser = Browser()
    browser.get(LOGIN)
    answer = browser.forge(LOGIN, {"username": "root", "password": PASSWORD})
    assert (answer.status_code, answer["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert "came from elsewhere" in text(answer)
    assert browser.get(SESSIONS).status_code == 302


def test_refuses_somebody_who_is_no_staff(root: Person) -> None:
    Person.objects.update(is_staff=False)
    assert "for a staff account" in text(log_in(Browser()))


def test_asks_those_to_log_in_who_have_not(agent: Api) -> None:
    session = session_in("pending")
    paths = ["/admin/", SESSIONS, f"{SESSIONS}{session.pk}/change/", f"{SESSIONS}{session.pk}/move/active/"]
    for path in paths:
        answer = Browser().get(path)
        assert (answer.status_code, answer["Location"]) == (302, f"{LOGIN}?next={path}")


def test_cuts_off_whoever_is_no_longer_active() -> None:
    olga = person()
    browser = Browser(olga)
    assert browser.get(SESSIONS).status_code == 200
    Person.objects.filter(pk=olga.pk).update(is_active=False)
    assert browser.get(SESSIONS).status_code == 302


def test_rights_are_those_that_the_person_has_now() -> None:
    olga, session = person(), session_in("pending")
    browser = Browser(olga)
    Person.objects.filter(pk=olga.pk).update(roles=["auditor", "a role of old"])
    with only_refused(session.pk, "activate"):
        assert (
            browser.send(f"{SESSIONS}{session.pk}/move/active/", {"reason": "so"}, token_of="/admin/").status_code
            == 403
        )


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_the_cookie_is_no_way_into_the_api(method: str) -> None:
    session, browser = session_in("pending"), Browser(person())
    assert browser.get(SESSIONS).status_code == 200
    csrf = browser.client.cookies["csrftoken"].value if "csrftoken" in browser.client.cookies else "x" * 32
    with unchanged(session.pk):
        answer = getattr(browser.client, method)(f"/sessions/{session.pk}", headers={"X-CSRFToken": csrf})
    assert answer.status_code == 401
    assert answer.json()["type"] == "/problems/unauthenticated"


def test_a_token_is_no_way_into_the_admin() -> None:
    answer = Browser().get(SESSIONS, authorization=f"Bearer {token('olga', roles='operator')}")
    assert (answer.status_code, answer["Location"]) == (302, f"{LOGIN}?next={SESSIONS}")


def test_logging_out_ends_it_and_takes_a_post() -> None:
    browser = Browser(person())
    assert browser.get("/admin/logout/").status_code == 405
    assert browser.get(SESSIONS).status_code == 200
    browser.send("/admin/logout/", {}, token_of="/admin/")
    assert browser.get(SESSIONS).status_code == 302
