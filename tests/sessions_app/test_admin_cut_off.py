"""Cutting off and linking identities in the admin: what is said before, what was done after."""

import re
from functools import partial
from typing import Any

import pytest

from audit_app.models import AuditEvent
from orchestrator import boundary
from orchestrator.actors import Identity
from orchestrator.people.models import Person
from sessions_app.admin import person_parts
from sessions_app.models import Approval, Decision, Task
from sessions_app.transitions import person as transitions
from tests.admin import APPROVALS, TASKS, Browser, person, statements, text
from tests.sessions_app.approval_states import agreed, approver, requested, requested_action
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_states import held, pending
from tests.work import actor

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = "/admin/people/person/"
REASON = {"reason": "the laptop was stolen"}
OTHER = {"pay": "Meier Presses", "amount": 1}


@pytest.fixture
def browser() -> Browser:
    return Browser(person("olga"))


def act(browser: Browser, who: Person | None, name: str, **fields: str) -> Any:
    """Post the form of an act and follow to the page that tells of it."""
    where = f"{PEOPLE}{who.pk}/{name}/" if who else f"{PEOPLE}{name}/"
    answer = browser.send(where, {**REASON, **fields}, token_of="/admin/")
    return browser.get(answer["Location"]) if answer.status_code == 302 else answer


def page(browser: Browser, who: Person) -> Any:
    return browser.get(f"{PEOPLE}{who.pk}/change/")


def offered(browser: Browser, who: Person) -> list[str]:
    found = re.findall(rf'href="{PEOPLE}{who.pk}/(cut-off|restore|link|unlink)/"', page(browser, who).content.decode())
    return list(dict.fromkeys(found))


def busy_finn() -> tuple[Person, Task, Approval, Approval]:
    """Return finn, the task that finn holds, a request that finn approved, and one that finn made."""
    finn = person("finn", roles=("agent", "approver"), agent_roles=("finance", "manager"))
    task = held(by=somebody("finn"))[0]
    asked = requested_action(by=somebody("agnes"), required_approvals=2)
    agreed(asked, by=approver("finn"))
    return finn, task, asked, requested(pending(), action=OTHER)


def link(alias: Person, main: Person) -> None:
    one, other = person_parts.identity_of(alias), person_parts.identity_of(main)
    boundary.write(
        partial(transitions.link, one, other, tenant=alias.tenant, actor=actor("olga"), reason="same person")
    )


# Before.


def test_says_what_a_cut_off_will_undo(browser: Browser) -> None:
    finn, task, decided, made = busy_finn()
    shown = browser.get(f"{PEOPLE}{finn.pk}/cut-off/")
    assert f"Releases 1 task {task.pk}" in text(shown)
    assert f"Sets aside approvals of 1 open request {decided.pk}" in text(shown)
    assert f"Cancels 1 open request {made.pk}" in text(shown)
    for where in (f"{TASKS}{task.pk}", f"{APPROVALS}{decided.pk}", f"{APPROVALS}{made.pk}"):
        assert f'href="{where}/change/"' in shown.content.decode()
    assert "A restore does not bring back what the cut-off undoes." in text(shown)
    assert Person.objects.get(pk=finn.pk).is_active


def test_says_nothing_of_what_it_does_not_undo(browser: Browser) -> None:
    shown = text(browser.get(f"{PEOPLE}{person('alice').pk}/cut-off/"))
    for word in ("Releases", "Sets aside", "Cancels", "Also cuts off"):
        assert word not in shown


def test_lists_no_more_than_fits_and_takes_the_same_number_of_statements(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    finn, *_ = busy_finn()
    for _ in range(3):
        requested()
    monkeypatch.setattr(person_parts, "MOST", 2)
    login, row = ("django_session", "people_person"), ("people_person",)
    # The linked identities, for the list of them and again for the three queries.
    with statements(*login, *row, "people_same", "people_same", "tasks", "approval_decisions", "approvals"):
        shown = text(browser.get(f"{PEOPLE}{finn.pk}/cut-off/"))
    assert "Cancels 4 open requests" in shown
    assert "and 2 more" in shown


def test_names_the_identities_that_are_cut_off_too(browser: Browser) -> None:
    finn, *_ = busy_finn()
    other = person("finn-2")
    link(other, finn)
    shown = text(browser.get(f"{PEOPLE}{other.pk}/cut-off/"))
    assert "Also cuts off local|finn Releases 1 task" in shown


def test_a_subject_by_name_is_cut_off_once_the_consequences_were_shown(browser: Browser) -> None:
    finn, task, *_ = busy_finn()
    named = {"issuer": "local", "subject": "finn"}
    shown = act(browser, None, "cut-off", **named)
    assert "local|finn is not cut off yet." in text(shown)
    assert f"Releases 1 task {task.pk}" in text(shown)
    assert 'name="confirmed" value="local|finn"' in shown.content.decode()
    for unconfirmed in ({}, {"confirmed": "yes"}, {"confirmed": "local|olga"}):
        act(browser, None, "cut-off", **named, **unconfirmed)
        assert Person.objects.get(pk=finn.pk).is_active
    shown = act(browser, None, "cut-off", **named, confirmed="local|finn")
    assert "local|finn is cut off. 1 task released" in text(shown)
    assert not Person.objects.get(pk=finn.pk).is_active


def test_a_subject_is_read_as_tokens_give_it(browser: Browser) -> None:
    act(browser, None, "cut-off", issuer="local", subject="Rene\u0301")
    assert not Person.objects.get(subject="Ren\u00e9").is_active


# After.


def test_says_what_was_done(browser: Browser) -> None:
    finn, task, decided, made = busy_finn()
    shown = text(act(browser, finn, "cut-off"))
    done = "1 task released, approvals of 1 open request set aside, 1 open request cancelled."
    assert f"local|finn is cut off. {done}" in shown
    assert str(Task.objects.get(pk=task.pk).status) == "pending"
    assert Decision.objects.get(approval=decided).set_aside_reason == "cut-off"
    assert str(Approval.objects.get(pk=made.pk).status) == "cancelled"


def test_what_undid_nothing_is_said_in_short(browser: Browser) -> None:
    alice = person("alice")
    assert "local|alice is cut off." in text(act(browser, alice, "cut-off"))
    assert "released" not in text(page(browser, alice))


# Linked identities.


def test_a_persons_page_shows_their_linked_identities(browser: Browser) -> None:
    main, alias, other = person("petra"), person("petra-2"), person("paul")
    link(alias, main)
    for one, beside in ((main, alias), (alias, main)):
        shown = page(browser, one)
        assert f"Linked identities local|{beside.subject}" in text(shown)
        assert f'href="{PEOPLE}{beside.pk}/change/"' in shown.content.decode()
    assert "Linked identities" not in text(page(browser, other))
    with statements("django_session", "people_person", "people_person", "people_person"):
        page(browser, main)


def test_offers_what_would_not_be_refused(browser: Browser) -> None:
    main, alias, other = person("petra"), person("petra-2"), person("paul", is_active=False)
    link(alias, main)
    assert offered(browser, main) == ["cut-off"]
    assert offered(browser, alias) == ["cut-off", "unlink"]
    assert offered(browser, other) == ["restore", "link"]
    olga = Person.objects.get(subject="olga")
    assert offered(browser, olga) == []
    mine = person("olga-2")
    link(mine, olga)
    assert offered(browser, mine) == []


def test_links_an_identity_to_another_and_undoes_it(browser: Browser) -> None:
    main, alias = person("petra", roles=("approver",), agent_roles=("manager",)), person("petra-2")
    approval = requested(required_approvals=3)
    for name in ("petra", "petra-2"):
        agreed(approval, by=approver(name))
    shown = act(browser, alias, "link", issuer="local", subject="petra")
    assert "local|petra-2 and local|petra count as one person from now on." in text(shown)
    assert Person.objects.get(pk=alias.pk).alias_of_id == main.pk
    assert Approval.objects.get(pk=approval.pk).granted == 1
    shown = act(browser, alias, "unlink")
    assert "local|petra-2 counts as a person of its own from now on." in text(shown)
    assert Person.objects.get(pk=alias.pk).alias_of_id is None
    events = AuditEvent.objects.filter(event_type__startswith="person.").order_by("id")
    assert [(one.event_type, one.reason, one.via) for one in events] == [
        ("person.recorded", "", "admin"),
        ("person.linked", REASON["reason"], "admin"),
        ("person.unlinked", REASON["reason"], "admin"),
    ]


def test_says_why_identities_cannot_be_linked(browser: Browser) -> None:
    main, alias, other = person("petra"), person("petra-2"), person("paul")
    link(alias, main)
    told = "It is linked with another person. Unlink it first."
    assert told in text(act(browser, alias, "link", issuer="local", subject="paul"))
    assert "These are the same identity." in text(act(browser, other, "link", issuer="local", subject="paul"))
    assert "It is no alias of another identity." in text(act(browser, other, "unlink"))
    assert "This field is required." in text(act(browser, other, "link", issuer="local", subject="petra", reason=" "))
    assert Person.objects.get(pk=other.pk).alias_of_id is None


def test_operators_do_not_link_or_unlink_their_own_identities(browser: Browser) -> None:
    olga, alias, other = Person.objects.get(subject="olga"), person("olga-2"), person("paul")
    assert act(browser, olga, "link", issuer="local", subject="paul").status_code == 403
    assert act(browser, other, "link", issuer="local", subject="olga").status_code == 403
    link(alias, olga)
    assert act(browser, alias, "unlink").status_code == 403
    assert act(browser, other, "link", issuer="local", subject="olga-2").status_code == 403
    assert Person.objects.get(pk=alias.pk).alias_of_id == olga.pk
    assert Person.objects.get(pk=other.pk).alias_of_id is None


@pytest.mark.parametrize("name", ["link", "unlink"])
def test_links_are_made_by_operators_within_their_tenant(browser: Browser, name: str) -> None:
    alice, eve = person("alice"), person("eve", tenant="acme")
    stranger = Browser(person("paul", roles=("approver", "auditor")))
    named = {"issuer": "local", "subject": "eve"}
    assert act(browser, eve, name, **named).status_code == 404
    assert act(stranger, alice, name, **named).status_code == 404
    assert stranger.get(f"{PEOPLE}{alice.pk}/{name}/").status_code == 404
    # eve of the operator's tenant is another person than eve of another tenant.
    act(browser, alice, "link", **named)
    assert Person.objects.get(pk=alice.pk).alias_of == Person.objects.get(subject="eve", tenant="default")
    assert Identity(eve.issuer, eve.subject) == Identity("local", "eve")


@pytest.mark.parametrize("name", ["link", "unlink"])
def test_a_get_shows_the_form_and_a_form_without_its_token_changes_nothing(browser: Browser, name: str) -> None:
    alice = person("alice")
    assert 'name="reason"' in browser.get(f"{PEOPLE}{alice.pk}/{name}/?issuer=local&subject=x").content.decode()
    fields = {**REASON, "issuer": "local", "subject": "paul"}
    assert browser.forge(f"{PEOPLE}{alice.pk}/{name}/", fields).status_code == 403
    assert not AuditEvent.objects.exists()
