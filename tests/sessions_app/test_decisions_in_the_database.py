"""What the database itself says of approvals and decisions, whatever SQL is sent: as the service, and as the owner."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import (
    CheckViolation,
    ForeignKeyViolation,
    InsufficientPrivilege,
    IntegrityConstraintViolation,
    RestrictViolation,
    UniqueViolation,
)

from sessions_app.models import Approval, Decision
from tests import work
from tests.database import owner_connection, service_connection, superuser_connection, without_trigger
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    PAST,
    SETTLED,
    agent_for,
    agree,
    ask,
    ask_at_creation,
    consume,
    expire,
    nothing_moves,
    now,
    question,
    refuse,
    task_of,
    withdraw,
)
from tests.sessions_app.approval_sql import ISSUER, Beside, Connect, born, move, refused, say
from tests.sessions_app.session_calls import UNKNOWN_ID

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def approval() -> Approval:
    """Asked by bot for anna, about a task that is held by holder for hans."""
    task, _ = task_states.held(by=agent_for("hans", "holder"))
    return ask(task, by=agent_for("anna", "bot"), action=ACTION, required_approvals=2)


OPEN = "is not open"
UNDECIDED = "is not what was decided"
UNCHANGED = "what is asked does not change"


# What passes.


def test_passes_a_vote_and_then_an_agreement(beside: Beside, approval: Approval) -> None:
    with beside.transaction():
        say(beside, approval, "petra")
        move(beside, approval, granted=1)
    with beside.transaction():
        say(beside, approval, "max")
        move(beside, now(approval), granted=2, status="approved")
    work.assert_chain_holds(approval)
    assert Decision.objects.count() == 2


def test_passes_a_refusal(beside: Beside, approval: Approval) -> None:
    with beside.transaction():
        say(beside, approval, decision="rejected")
        move(beside, approval, status="rejected")
    assert now(approval).status == "rejected"


# Whose decision it is.


def test_writes_who_asked_and_who_holds_the_task_itself(beside: Beside, approval: Approval) -> None:
    names = ("requester", "requester_for", "holder", "holder_for")
    forged = {f"{name}_{part}": "nobody" for name in names for part in ("issuer", "subject")}
    with beside.transaction():
        pk = say(beside, approval, **forged)
        move(beside, approval, granted=1)
    kept: dict[str, Any] = dict(Decision.objects.values().get(pk=pk))
    assert {name: (kept[f"{name}_issuer"], kept[f"{name}_subject"]) for name in names} == {
        "requester": (ISSUER, "bot"),
        "requester_for": (ISSUER, "anna"),
        "holder": (ISSUER, "holder"),
        "holder_for": (ISSUER, "hans"),
    }


@pytest.mark.parametrize(
    ("decider", "why"),
    [
        ("bot", "requester"),
        ("anna", "requested-for"),
        ("holder", "holder"),
        ("hans", "held-for"),
        ("mona", "creator"),
    ],
)
@pytest.mark.parametrize("decision", ["approved", "rejected"])
def test_refuses_the_decision_of_one_whom_it_concerns(
    beside: Beside, approval: Approval, decider: str, why: str, decision: str
) -> None:
    others = {"requester_subject": "x", "requester_for_subject": "x", "holder_subject": "x", "holder_for_subject": "x"}
    with refused(beside, IntegrityConstraintViolation, f"separation of duties ({why})"):
        say(beside, approval, decider, decision=decision, **others)


@pytest.mark.parametrize(
    ("beside_it", "constraint"),
    [
        ("requester", "approval_decisions_not_by_requester"),
        ("requester_for", "approval_decisions_not_for_requester"),
        ("holder", "approval_decisions_not_by_holder"),
        ("holder_for", "approval_decisions_not_for_holder"),
    ],
)
@pytest.mark.parametrize("decision", ["approved", "rejected"])
def test_refuses_such_a_decision_without_the_trigger_too(
    beside: Beside, approval: Approval, beside_it: str, constraint: str, decision: str
) -> None:
    copied = {f"{beside_it}_issuer": ISSUER, f"{beside_it}_subject": "petra"}
    with (
        without_trigger("approval_decisions", "approval_decisions_of_another"),
        refused(beside, CheckViolation, constraint),
    ):
        say(beside, approval, decision=decision, **copied)


@pytest.mark.parametrize("decider", ["bot", "anna", "holder", "hans"])
def test_the_same_subject_of_another_issuer_is_another_person(beside: Beside, approval: Approval, decider: str) -> None:
    with beside.transaction():
        say(beside, approval, decider, decider_issuer="https://issuer.example")
        move(beside, approval, granted=1)
    assert now(approval).granted == 1


@pytest.mark.parametrize("kind", ["agent", "service_account", "job", "", "Person"])
def test_refuses_the_decision_of_one_who_is_no_person(beside: Beside, approval: Approval, kind: str) -> None:
    with refused(beside, CheckViolation, "approval_decisions_person"):
        say(beside, approval, decider_kind=kind)


@pytest.mark.parametrize("decision", ["pending", "Approved", "", "cancelled"])
def test_refuses_a_decision_that_there_is_not(beside: Beside, approval: Approval, decision: str) -> None:
    with refused(beside, CheckViolation, "approval_decisions_verdict"):
        say(beside, approval, decision=decision)


@pytest.mark.parametrize("second", ["approved", "rejected"])
def test_refuses_a_second_decision_of_one_person(beside: Beside, approval: Approval, second: str) -> None:
    agree(approval)
    with refused(beside, IntegrityConstraintViolation, "a decision of this person counts already"):
        say(beside, approval, decision=second)
    with (
        without_trigger("approval_decisions", "approval_decisions_of_another"),
        refused(beside, UniqueViolation, "approval_decisions_counted_once"),
    ):
        say(beside, approval, decision=second)


@pytest.mark.parametrize("state", SETTLED)
def test_refuses_a_decision_on_what_is_settled(beside: Beside, state: str) -> None:
    approval = SETTLED[state]()
    with refused(beside, IntegrityConstraintViolation, OPEN):
        say(beside, approval, "max")


def test_refuses_a_decision_on_what_is_past_its_time(beside: Beside) -> None:
    approval = ask(lasting=PAST)
    with refused(beside, IntegrityConstraintViolation, OPEN):
        say(beside, approval)


def test_refuses_a_decision_on_nothing(beside: Beside) -> None:
    with refused(beside, IntegrityConstraintViolation, OPEN):
        say(beside, UUID(UNKNOWN_ID))


# A decision stays.

REWRITES = {
    "update": "UPDATE approval_decisions SET decision = 'approved'",
    "update of nothing": "UPDATE approval_decisions SET comments = comments",
    "delete": "DELETE FROM approval_decisions",
    "truncate": "TRUNCATE approval_decisions",
    "truncate with others": "TRUNCATE approval_decisions CASCADE",
    "upsert": "INSERT INTO approval_decisions SELECT * FROM approval_decisions"
    " ON CONFLICT (id) DO UPDATE SET decision = 'approved'",
    "delete by merge": "MERGE INTO approval_decisions o USING approval_decisions n ON o.id = n.id"
    " WHEN MATCHED THEN DELETE",
}


@pytest.mark.parametrize("statement", REWRITES.values(), ids=REWRITES.keys())
@pytest.mark.parametrize(
    ("connect", "error"),
    [
        (service_connection, InsufficientPrivilege),
        (owner_connection, (RestrictViolation, IntegrityConstraintViolation)),
        (superuser_connection, (RestrictViolation, IntegrityConstraintViolation)),
    ],
    ids=["service", "owner", "superuser"],
)
def test_refuses_to_rewrite_a_decision(approval: Approval, connect: Connect, error: Any, statement: str) -> None:
    agree(approval)
    with nothing_moves(), connect() as writer, pytest.raises(error):
        writer.execute(statement)


@pytest.mark.parametrize("name", [name for name in REWRITES if name != "upsert"])
def test_refuses_to_rewrite_a_decision_under_the_role_of_a_replica(approval: Approval, name: str) -> None:
    agree(approval)
    with nothing_moves(), superuser_connection() as writer:
        writer.execute("SET session_replication_role = replica")
        with pytest.raises(RestrictViolation):
            writer.execute(REWRITES[name])


def test_a_decision_goes_with_its_approval_alone(beside: Beside, approval: Approval) -> None:
    agreed = agree(approval)
    end = work.written_for(agreed, event_type="approval.deleted", to_status=None)
    alone = without_trigger("approvals", "approvals_z_go_with_their_subject")
    with alone, beside.transaction():
        beside.execute("DELETE FROM approvals WHERE id = %s", [approval.pk])
        work.insert(beside, "audit_events", end)
    assert not Decision.objects.exists()


def test_the_service_may_read_and_add_decisions_and_no_more() -> None:
    rights = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    with service_connection() as service:
        asked = "SELECT has_table_privilege('approval_decisions', %s)"
        held = [right for right in rights if service.execute(asked, [right]).fetchone() == (True,)]
    assert held == ["SELECT", "INSERT"]


# What was decided is what the approval says.


@pytest.mark.parametrize("decision", ["approved", "rejected"])
def test_refuses_a_decision_that_does_not_count(beside: Beside, approval: Approval, decision: str) -> None:
    with refused(beside, IntegrityConstraintViolation, UNDECIDED):
        say(beside, approval, decision=decision)


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "approved"},
        {"status": "approved", "granted": 2},
        {"status": "approved", "granted": 1},
        {"status": "rejected"},
        {"granted": 1},
    ],
    ids=str,
)
def test_refuses_an_outcome_that_nobody_decided(beside: Beside, approval: Approval, columns: dict[str, Any]) -> None:
    with refused(beside, IntegrityConstraintViolation, UNDECIDED):
        move(beside, approval, **columns)


@pytest.mark.parametrize(
    ("said", "columns"),
    [
        (["approved"], {"status": "approved", "granted": 1}),
        (["approved"], {"status": "approved", "granted": 2}),
        (["approved"], {"status": "rejected", "granted": 1}),
        (["approved", "approved"], {"status": "approved", "granted": 1}),
        (["approved", "approved"], {"granted": 2}),
        (["approved", "approved"], {"status": "cancelled", "granted": 2}),
        (["approved", "rejected"], {"status": "approved", "granted": 2}),
        (["approved", "rejected"], {"granted": 1}),
        (["rejected"], {"status": "cancelled"}),
        (["rejected"], {"status": "expired"}),
        (["rejected"], {"status": "approved"}),
    ],
)
def test_refuses_another_outcome_than_was_decided(
    beside: Beside, approval: Approval, said: list[str], columns: dict[str, Any]
) -> None:
    with refused(beside, IntegrityConstraintViolation, UNDECIDED):
        for name, decision in zip(("petra", "max"), said, strict=False):
            say(beside, approval, name, decision=decision)
        move(beside, approval, **columns)


@pytest.mark.parametrize("status", ["approved", "rejected"])
def test_refuses_an_approval_that_is_born_decided(beside: Beside, approval: Approval, status: str) -> None:
    with refused(beside, IntegrityConstraintViolation, UNDECIDED):
        born(beside, approval, status=status)


@pytest.mark.parametrize("status", ["pending", "rejected", "expired", "cancelled"])
def test_what_was_agreed_to_stays_agreed(beside: Beside, status: str) -> None:
    approval = agree(ask())
    with refused(beside, IntegrityConstraintViolation, UNDECIDED):
        move(beside, now(approval), status=status)


def test_refuses_an_outcome_that_nobody_decided_under_the_role_of_a_replica(approval: Approval) -> None:
    with superuser_connection() as writer:
        writer.execute("SET session_replication_role = replica")
        with refused(writer, IntegrityConstraintViolation, UNDECIDED):
            move(writer, approval, status="approved")
        with refused(writer, IntegrityConstraintViolation, UNDECIDED):
            say(writer, approval)
        with refused(writer, IntegrityConstraintViolation, "separation of duties (requester)"):
            say(writer, approval, "bot")


# What is asked stays as it was asked.


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("approver_role", "finance"),
        ("reason", "another"),
        ("action", '{"pay": "Olsen Tools"}'),
        ("action", None),
        ("action_digest", bytes(32)),
        ("required_approvals", 1),
        ("expires_at", "2100-01-01T00:00Z"),
        ("use_within_seconds", None),
        ("use_within_seconds", 2_592_000),
        ("blocks", True),
        ("required", True),
        ("task_id", UNKNOWN_ID),
        ("session_id", UNKNOWN_ID),
        ("reopens_id", UNKNOWN_ID),
        ("replaces_id", UNKNOWN_ID),
        ("created_by_issuer", "another"),
        ("created_by_subject", "another"),
        ("on_behalf_of_issuer", "another"),
        ("on_behalf_of_subject", None),
    ],
)
def test_refuses_to_change_what_is_asked(beside: Beside, approval: Approval, column: str, value: Any) -> None:
    with refused(beside, RestrictViolation, UNCHANGED):
        move(beside, approval, **{column: value})


BORN: list[tuple[dict[str, Any], str]] = [
    ({"action": None}, "approvals_action"),
    ({"action_digest": None}, "approvals_action"),
    ({"action_digest": bytes(31)}, "approvals_action_digest"),
    ({"required_approvals": 0}, "approvals_quorum"),
    ({"required_approvals": 11}, "approvals_quorum"),
    ({"granted": 3}, "approvals_quorum"),
    ({"granted": -1}, "approvals_quorum"),
    ({"consumed_at": "2026-01-01T00:00Z"}, "approvals_consumed"),
    ({"use_within_seconds": 59}, "approvals_use_within"),
    ({"use_within_seconds": 2_592_001}, "approvals_use_within"),
    ({"task_id": None, "action": None, "action_digest": None}, "approvals_subject"),
    ({"task_id": None, "blocks": True}, "approvals_subject"),
    ({"session_id": UNKNOWN_ID}, "approvals_subject"),
]


@pytest.mark.parametrize(("columns", "constraint"), BORN, ids=str)
def test_refuses_a_question_that_cannot_be(
    beside: Beside, approval: Approval, columns: dict[str, Any], constraint: str
) -> None:
    documents = {"action": '{"pay": 1}', **columns}
    with refused(beside, CheckViolation, constraint):
        born(beside, approval, **documents)


def test_refuses_a_question_about_no_task(beside: Beside, approval: Approval) -> None:
    with refused(beside, IntegrityConstraintViolation, "is over, or of another tenant"):
        born(beside, approval, action='{"pay": 1}', task_id=UNKNOWN_ID)
    with (
        without_trigger("approvals", "approvals_may_be_made"),
        refused(beside, ForeignKeyViolation, "approvals_task_id_fkey"),
    ):
        born(beside, approval, action='{"pay": 1}', task_id=UNKNOWN_ID)


# What was agreed to is used once.

THEN = "2026-01-01T00:00Z"


@pytest.mark.parametrize("at", [THEN, None])
def test_refuses_to_consume_twice(beside: Beside, at: str | None) -> None:
    approval = consume(agree(ask(action=ACTION)))
    with refused(beside, RestrictViolation, "is consumed once"):
        move(beside, now(approval), consumed_at=at)


# About a task that is held, so that the task itself is no reason to refuse.
UNGRANTED: dict[str, Callable[[], Approval]] = {
    "pending": lambda: ask(task_states.active(), action=ACTION),
    "rejected": lambda: refuse(ask(task_states.active(), action=ACTION)),
    "expired": lambda: expire(ask(task_states.active(), action=ACTION, lasting=PAST)),
    "cancelled": lambda: withdraw(ask(task_states.active(), action=ACTION)),
}


@pytest.mark.parametrize("state", UNGRANTED)
def test_refuses_to_consume_what_was_not_agreed_to(beside: Beside, state: str) -> None:
    approval = UNGRANTED[state]()
    assert approval.status == state
    with refused(beside, CheckViolation, "approvals_consumed"):
        move(beside, approval, consumed_at=THEN)


def _granted_and_waiting() -> Approval:
    _, (granted, _) = ask_at_creation(question(action=ACTION), question("board"))
    return agree(granted)


def _granted_and_over() -> Approval:
    approval = agree(ask(action=ACTION))
    task_states.cancelled(task_of(approval))
    return approval


@pytest.mark.parametrize("make", [ask, _granted_and_waiting, _granted_and_over])
def test_refuses_to_consume_while_the_task_waits_or_once_it_is_over(
    beside: Beside, make: Callable[[], Approval]
) -> None:
    approval = make()
    with refused(beside, IntegrityConstraintViolation, "is over, or waits for others"):
        move(beside, approval, consumed_at=THEN)


def test_refuses_to_consume_what_is_for_no_action(beside: Beside) -> None:
    approval = agree(ask())
    with refused(beside, CheckViolation, "approvals_consumed"):
        move(beside, approval, consumed_at=THEN)


# Ways round.


@pytest.mark.parametrize(
    "statement",
    [
        "SET session_replication_role = replica",
        "ALTER TABLE approval_decisions DISABLE TRIGGER ALL",
        "ALTER TABLE approval_decisions DISABLE TRIGGER approval_decisions_of_another",
        "DROP TRIGGER approval_decisions_stay ON approval_decisions",
        "DROP TRIGGER approvals_agreed ON approvals",
        "DROP TRIGGER tasks_unblocked ON tasks",
        "ALTER TABLE approval_decisions DROP CONSTRAINT approval_decisions_not_by_requester",
        "ALTER TABLE approvals DROP CONSTRAINT approvals_consumed",
        "CREATE OR REPLACE FUNCTION work_decision_stays() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "DROP FUNCTION work_decision_is_of_another()",
        "CREATE RULE quiet AS ON INSERT TO approval_decisions DO INSTEAD NOTHING",
        "CREATE TRIGGER a_first BEFORE INSERT ON approval_decisions EXECUTE FUNCTION work_refuse_truncate()",
        "DROP TABLE approval_decisions",
    ],
)
def test_the_service_cannot_lift_the_guards(approval: Approval, statement: str) -> None:
    with nothing_moves(), service_connection() as service, pytest.raises(InsufficientPrivilege):
        service.execute(statement)


@pytest.mark.parametrize("mode", ["ALL IMMEDIATE", "ALL DEFERRED"])
def test_refuses_it_in_whatever_mode_the_constraints_are(beside: Beside, approval: Approval, mode: str) -> None:
    with refused(beside, IntegrityConstraintViolation, UNDECIDED):
        say(beside, approval)
        beside.execute(f"SET CONSTRAINTS {mode}")
