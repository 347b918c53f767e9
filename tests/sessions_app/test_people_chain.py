"""The chain of a person: no right, cut-off or link changes without its event, and what superusers change is found."""

from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError
from django.db.models import F
from django.db.models.functions import Now

from audit_app.models import AuditEvent
from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.actors import Actor, Identity
from orchestrator.maintenance.jobs import Incomplete
from orchestrator.maintenance.models import PoisonRow
from orchestrator.people.models import Person
from sessions_app.jobs import record_people
from sessions_app.transitions import people_chain
from sessions_app.transitions import person as transitions
from tests.admin import person
from tests.audit_app.conftest import place  # noqa: F401  the keys of each test's own
from tests.audit_app.seals import Place, findings
from tests.database import superuser_connection
from tests.sessions_app.agreement_calls import operator_actor

pytestmark = pytest.mark.django_db(transaction=True)

MALLORY = Identity("local", "mallory")


def cut_off() -> Person:
    """Mallory, an approver who was cut off by Olga."""
    person("mallory", roles=("approver",), agent_roles=("manager",))
    boundary.write(partial(transitions.cut_off, MALLORY, actor=operator_actor(), reason="stolen"))
    return mallory()


def mallory() -> Person:
    return Person.objects.get(subject="mallory")


def told(of: Person) -> list[tuple[int | None, str]]:
    rows = AuditEvent.objects.filter(subject_type="person", subject_id=of.trail_id).order_by("seq")
    return [(row.seq, row.event_type) for row in rows]


def test_the_chain_begins_with_who_they_are_then() -> None:
    row = cut_off()
    assert told(row) == [(1, "person.recorded"), (2, "person.cut_off")]
    first, second = AuditEvent.objects.filter(subject_id=row.trail_id).order_by("seq")
    assert (first.metadata["changes"]["is_active"], second.metadata["changes"]["is_active"]) == (True, False)
    assert first.metadata["changes"]["roles"] == ["approver"]
    assert (row.version, row.audit_head) == (2, second.hash)


# What the database refuses, whoever writes.

UNRECORDED: dict[str, dict[str, Any]] = {
    "cut-off undone": {"is_active": True},
    "roles raised": {"roles": ["approver", "operator"]},
    "agent roles raised": {"agent_roles": ["manager", "cfo"]},
    "made staff": {"is_staff": False},
    "made superuser": {"is_superuser": True},
    "another tenant": {"tenant": "acme"},
    "another subject": {"subject": "olga"},
    "a version without an event": {"version": F("version") + 1},
    "another head": {"audit_head": bytes(32)},
    "another chain": {"trail_id": "01a22e8b-e0c1-73d4-9383-e5bd05ff4337"},
    "out of the chain": {"version": 0, "trail_id": None, "audit_head": None, "is_active": True},
}


@pytest.mark.parametrize("columns", UNRECORDED.values(), ids=list(UNRECORDED))
def test_refuses_a_change_without_its_event(columns: dict[str, Any]) -> None:
    row = cut_off()
    with pytest.raises(IntegrityError):
        Person.objects.filter(pk=row.pk).update(**columns)
    row.refresh_from_db()
    assert (row.is_active, row.roles, row.version) == (False, ["approver"], 2)


def test_refuses_a_link_without_its_event() -> None:
    row, other = cut_off(), person("petra")
    with pytest.raises(IntegrityError):
        Person.objects.filter(pk=row.pk).update(alias_of=other)


def test_refuses_to_delete_and_to_truncate() -> None:
    row = cut_off()
    with superuser_connection() as beside:
        with pytest.raises(Exception, match="has a chain of events and stays"):
            beside.execute("DELETE FROM people_person WHERE id = %s", [row.pk])
        with pytest.raises(Exception, match="TRUNCATE is refused"):
            beside.execute("TRUNCATE people_person CASCADE")


def test_refuses_a_row_that_brings_a_chain_of_its_own() -> None:
    with pytest.raises(IntegrityError):
        Person.objects.create(username="x", subject="x", version=1, trail_id="01a22e8b-e0c1-73d4-9383-e5bd05ff4337")


@pytest.mark.parametrize("name", ["is_active", "is_staff", "is_superuser", "roles", "agent_roles"])
def test_refuses_an_event_that_tells_something_else(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    row = cut_off()
    other: dict[str, list[str]] = {"roles": [], "agent_roles": []}
    tells = {**people_chain.told(row), name: other.get(name, not getattr(row, name))}
    monkeypatch.setattr(people_chain, "told", lambda _person: tells)
    with pytest.raises(IntegrityError, match="is not as the event says"):
        boundary.write(lambda: people_chain.record(row, Action.PERSON_RESTORED, actor=operator_actor()))
    assert mallory().version == 2


# Rows without a chain: of the version before, and of createsuperuser.


def test_a_row_of_the_version_before_may_change_until_it_has_a_chain() -> None:
    person("mallory", roles=("approver",))
    Person.objects.filter(subject="mallory").update(roles=["operator"])
    assert mallory().version == 0


def test_a_maintenance_job_begins_the_chains_of_those_who_have_none(place: Place) -> None:  # noqa: F811
    for name in ("mallory", "mia"):
        person(name, roles=("approver",))
    assert record_people() == "2 people recorded."
    assert record_people() == "0 people recorded."
    assert told(mallory()) == [(1, "person.recorded")]
    event = AuditEvent.objects.get(subject_id=mallory().trail_id)
    assert (event.actor_subject, event.metadata["changes"]["roles"]) == ("job:record_people", ["approver"])
    assert findings(place, anchor=False) == []


def test_a_person_whose_chain_cannot_begin_keeps_nobody_from_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mallory", "mia"):
        person(name, roles=("approver",))
    begin = people_chain.begin

    def failing(row: Person, *, actor: Actor) -> None:
        if row.subject == "mallory":
            raise ValueError("broken")
        begin(row, actor=actor)

    monkeypatch.setattr(people_chain, "begin", failing)
    with pytest.raises(Incomplete, match=r"^1 person recorded, 1 could not be: .*broken"):
        record_people()
    assert [mallory().version, Person.objects.get(subject="mia").version] == [0, 1]
    monkeypatch.undo()
    PoisonRow.objects.update(retry_at=Now())
    assert record_people() == "1 person recorded."
    assert (mallory().version, PoisonRow.objects.count()) == (1, 0)


# What a superuser changes.

TAMPERED = {
    "cut-off undone": ("is_active = true", "told"),
    "roles raised": ("roles = '{operator}'", "told"),
    "agent roles raised": ("agent_roles = '{manager,cfo}'", "told"),
    "made superuser": ("is_superuser = true", "told"),
    "another subject": ("subject = 'olga'", "told"),
    "another tenant": ("tenant = 'acme'", "told"),
    "another head": ("audit_head = decode(repeat('00', 32), 'hex')", "head"),
    "an earlier version": ("version = 1", "head"),
    "a later version": ("version = 3", "tail"),
    "another chain": ("trail_id = '01a22e8b-e0c1-73d4-9383-e5bd05ff4337'", "unrecorded"),
    "out of the chain": ("version = 0, trail_id = NULL, audit_head = NULL, is_active = true", "gone"),
    "out of the chain but for its id": ("version = 0, audit_head = NULL, is_active = true", "tail"),
}


@pytest.mark.parametrize(("assignment", "kind"), TAMPERED.values(), ids=list(TAMPERED))
def test_verification_finds_what_a_superuser_changed(place: Place, assignment: str, kind: str) -> None:  # noqa: F811
    row = cut_off()
    assert findings(place, anchor=False) == []
    with superuser_connection() as beside:
        beside.execute("SET session_replication_role = replica")
        beside.execute("ALTER TABLE people_person DISABLE TRIGGER people_person_recorded_update")
        beside.execute(f"UPDATE people_person SET {assignment} WHERE id = %s", [row.pk])
        beside.execute("ALTER TABLE people_person ENABLE ALWAYS TRIGGER people_person_recorded_update")
    found = findings(place, anchor=False)
    assert kind in [one[0] for one in found]
    # A row that is set back to version 0 with its id is left to verification by the job as well.
    record_people()
    assert findings(place, anchor=False) != []


def test_verification_finds_a_person_who_is_gone(place: Place) -> None:  # noqa: F811
    row = cut_off()
    with superuser_connection() as beside:
        beside.execute("ALTER TABLE people_person DISABLE TRIGGER USER")
        beside.execute("DELETE FROM people_person WHERE id = %s", [row.pk])
        beside.execute(
            "ALTER TABLE people_person ENABLE ALWAYS TRIGGER people_person_recorded,"
            " ENABLE ALWAYS TRIGGER people_person_recorded_update,"
            " ENABLE ALWAYS TRIGGER people_person_no_truncate, ENABLE ALWAYS TRIGGER people_person_flat_aliases"
        )
    assert findings(place, anchor=False) == [("gone", str(row.trail_id), None)]


def test_long_lists_of_agent_roles_are_told_by_their_digest(place: Place) -> None:  # noqa: F811
    person("mallory", roles=("approver",), agent_roles=tuple(f"role-{n}" for n in range(200)))
    boundary.write(partial(transitions.cut_off, MALLORY, actor=operator_actor(), reason="stolen"))
    event = AuditEvent.objects.get(event_type="person.cut_off")
    assert set(event.metadata["changes"]["agent_roles"]) == {"bytes", "sha256"}
    assert findings(place, anchor=False) == []
