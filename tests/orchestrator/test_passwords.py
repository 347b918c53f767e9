"""What a password of the admin may be, and how it is changed."""

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import OperationalError

from audit_app.models import AuditEvent
from orchestrator.people.models import Person
from tests.admin import Browser, person

GOOD = "correct horse battery staple"


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("elevenchars", "password_too_short"),
        ("1q2w3e4r5t6y", "password_too_common"),
        ("orchestrator1", "password_of_context_words"),
        ("Admin-Operator-7", "password_of_context_words"),
        ("agentagentagent", "password_of_context_words"),
        ("mona@example.org", "password_too_similar"),
    ],
)
def test_refuses_what_is_tried_first(password: str, code: str) -> None:
    somebody = Person(username="mona", email="mona@example.org")
    with pytest.raises(ValidationError) as refused:
        validate_password(password, somebody)
    assert code in {error.code for error in refused.value.error_list}


@pytest.mark.parametrize(
    "password", [GOOD, "twelve chars", "ÄÖÜ ß 漢字 and no digit", "operator " + GOOD, "9f" * 32, "x y" * 400]
)
def test_takes_any_other_of_any_letters_and_any_length(password: str) -> None:
    validate_password(password, Person(username="mona"))


@pytest.mark.django_db(transaction=True)
def test_a_password_is_changed_by_whoever_knows_the_one_before() -> None:
    mona = person()
    mona.set_password(GOOD)
    mona.save()
    browser = Browser(mona)
    page = browser.get("/admin/password_change/").content.decode()
    assert page.count('type="password"') == 3
    new = {"new_password1": GOOD * 3, "new_password2": GOOD * 3}
    browser.send("/admin/password_change/", {"old_password": "something else", **new})
    mona.refresh_from_db()
    assert mona.check_password(GOOD)
    browser.send("/admin/password_change/", {"old_password": GOOD, **new})
    mona.refresh_from_db()
    assert mona.check_password(GOOD * 3)
    assert not mona.check_password(GOOD)


@pytest.mark.django_db(transaction=True)
def test_another_login_ends_when_the_password_changes() -> None:
    mona = person()
    mona.set_password(GOOD)
    mona.save()
    here, elsewhere = Browser(mona), Browser(mona)
    new = {"new_password1": GOOD * 3, "new_password2": GOOD * 3}
    assert here.send("/admin/password_change/", {"old_password": GOOD, **new}).status_code == 302
    assert here.get("/admin/").status_code == 200
    assert elsewhere.get("/admin/").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_a_change_is_an_event_and_without_it_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    mona = person()
    mona.set_password(GOOD)
    mona.save()
    browser = Browser(mona)
    change = {"old_password": GOOD, "new_password1": GOOD * 3, "new_password2": GOOD * 3}
    with monkeypatch.context() as broken:
        broken.setattr("audit_app.trail.record", away)
        assert browser.send("/admin/password_change/", change).status_code == 503
    mona.refresh_from_db()
    assert mona.check_password(GOOD)
    assert browser.send("/admin/password_change/", change).status_code == 302
    event = AuditEvent.objects.get(event_type="person.password_changed")
    assert (event.seq, event.actor_subject, event.via) == (2, "olga", "admin")
    assert GOOD not in event.body


def away(*_event: object, **_told: object) -> None:
    raise OperationalError("the database is away")
