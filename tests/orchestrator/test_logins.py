"""How long a login to the admin lasts, whatever is done with it."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session as Login
from django.utils import timezone

from orchestrator.people.models import Person
from tests.admin import PASSWORD, SESSIONS, Browser, person
from tests.orchestrator.logging_in import Browser as AtTheProvider
from tests.orchestrator.logging_in import configured
from tests.sessions_app.session_calls import session_in

pytestmark = pytest.mark.django_db(transaction=True)

LASTS = timedelta(hours=8)


def logged_in() -> Browser:
    """A browser at which olga logged in by her password."""
    if not Person.objects.filter(username="olga").exists():
        olga = person()
        olga.set_password(PASSWORD)
        olga.save()
    browser = Browser()
    answer = browser.send(f"/admin/login/?next={SESSIONS}", {"username": "olga", "password": PASSWORD})
    assert answer.status_code == 302
    return browser


def ends_at() -> Any:
    return Login.objects.get().expire_date


def test_lasts_eight_hours() -> None:
    before = timezone.now()
    logged_in()
    assert before + LASTS <= ends_at() <= timezone.now() + LASTS


def test_what_is_done_with_it_does_not_put_its_end_off() -> None:
    browser, end = logged_in(), ends_at()
    # Its answer is told on the next page: until then the login keeps it.
    browser.move(f"{SESSIONS}{session_in('pending').pk}/", "active", {"reason": "it waits"})
    browser.send("/admin/login/", {"username": "olga", "password": "wrong"}, token_of="/admin/password_change/")
    assert ends_at() == end
    assert browser.get(SESSIONS).status_code == 200


def test_past_its_end_it_is_none() -> None:
    browser = logged_in()
    Login.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    answer = browser.get(SESSIONS)
    assert (answer.status_code, answer["Location"]) == (302, f"/admin/login/?next={SESSIONS}")


def unused_for(seconds: int) -> None:
    """As if nobody had used it for so long."""
    login = SessionStore(Login.objects.get().session_key)
    login["seen_at"] -= seconds
    login.save()


def test_ends_after_half_an_hour_in_which_nobody_uses_it() -> None:
    browser = logged_in()
    unused_for(1799)
    assert browser.get(SESSIONS).status_code == 200
    unused_for(1800 + 5)
    assert browser.get(SESSIONS)["Location"] == f"/admin/login/?next={SESSIONS}"
    assert not Login.objects.filter(session_data__isnull=False).exists()


def test_being_used_keeps_it_and_is_noted_twice_a_minute_at_most() -> None:
    browser = logged_in()
    for _ in range(3):
        unused_for(1500)
        assert browser.get(SESSIONS).status_code == 200
    before = Login.objects.get().session_data
    assert browser.get(SESSIONS).status_code == 200
    assert Login.objects.get().session_data == before


def test_how_long_is_a_setting(settings: Any) -> None:
    settings.ADMIN_IDLE_SECONDS = 60
    browser = logged_in()
    unused_for(65)
    assert browser.get(SESSIONS).status_code == 302


def test_another_login_of_the_same_person_begins_anew() -> None:
    browser = logged_in()
    Login.objects.update(expire_date=ends_at() - timedelta(hours=7))
    before = timezone.now()
    browser.send("/admin/login/", {"username": "olga", "password": PASSWORD}, token_of="/admin/password_change/")
    assert before + LASTS <= ends_at()


def test_one_at_the_provider_lasts_as_long_whatever_is_done_with_it(settings: Any) -> None:
    with configured(settings) as provider:
        browser, before = AtTheProvider(provider), timezone.now()
        browser.log_in()
        end = ends_at()
        assert before + LASTS <= end <= timezone.now() + LASTS
        # Nor does another that is begun.
        browser.begin()
        assert ends_at() == end
        assert browser.is_in()


def test_each_has_a_key_of_its_own_that_nobody_guesses() -> None:
    one, another = logged_in().client.cookies["sessionid"].value, logged_in().client.cookies["sessionid"].value
    assert one != another
    assert re.fullmatch("[a-z0-9]{32}", one)
