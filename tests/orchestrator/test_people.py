"""Person, and manage.py createsuperuser."""

from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import IntegrityError

from orchestrator.actors import Role
from orchestrator.people.models import Person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Person:
    """Somebody whom `createsuperuser` made."""
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse battery staple")
    call_command(
        "createsuperuser", "--no-input", "--username", "root", "--email", "root@example.com", stdout=StringIO()
    )
    return Person.objects.get()


def test_is_the_user_model() -> None:
    assert get_user_model() is Person


def test_createsuperuser_makes_an_operator_of_the_default_tenant(root: Person) -> None:
    assert (root.issuer, root.subject, root.tenant) == ("local", "root", "default")
    assert (root.roles, root.agent_roles) == ([Role.OPERATOR], [])
    assert (root.is_staff, root.is_superuser, root.is_active) == (True, True, True)
    assert root.check_password("correct horse battery staple")
    assert "correct horse" not in root.password


def test_createsuperuser_refuses_a_second_of_that_name(root: Person) -> None:
    with pytest.raises(CommandError):
        call_command(
            "createsuperuser", "--no-input", "--username", "root", "--email", "x@example.com", stdout=StringIO()
        )
    assert Person.objects.count() == 1


def test_issuer_and_subject_together_are_unique(root: Person) -> None:
    other = Person(username="another", issuer="https://id.example", subject="root")
    other.save()
    twice = Person(username="a third", issuer="https://id.example", subject="root")
    with pytest.raises(IntegrityError):
        twice.save()
    assert set(Person.objects.values_list("issuer", "subject")) == {("local", "root"), ("https://id.example", "root")}


def test_two_people_may_have_the_same_email_address(root: Person) -> None:
    Person(username="another", issuer="https://id.example", subject="7", email=root.email).save()
    assert Person.objects.filter(email=root.email).count() == 2


def test_the_longest_issuer_and_subject_fit_with_their_user_name(root: Person) -> None:
    issuer, subject = "i" * 255, "s" * 255
    Person(username=f"{issuer}|{subject}", issuer=issuer, subject=subject, tenant="t" * 64).save()
    assert Person.objects.get(issuer=issuer, subject=subject).username == f"{issuer}|{subject}"


def test_somebody_made_without_rights_has_none() -> None:
    Person(username="bob", issuer="https://id.example", subject="7").save()
    bob = Person.objects.get()
    assert (bob.roles, bob.agent_roles, bob.is_staff, bob.is_superuser) == ([], [], False, False)
