"""People in the admin: who sees them, cutting off, restoring."""

import hashlib
import json
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client

from audit_app.models import AuditEvent
from orchestrator import boundary, jwks
from orchestrator.actors import Identity
from orchestrator.people.cut_off import cut_off
from orchestrator.people.models import Person
from sessions_app.transitions import person as transitions
from tests.api import Api, token
from tests.work import actor

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = "/admin/people/person/"
REASON = {"reason": "the laptop was stolen"}


def person(subject: str, *roles: str, tenant: str = "default") -> Person:
    """Somebody who logged in."""
    return Person.objects.create_user(
        subject, f"{subject}@example.com", subject=subject, tenant=tenant, roles=[*roles], is_staff=True
    )


def at_the_admin(who: Person) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(who, "django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def operator_page() -> Client:
    return at_the_admin(person("olga", "operator"))


@pytest.fixture
def alice() -> Person:
    return person("alice", "agent")


def page_of(who: Person) -> str:
    return f"{PEOPLE}{who.pk}/change/"


def act_on(who: Person, act: str) -> str:
    return f"{PEOPLE}{who.pk}/{act}/"


def is_active(who: Person) -> bool:
    return Person.objects.get(pk=who.pk).is_active


# Looking.


def test_operators_see_the_people_of_their_tenant(operator_page: Client, alice: Person) -> None:
    stranger = person("eve", "operator", tenant="acme")
    shown = operator_page.get(PEOPLE).content.decode()
    assert page_of(alice) in shown
    assert page_of(stranger) not in shown
    assert f"{PEOPLE}cut-off/" in shown
    assert operator_page.get(page_of(alice)).status_code == 200
    assert operator_page.get(page_of(stranger)).status_code == 404


@pytest.mark.parametrize("roles", [["auditor"], ["approver"], ["agent"], []], ids=str)
def test_nobody_else_sees_or_acts(alice: Person, roles: list[str]) -> None:
    browser = at_the_admin(person("paul", *roles))
    assert at_the_admin(person("olga", "operator")).get(page_of(alice)).status_code == 200
    assert browser.get("/admin/").status_code == 200
    assert "/admin/people/" not in browser.get("/admin/").content.decode()
    paths = [PEOPLE, page_of(alice), f"{PEOPLE}cut-off/", act_on(alice, "cut-off"), act_on(alice, "restore")]
    assert {browser.get(path).status_code for path in paths} <= {403, 404}
    assert {browser.post(path, REASON).status_code for path in paths} <= {403, 404}
    assert is_active(alice)


@pytest.mark.parametrize("pk", ["0", "99999999999999999", "9" * 40, "-1", "x", "1e3", "٣"])
def test_somebody_who_is_not_there_is_404(operator_page: Client, pk: str) -> None:
    assert operator_page.get(f"{PEOPLE}{pk}/change/").status_code == 404


def test_nobody_edits_people(operator_page: Client, alice: Person) -> None:
    changed = {"roles": "operator", "is_superuser": "on", "email": "x@example.com"}
    operator_page.post(page_of(alice), changed)
    operator_page.post(f"{PEOPLE}add/", {**changed, "username": "new"})
    operator_page.post(f"{PEOPLE}{alice.pk}/delete/", {"post": "yes"})
    assert Person.objects.filter(pk=alice.pk, roles=["agent"], is_superuser=False, email="alice@example.com").exists()
    assert Person.objects.count() == 2


def test_people_are_found_by_subject_email_or_last_name(operator_page: Client, alice: Person) -> None:
    Person.objects.filter(pk=alice.pk).update(last_name="Arden")
    for term in ("alice", "ALICE@example.com", "arden"):
        shown = operator_page.get(PEOPLE, {"q": term}).content.decode()
        assert page_of(alice) in shown
        assert shown.count("/change/") == 1
    assert page_of(alice) not in operator_page.get(PEOPLE, {"q": "lice"}).content.decode()


# Cutting off.


def test_cutting_off_shuts_a_subject_out_before_its_token_ends(operator_page: Client, alice: Person) -> None:
    api = Api(token("alice"))
    assert api.get("/sessions").status_code == 200
    answer = operator_page.post(act_on(alice, "cut-off"), REASON)
    assert (answer.status_code, answer["Location"]) == (302, page_of(alice))
    assert not is_active(alice)
    assert api.get("/sessions").status_code == 401
    operator_page.post(act_on(alice, "restore"), REASON)
    assert is_active(alice)
    assert api.get("/sessions").status_code == 200


def test_cutting_off_ends_their_login_at_the_admin(operator_page: Client) -> None:
    other = person("otto", "operator")
    browser = at_the_admin(other)
    assert browser.get("/admin/").status_code == 200
    operator_page.post(act_on(other, "cut-off"), REASON)
    assert browser.get("/admin/").status_code == 302


def test_a_subject_that_was_never_here_can_be_cut_off(operator_page: Client) -> None:
    api = Api(token("mallory"))
    assert api.get("/sessions").status_code == 200
    operator_page.post(f"{PEOPLE}cut-off/", {**REASON, "issuer": "local", "subject": "mallory"})
    row = Person.objects.get(subject="mallory")
    assert (row.issuer, row.tenant, row.is_active, row.is_staff, row.roles) == ("local", "default", False, False, [])
    assert not row.has_usable_password()
    assert api.get("/sessions").status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"issuer": "https://elsewhere.example", "subject": "mallory", **REASON},
        {"issuer": "local", "subject": "", **REASON},
        {"issuer": "local", "subject": "s" * 256, **REASON},
        {"issuer": "local", "subject": "mallory"},
        {"issuer": "local", "subject": "mallory", "reason": "  "},
        {"issuer": "local", "subject": "mallory", "reason": "r" * 4001},
    ],
    ids=str,
)
def test_asks_again_for_what_is_missing_or_odd(operator_page: Client, body: dict[str, str]) -> None:
    good = {"issuer": "local", "subject": "mallory", **REASON}
    assert operator_page.post(f"{PEOPLE}cut-off/", body).status_code == 200
    assert Person.objects.count() == 1
    assert operator_page.post(f"{PEOPLE}cut-off/", good).status_code == 302


def test_asks_for_a_reason(operator_page: Client, alice: Person) -> None:
    for act in ("cut-off", "restore"):
        assert operator_page.post(act_on(alice, act)).status_code == 200
    assert is_active(alice)
    assert not AuditEvent.objects.exists()


def test_a_link_changes_nothing_and_shows_the_form(operator_page: Client, alice: Person) -> None:
    answer = operator_page.get(act_on(alice, "cut-off"), REASON)
    assert answer.status_code == 200
    assert 'name="reason"' in answer.content.decode()
    assert is_active(alice)


def test_a_form_from_elsewhere_changes_nothing(alice: Person) -> None:
    strict = Client(enforce_csrf_checks=True, raise_request_exception=False)
    strict.force_login(person("olga", "operator"), "django.contrib.auth.backends.ModelBackend")
    assert strict.get(act_on(alice, "cut-off")).status_code == 200
    assert strict.post(act_on(alice, "cut-off"), REASON).status_code == 403
    assert is_active(alice)


def test_nobody_cuts_themselves_off(operator_page: Client) -> None:
    olga = Person.objects.get(subject="olga")
    for path, body in ((act_on(olga, "cut-off"), {}), (f"{PEOPLE}cut-off/", {"issuer": "local", "subject": "olga"})):
        assert operator_page.post(path, {**REASON, **body}).status_code == 403
    assert is_active(olga)


def test_somebody_of_another_tenant_is_not_there_to_be_cut_off(operator_page: Client) -> None:
    eve = person("eve", "operator", tenant="acme")
    for act in ("cut-off", "restore"):
        assert operator_page.post(act_on(eve, act), REASON).status_code == 404
    assert is_active(eve)


def test_a_subject_of_a_shared_issuer_is_cut_off_in_the_operator_s_own_tenant_alone(operator_page: Client) -> None:
    eve = person("eve", "operator", tenant="acme")
    here, there = Api(token("eve")), Api(token("eve", tenant="acme"))
    by_name = operator_page.post(f"{PEOPLE}cut-off/", {**REASON, "issuer": "local", "subject": "eve"})
    own = Person.objects.get(subject="eve", tenant="default")
    assert (by_name.status_code, by_name["Location"]) == (302, page_of(own))
    assert (own.is_active, own.is_staff, own.roles) == (False, False, [])
    assert (here.get("/sessions").status_code, there.get("/sessions").status_code) == (401, 200)
    assert at_the_admin(eve).get("/admin/").status_code == 200

    theirs = at_the_admin(person("otto", "operator", tenant="acme"))
    shown = theirs.get(PEOPLE).content.decode()
    assert page_of(eve) in shown
    assert page_of(own) not in shown
    for act in ("cut-off", "restore"):
        assert theirs.post(act_on(own, act), REASON).status_code == 404
    theirs.post(act_on(eve, "cut-off"), REASON)
    assert (here.get("/sessions").status_code, there.get("/sessions").status_code) == (401, 401)
    theirs.post(act_on(eve, "restore"), REASON)
    assert (here.get("/sessions").status_code, there.get("/sessions").status_code) == (401, 200)
    assert not is_active(own)
    events = AuditEvent.objects.exclude(event_type="person.recorded").order_by("id")
    assert [event.tenant for event in events] == ["default", "acme", "acme"]


def test_an_issuer_that_may_not_speak_for_the_tenant_is_not_offered(operator_page: Client, settings: Any) -> None:
    known = {"audience": "a", "jwks_url": "http://127.0.0.1:1/keys"}
    settings.OIDC_ISSUERS = (
        {"issuer": "https://ours.example", "tenants": ("default",), **known},
        {"issuer": "https://theirs.example", "tenants": ("acme",), **known},
    )
    jwks.issuers.cache_clear()
    shown = operator_page.get(f"{PEOPLE}cut-off/").content.decode()
    body = {**REASON, "issuer": "https://theirs.example", "subject": "mallory"}
    status = operator_page.post(f"{PEOPLE}cut-off/", body).status_code
    jwks.issuers.cache_clear()
    assert "https://ours.example" in shown
    assert "https://theirs.example" not in shown
    assert status == 200
    assert not Person.objects.filter(subject="mallory").exists()


# What is kept of it.


def test_each_act_leaves_an_event_in_the_chain_of_the_person(operator_page: Client, alice: Person) -> None:
    operator_page.post(act_on(alice, "cut-off"), REASON)
    operator_page.post(act_on(alice, "restore"), {"reason": "it was found"})
    events = list(AuditEvent.objects.order_by("id"))
    assert [(event.event_type, event.reason) for event in events] == [
        ("person.recorded", ""),
        ("person.cut_off", "the laptop was stolen"),
        ("person.restored", "it was found"),
    ]
    alice.refresh_from_db()
    before = bytes(32)
    for seq, event in enumerate(events, 1):
        assert (event.subject_type, event.subject_id, event.seq) == ("person", alice.trail_id, seq)
        assert event.prev_hash is not None
        assert bytes(event.prev_hash) == before
        assert (event.tenant, event.actor_subject, event.actor_kind, event.via) == (
            "default",
            "olga",
            "person",
            "admin",
        )
        assert event.metadata["changes"] == {
            "person": {"issuer": "local", "subject": "alice"},
            "roles": ["agent"],
            "agent_roles": [],
            "is_active": event.event_type != "person.cut_off",
            "is_staff": True,
            "is_superuser": False,
            "alias_of": None,
        }
        assert json.loads(event.body)["changes"] == event.metadata["changes"]
        assert bytes(event.hash) == hashlib.sha256(b"audit/v1\x00" + before + event.body.encode()).digest()
        before = bytes(event.hash)
    assert (alice.version, bytes(alice.audit_head or b"")) == (3, before)


def test_the_events_are_shown_with_the_trail(operator_page: Client, alice: Person) -> None:
    operator_page.post(act_on(alice, "cut-off"), REASON)
    shown = operator_page.get("/admin/audit_app/auditevent/?event_type=person.cut_off").content.decode()
    assert "the laptop was stolen" in shown
    event = AuditEvent.objects.get(event_type="person.cut_off")
    assert operator_page.get(f"/admin/audit_app/auditevent/{event.pk}/change/").status_code == 200


def test_what_changes_nothing_leaves_no_event(operator_page: Client, alice: Person) -> None:
    operator_page.post(act_on(alice, "restore"), REASON)
    assert not AuditEvent.objects.exists()
    for _ in range(2):
        operator_page.post(act_on(alice, "cut-off"), REASON)
    assert AuditEvent.objects.filter(event_type="person.cut_off").count() == 1


def test_nothing_is_changed_when_the_event_cannot_be_written(alice: Person) -> None:
    unwritable = actor("s" * 256)
    with pytest.raises(DatabaseError):
        boundary.write(lambda: transitions.cut_off(Identity("local", "alice"), actor=unwritable, reason=""))
    assert is_active(alice)
    assert not AuditEvent.objects.exists()


def test_a_transition_moves_the_row_of_its_actor_s_tenant_alone(alice: Person) -> None:
    foreign = actor("olga", tenant="acme")
    boundary.write(lambda: transitions.cut_off(Identity("local", "alice"), actor=foreign, reason=""))
    assert not Person.objects.get(tenant="acme", subject="alice").is_active
    assert is_active(alice)


def test_a_transition_refuses_to_run_outside_the_boundary(alice: Person) -> None:
    with pytest.raises(RuntimeError):
        transitions.cut_off(Identity("local", "alice"), actor=actor("olga"), reason="")


def test_the_worker_that_was_told_does_not_wait(operator_page: Client, alice: Person) -> None:
    assert not cut_off.includes(Identity("local", "alice"), "default")
    operator_page.post(act_on(alice, "cut-off"), REASON)
    assert cut_off.includes(Identity("local", "alice"), "default")
