"""The login by password: where it is switched on, its lock-out, and what is kept of it."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.db.models import F
from django.test import Client

from audit_app.models import AuditEvent
from orchestrator import rate_limit
from orchestrator.people.models import Person
from tests.orchestrator.logging_in import Browser, configured, is_page

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "correct horse battery staple"
LIMIT = 5


@pytest.fixture(autouse=True)
def nobody_has_failed_yet() -> Iterator[None]:
    yield
    AccessAttempt.objects.all().delete()


@pytest.fixture
def root() -> Person:
    return Person.objects.create_superuser("root", "root@example.com", PASSWORD)


def client() -> Client:
    return Client(raise_request_exception=False)


def attempt(browser: Client, name: str = "root", password: str = PASSWORD, **extra: Any) -> Any:
    return browser.post("/admin/login/?next=/admin/", {"username": name, "password": password}, **extra)


def is_in(browser: Client) -> bool:
    return browser.get("/admin/").status_code == 200


def page(browser: Client) -> str:
    return browser.get("/admin/login/").content.decode()


def test_a_password_lets_staff_in_where_it_is_switched_on(root: Person) -> None:
    browser = client()
    assert attempt(browser)["Location"] == "/admin/"
    assert is_in(browser)


@pytest.mark.parametrize(
    ("name", "password"), [("root", "wrong"), ("nobody", PASSWORD), ("Root", PASSWORD), ("", PASSWORD), ("root", "")]
)
def test_nothing_else_lets_in(root: Person, name: str, password: str) -> None:
    browser = client()
    answer = attempt(browser, name, password)
    assert answer.status_code == 200
    assert 'type="password"' in answer.content.decode()
    assert not is_in(browser)


@pytest.mark.parametrize("column", ["is_staff", "is_active"])
def test_a_password_lets_in_staff_alone_and_nobody_who_was_cut_off(root: Person, column: str) -> None:
    Person.objects.update(**{column: False})
    assert not is_in_after(client())
    Person.objects.update(**{column: True})
    assert is_in_after(client())


def is_in_after(browser: Client) -> bool:
    attempt(browser)
    return is_in(browser)


def test_such_a_login_is_a_warning_in_the_log_and_an_event_in_the_trail(
    root: Person, caplog: pytest.LogCaptureFixture
) -> None:
    attempt(client(), password="wrong")
    assert not AuditEvent.objects.exists()
    attempt(client())
    [record] = [record for record in caplog.records if record.getMessage() == "login by password"]
    assert (record.levelno, record.__dict__["username"]) == (logging.WARNING, "root")
    event = AuditEvent.objects.get(event_type="person.broke_glass")
    assert (event.subject_type, event.actor_issuer, event.actor_subject) == ("person", "local", "root")
    assert (event.via, event.ip, event.seq) == ("admin", "127.0.0.1", 2)


def test_after_five_failures_the_right_password_is_refused_too_on_a_page(root: Person) -> None:
    browser = client()
    statuses = [attempt(browser, password="wrong").status_code for _ in range(LIMIT)]
    assert statuses == [200] * (LIMIT - 1) + [429]
    answer = attempt(browser)
    assert (answer.status_code, is_page(answer), answer["Retry-After"]) == (429, True, "900")
    assert "15 minutes" in answer.content.decode()
    assert not is_in(browser)


def test_another_browser_does_not_get_round_the_lock(root: Person) -> None:
    for turn in range(LIMIT):
        attempt(client(), password="wrong", headers={"User-Agent": f"agent {turn}"})
    assert attempt(client()).status_code == 429


def test_the_lock_is_for_the_name_and_the_address_together(root: Person) -> None:
    Person.objects.create_superuser("other", "other@example.com", PASSWORD)
    for _ in range(LIMIT):
        attempt(client(), password="wrong")
    assert attempt(client(), "other").status_code == 302
    assert attempt(client(), REMOTE_ADDR="192.0.2.9").status_code == 302
    assert attempt(client()).status_code == 429


def test_a_stranger_s_header_is_not_their_address(root: Person) -> None:
    for turn in range(LIMIT):
        attempt(client(), password="wrong", headers={"X-Forwarded-For": f"192.0.2.{turn}"})
    assert attempt(client(), headers={"X-Forwarded-For": "192.0.2.99"}).status_code == 429


def test_the_lock_ends_after_fifteen_minutes_whatever_was_tried_meanwhile(root: Person, age: Any) -> None:
    for _ in range(LIMIT):
        attempt(client(), password="wrong")
    age(minutes=14)
    assert attempt(client()).status_code == 429
    age(minutes=2)
    assert attempt(client()).status_code == 302


@pytest.fixture
def age() -> Any:
    def past(minutes: int) -> None:
        AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(minutes=minutes))

    return past


def test_a_success_forgets_the_failures_before(root: Person) -> None:
    for _ in range(3):
        for _ in range(LIMIT - 1):
            assert attempt(client(), password="wrong").status_code == 200
        assert attempt(client()).status_code == 302


def test_no_password_is_kept_or_logged(root: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    attempt(client(), password="hunter2-hunter2")
    attempt(client(), password=PASSWORD)
    attempt(client(), password="hunter2-hunter2")
    kept = " ".join(str(row) for row in AccessAttempt.objects.values_list()) + " ".join(
        str(record.__dict__) for record in caplog.records
    )
    assert "failures" in kept or "root" in kept
    assert "hunter2" not in kept
    assert PASSWORD not in kept


def test_a_name_that_is_too_long_to_be_counted_is_refused(root: Person) -> None:
    answer = attempt(client(), "x" * 300)
    assert answer.status_code == 200
    assert "at most 255 characters" in answer.content.decode()


@pytest.fixture
def three_attempts(settings: Any) -> Iterator[None]:
    settings.AUTH_FAILURE_LIMIT = (3, 600)
    rate_limit.of_failures.cache_clear()
    yield
    rate_limit.of_failures.cache_clear()


def test_failures_are_limited_by_address_whatever_the_name(root: Person, three_attempts: None) -> None:
    statuses = [attempt(client(), f"name-{turn}").status_code for turn in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_attempts_beyond_the_limit_leave_no_row_and_try_no_password(root: Person, three_attempts: None) -> None:
    for turn in range(10):
        attempt(client(), f"name-{turn}", headers={"User-Agent": f"agent {turn}"})
    assert AccessAttempt.objects.count() == 3
    browser = client()
    assert attempt(browser).status_code == 429
    assert not is_in(browser)


def test_attempts_from_one_64_are_counted_together(root: Person, three_attempts: None) -> None:
    for turn in range(4):
        last = attempt(client(), f"name-{turn}", REMOTE_ADDR=f"2001:db8::{turn}")
    assert last.status_code == 429
    assert attempt(client(), "another", REMOTE_ADDR="2001:db8:0:1::1").status_code == 200


def test_the_lock_of_a_name_is_for_the_whole_64(root: Person) -> None:
    for turn in range(LIMIT):
        attempt(client(), password="wrong", REMOTE_ADDR=f"2001:db8::{turn}")
    assert attempt(client(), REMOTE_ADDR="2001:db8::9:9").status_code == 429
    assert attempt(client(), REMOTE_ADDR="2001:db8:0:1::1").status_code == 302


# Switched off.


@pytest.fixture
def switched_off(settings: Any) -> None:
    settings.ADMIN_PASSWORD_LOGIN = settings.AXES_ENABLED = False
    settings.AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend"]


def test_switched_off_a_password_is_refused_on_a_page(root: Person, switched_off: None) -> None:
    browser = client()
    answer = attempt(browser)
    assert (answer.status_code, is_page(answer)) == (403, True)
    assert not is_in(browser)
    assert not AuditEvent.objects.exists()


def test_switching_it_off_ends_the_logins_by_password(root: Person, settings: Any) -> None:
    browser = client()
    attempt(browser)
    assert is_in(browser)
    settings.AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend"]
    assert not is_in(browser)


def test_switched_off_the_login_at_the_provider_works(settings: Any, switched_off: None) -> None:
    with configured(settings) as provider:
        browser = Browser(provider)
        assert browser.log_in().status_code == 302
        assert browser.is_in()


# What the login page offers.


def test_the_page_offers_what_is_configured_and_nothing_else(settings: Any) -> None:
    browser = client()

    def offered() -> tuple[bool, bool]:
        shown = page(browser)
        return "/oidc/authenticate/" in shown, 'type="password"' in shown

    assert offered() == (False, True)
    with configured(settings):
        assert offered() == (True, True)
        settings.ADMIN_PASSWORD_LOGIN = False
        assert offered() == (True, False)
    settings.OIDC_RP_CLIENT_ID = ""
    assert offered() == (False, False)
    assert "No way to log in is configured" in page(browser)


def test_the_button_carries_on_to_where_somebody_wanted(settings: Any) -> None:
    with configured(settings):
        shown = client().get("/admin/sessions_app/session/?q=a", follow=True).content.decode()
    assert "/oidc/authenticate/?next=%2Fadmin%2Fsessions_app%2Fsession%2F%3Fq%3Da" in shown


def test_somebody_logged_in_by_password_logs_out_here_alone(root: Person, settings: Any) -> None:
    browser = client()
    attempt(browser)
    with configured(settings):
        assert browser.post("/admin/logout/")["Location"] == "/admin/login/"
    assert not is_in(browser)
