"""Logins at the identity provider are events of the person, and so are the rights that they change."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit_app.models import AuditEvent
from orchestrator.people.models import Person
from tests.database import superuser_connection
from tests.orchestrator.logging_in import Browser, configured
from tests.orchestrator.oidc_provider import OidcProvider
from tests.orchestrator.test_login import roles

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def provider(settings: Any) -> Iterator[OidcProvider]:
    with configured(settings) as served:
        yield served


@pytest.fixture
def browser(provider: OidcProvider) -> Browser:
    return Browser(provider)


def told() -> list[tuple[str, list[str], bool]]:
    events = AuditEvent.objects.filter(subject_type="person").order_by("subject_id", "seq")
    changes = [(event.event_type, event.metadata["changes"]) for event in events]
    return [(kind, one["roles"], one["is_staff"]) for kind, one in changes]


def test_the_first_login_begins_the_chain_and_tells_the_rights(browser: Browser) -> None:
    browser.log_in(**roles("operator"))
    assert told() == [
        ("person.recorded", [], False),
        ("person.rights_changed", ["operator"], True),
        ("person.logged_in", ["operator"], True),
    ]
    row, last = Person.objects.get(), AuditEvent.objects.get(event_type="person.logged_in")
    assert (row.version, row.audit_head) == (3, last.hash)
    assert (last.via, last.actor_issuer, last.actor_subject) == ("admin", row.issuer, row.subject)
    assert (last.ip, last.subject_id, bool(last.request_id)) == ("127.0.0.1", row.trail_id, True)


def test_a_login_with_the_same_rights_is_one_event(browser: Browser, provider: OidcProvider) -> None:
    browser.log_in(**roles("operator"))
    Browser(provider).log_in(**roles("operator"), email="new@example.com")
    assert [kind for kind, *_ in told()][3:] == ["person.logged_in"]


def test_a_login_without_a_role_for_the_admin_takes_the_rights_and_is_no_login(
    browser: Browser, provider: OidcProvider
) -> None:
    browser.log_in(**roles("operator"))
    assert Browser(provider).log_in(**roles("agent")).status_code == 403
    assert told()[3:] == [("person.rights_changed", ["agent"], False)]


def test_a_login_in_another_tenant_tells_that_the_rights_in_the_one_before_end(
    browser: Browser, provider: OidcProvider
) -> None:
    browser.log_in(tenant="default")
    Browser(provider).log_in(tenant="acme")
    kinds = AuditEvent.objects.filter(tenant="default").order_by("seq").values_list("event_type", flat=True)
    assert list(kinds)[-1] == "person.rights_changed"
    last = AuditEvent.objects.filter(tenant="default").order_by("seq").last()
    assert last is not None
    assert (last.metadata["changes"]["roles"], last.metadata["changes"]["is_staff"]) == ([], False)


def test_nobody_comes_in_where_the_event_cannot_be_written(browser: Browser) -> None:
    with superuser_connection() as beside:
        beside.execute("ALTER TABLE audit_events ADD CONSTRAINT none CHECK (subject_type <> 'person') NOT VALID")
        try:
            assert browser.log_in(**roles("operator")).status_code == 500
        finally:
            beside.execute("ALTER TABLE audit_events DROP CONSTRAINT none")
    assert not browser.is_in()
    assert not Person.objects.exists()


def test_what_a_repeated_login_writes_is_bounded(browser: Browser, provider: OidcProvider) -> None:
    browser.log_in(**roles("operator"))
    with CaptureQueriesContext(connection) as asked:
        Browser(provider).log_in(**roles("operator"))
    people = [one["sql"] for one in asked if "people_" in one["sql"] or "audit_events" in one["sql"]]
    # The identity's lock, the row if it is new, the row, rows in other tenants, the event, and Django's last_login.
    assert len(people) <= 7, people
