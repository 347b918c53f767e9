"""A superuser rewrites what rows carry, and not their events: audit_verify finds it and names the row."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from psycopg.types.json import Jsonb

from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from sessions_app.models import Approval, Recorded, Session, Task
from sessions_app.transitions import approvals, lease
from tests import work
from tests.audit_app.seals import Place, findings
from tests.audit_app.tampering import Super, point, rewrite, unguarded
from tests.sessions_app import task_states
from tests.sessions_app.session_calls import somebody

pytestmark = pytest.mark.django_db(transaction=True)

LONG = {"text": "x" * 2000, "n": 1.5, "large": 1e21, "flag": True}


def a_session() -> Session:
    opened = work.open_session(metadata={"quarter": "Q3", "n": 1})
    return work.amend_session(opened, metadata={"quarter": "Q4", "n": 1})


def a_long_session() -> Session:
    return work.open_session(metadata=LONG)


def a_task() -> Task:
    return work.new_task(priority=7, data={"amount": 48000}, description="Pay the landlord.")


def a_question() -> Approval:
    return work.new_approval(a_task(), action={"pay": 48000}, required_approvals=2, reason="It is much.")


@pytest.mark.parametrize(
    ("made", "column", "value"),
    [
        *((a_session, "metadata", Jsonb({"quarter": "Q3", "n": 1})), (a_session, "metadata", Jsonb({}))),
        *((a_session, "metadata", Jsonb({"quarter": "Q4", "n": True})), (a_session, "metadata", Jsonb(None))),
        *((a_session, "expires_at", datetime(2099, 1, 1, tzinfo=UTC)), (a_session, "role", "manager")),
        *((a_session, "created_by_subject", "mallory"), (a_session, "created_by_issuer", "https://other.example")),
        *((a_session, "on_behalf_of_subject", "petra"), (a_session, "created_at", datetime(2026, 1, 1, tzinfo=UTC))),
        *((a_long_session, "metadata", Jsonb({**LONG, "n": 1.25})), (a_long_session, "metadata", Jsonb({"a": 1}))),
        *((a_session, "updated_at", "infinity"), (a_question, "updated_at", datetime(2026, 1, 1, tzinfo=UTC))),
        *((a_task, "priority", 9), (a_task, "data", Jsonb({"amount": 48})), (a_task, "description", "")),
        *((a_task, "to_role", "legal"), (a_task, "deadline", datetime(2099, 1, 1, tzinfo=UTC))),
        *((a_task, "cancel_requested", True), (a_task, "max_attempts", 20), (a_task, "output", Jsonb({"paid": True}))),
        *((a_question, "action", Jsonb({"pay": 1})), (a_question, "action_digest", b"\1" * 32)),
        *((a_question, "required_approvals", 1), (a_question, "granted", 1), (a_question, "approver_role", "finance")),
        *((a_question, "reason", "It is little."), (a_question, "consumed_at", datetime(2026, 1, 1, tzinfo=UTC))),
    ],
)
def test_finds_another_value_in_a_column_that_is_told(
    place: Place, made: Callable[[], Recorded], column: str, value: Any
) -> None:
    row = made()
    a_session()
    assert findings(place, anchor=False) == []
    with unguarded() as beside:
        point(beside, row, **{column: value})
        assert findings(place, anchor=False) == [("told", str(row.pk), row.version)]
        assert findings(place, "--subject", f"{row.NOUN}:{row.pk}", anchor=False) == [
            ("told", str(row.pk), row.version)
        ]


@pytest.mark.parametrize("number", ["1e400", f"1{'0' * 400}.5", "1e5000"])
def test_finds_a_number_that_no_double_is(place: Place, number: str) -> None:
    row = a_session()
    with unguarded() as beside:
        point(beside, row, metadata=f'{{"n": {number}}}')
        assert findings(place, anchor=False) == [("told", str(row.pk), row.version)]


def test_a_row_whose_chain_was_tampered_with_is_found_once(place: Place) -> None:
    row = a_session()
    with unguarded() as beside:
        point(beside, row, metadata=Jsonb({"quarter": "Q3", "n": 1}))
        rewrite(beside, work.chain(row)[1], reason="another")
        assert findings(place, anchor=False) == [("columns", str(row.pk), 2)]


def test_a_column_that_no_event_of_the_row_tells_of_is_not_looked_at(place: Place) -> None:
    """As one that came with a later version of the service than the row."""
    row = work.open_session()
    with unguarded() as beside:
        event = work.chain(row)[0]
        kept = json.loads(event["body"])["changes"]
        del kept["task_id"]
        body = json.dumps({**json.loads(event["body"]), "changes": kept}, sort_keys=True, separators=(",", ":"))
        digest = work.hash_of(work.GENESIS, body)
        rewrite(beside, event, body=body, metadata=json.dumps({"changes": kept}), hash=digest)
        point(beside, row, audit_head=digest)
        assert findings(place, anchor=False) == []


def test_what_heartbeats_and_attempts_leave_is_in_order(place: Place) -> None:
    for make in task_states.TASKS_IN.values():
        make()
    assert findings(place, anchor=False) == []


# Decisions.


def person(name: str) -> Actor:
    origin = Origin(Via.API, "request-1", "trace-1", "192.0.2.7")
    roles, agent_roles = frozenset({Role.APPROVER}), frozenset({"manager"})
    return Actor(
        Identity("local", name), "default", Kind.PERSON, origin, roles, agent_roles, client=settings.LOCAL_CLIENT
    )


@pytest.fixture
def decided() -> Approval:
    """Mia agreed, Max too."""
    asked = a_question()
    boundary.write(lambda: approvals.approve(asked, comments="It is due.", actor=person("mia")))
    return boundary.write(lambda: approvals.approve(asked, actor=person("max")))


def other_comment(beside: Super, asked: Approval) -> None:
    beside.execute("UPDATE approval_decisions SET comments = 'never' WHERE decider_subject = 'mia'")


def other_person(beside: Super, asked: Approval) -> None:
    beside.execute("UPDATE approval_decisions SET decider_subject = 'mallory' WHERE decider_subject = 'mia'")


def other_verdict(beside: Super, asked: Approval) -> None:
    beside.execute("UPDATE approval_decisions SET decision = 'rejected' WHERE decider_subject = 'max'")


def other_time(beside: Super, asked: Approval) -> None:
    beside.execute("UPDATE approval_decisions SET decided_at = decided_at - interval '1 day'")


def settled_at_another_time(beside: Super, asked: Approval) -> None:
    point(beside, asked, decision_at=datetime(2026, 1, 1, tzinfo=UTC))


def settled_at_no_time(beside: Super, asked: Approval) -> None:
    point(beside, asked, decision_at=None)


def deleted(beside: Super, asked: Approval) -> None:
    beside.execute("DELETE FROM approval_decisions WHERE decider_subject = 'mia'")


def inserted(beside: Super, asked: Approval) -> None:
    beside.execute("CREATE TEMPORARY TABLE copy AS SELECT * FROM approval_decisions WHERE decider_subject = 'mia'")
    beside.execute("UPDATE copy SET id = %s, decider_subject = 'mallory'", [uuid4()])
    beside.execute("INSERT INTO approval_decisions SELECT * FROM copy")
    beside.execute("DROP TABLE copy")


@pytest.mark.parametrize(
    "tamper",
    [
        *(other_comment, other_person, other_verdict, other_time, deleted, inserted),
        *(settled_at_another_time, settled_at_no_time),
    ],
    ids=lambda tamper: tamper.__name__,
)
def test_finds_decisions_that_nobody_made(
    place: Place, decided: Approval, tamper: Callable[[Super, Approval], None]
) -> None:
    assert findings(place, anchor=False) == []
    with unguarded() as beside:
        tamper(beside, decided)
        found = findings(place, anchor=False)
        assert found == [("decisions", str(decided.pk), decided.version)]
        assert findings(place, "--subject", f"approval:{decided.pk}", anchor=False) == found


# Attempts.


@pytest.fixture
def claimed() -> Task:
    """Held twice, and handed back in between."""
    held, token = task_states.held()
    free = boundary.write(lambda: lease.release(held, token=token, actor=somebody("finn")))
    return task_states.active(free)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE task_attempts SET holder_subject = 'mallory' WHERE epoch = 1",
        "UPDATE task_attempts SET holder_issuer = 'https://other.example' WHERE epoch = 1",
        "UPDATE task_attempts SET holder_for_issuer = 'local', holder_for_subject = 'petra' WHERE epoch = 1",
        "UPDATE task_attempts SET claimed_at = claimed_at - interval '1 day' WHERE epoch = 1",
        "UPDATE task_attempts SET epoch = 9 WHERE epoch = 1",
        "DELETE FROM task_attempts WHERE epoch = 1",
    ],
)
def test_finds_attempts_that_nobody_made(place: Place, claimed: Task, change: str) -> None:
    assert findings(place, anchor=False) == []
    with unguarded() as beside:
        beside.execute(change)
        found = findings(place, anchor=False)
        assert found == [("attempts", str(claimed.pk), claimed.version)]
        assert findings(place, "--subject", f"task:{claimed.pk}", anchor=False) == found
