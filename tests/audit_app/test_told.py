"""A superuser rewrites what rows carry, and not their events: audit_verify finds it and names the row."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from psycopg.types.json import Jsonb

from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from sessions_app.duties import FAIL_EXHAUSTED, REQUEUE_LAPSED, REQUEUE_LOST_DELIVERIES
from sessions_app.models import Approval, Attempt, Recorded, Session, Task
from sessions_app.sweeping import sweep
from sessions_app.transitions import approvals, lease
from sessions_app.transitions import person as people
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


def test_attempts_are_in_order_however_they_end(place: Place) -> None:
    finn, operator = somebody("finn"), replace(somebody("olga"), roles=frozenset({Role.OPERATOR}))

    def end(move: Callable[..., Task], **options: Any) -> None:
        task, token = task_states.held()
        boundary.write(partial(move, task, token=token, actor=finn, **options))

    end(lease.release)
    end(lease.fail, error={"code": "lease-lost"}, retryable=True)
    end(lease.fail, error={"code": "no-statement"}, retryable=False)
    for lasting in (timedelta(minutes=1), timedelta(0)):
        task, _ = task_states.held(lasting=lasting)
        boundary.write(partial(lease.force_release, task, reason="It hangs.", actor=operator))
    for _ in range(5):
        task_states.held(Task.objects.get(pk=task.pk), lasting=timedelta(0))
        for duty in (REQUEUE_LOST_DELIVERIES, FAIL_EXHAUSTED, REQUEUE_LAPSED):
            sweep(duty)
    ends = Counter(Attempt.objects.values_list("outcome", flat=True))
    assert ends == {"released": 1, "failed": 2, "force-released": 1, "lost-delivery": 3, "lease-lost": 3}
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


# Decisions that were set aside.


@pytest.fixture
def aside() -> Approval:
    """Mia agreed, withdrew and agreed again. Nora agreed and was cut off, and so did Nils under two names."""
    asked = work.new_approval(a_task(), action={"pay": 48000}, required_approvals=4)
    for verb, name in (
        *(("approve", "mia"), ("withdraw", "mia"), ("approve", "nora"), ("approve", "nils")),
        *(("approve", "n.holm"), ("approve", "mia")),
    ):
        boundary.write(partial(getattr(approvals, verb), asked, comments=f"{verb}, {name}.", actor=person(name)))
        if verb == "approve" and name == "n.holm":
            operator = replace(person("olga"), roles=frozenset({Role.OPERATOR}))
            nora, nils, holm = (person(one).identity for one in ("nora", "nils", "n.holm"))
            boundary.write(partial(people.cut_off, nora, actor=operator, reason="She left."))
            boundary.write(partial(people.link, holm, nils, tenant="default", actor=operator, reason="One person."))
    return Approval.objects.get(pk=asked.pk)


SET_ASIDE = {"mia": "withdrawn", "nora": "cut-off", "n.holm": "same-person"}


def test_a_story_with_decisions_that_were_set_aside_is_in_order(place: Place, aside: Approval) -> None:
    reasons = aside.decisions.exclude(set_aside_at=None).values_list("decider_subject", "set_aside_reason")
    assert dict(reasons) == SET_ASIDE
    assert (aside.status, aside.granted) == ("pending", 2)
    for name in ("max", "moritz"):
        boundary.write(partial(approvals.approve, aside, actor=person(name)))
    assert Approval.objects.get(pk=aside.pk).status == "approved"
    assert findings(place, anchor=False) == []
    assert findings(place, "--subject", f"approval:{aside.pk}", anchor=False) == []


def test_a_person_with_a_long_name_is_known_by_a_digest(place: Place) -> None:
    """A long list of people is a digest in the trail."""
    asked = a_question()
    someone = replace(person("x"), identity=Identity("local", '"\\\n\x07' + "🦉" * 248))
    for verb in ("approve", "withdraw"):
        boundary.write(partial(getattr(approvals, verb), asked, actor=someone))
    event = work.chain(asked)[-1]
    assert "sha256" in json.loads(event["body"])["changes"]["set_aside"]
    assert findings(place, anchor=False) == []
    with unguarded() as beside:
        beside.execute("UPDATE approval_decisions SET decider_subject = decider_subject || '!'")
        assert findings(place, anchor=False) == [("decisions", str(asked.pk), 3)]


# Of each person in turn; without the last two for Mia, whose next decision counts.
CHANGES = (
    "set_aside_at = set_aside_at + interval '1 us'",
    "set_aside_reason = NULL",
    "set_aside_reason = CASE set_aside_reason WHEN 'cut-off' THEN 'same-person' ELSE 'cut-off' END",
    "decider_subject = 'mallory'",
    "decided_at = decided_at - interval '1 s'",
    "set_aside_at = NULL",
    "set_aside_at = NULL, set_aside_reason = NULL",
)


def test_finds_decisions_that_were_not_set_aside_so(place: Place, aside: Approval) -> None:
    assert findings(place, anchor=False) == []
    with unguarded() as beside:
        beside.execute("CREATE TEMPORARY TABLE before AS SELECT * FROM approval_decisions")
        for name in SET_ASIDE:
            of = f"decider_subject = '{name}' AND set_aside_at IS NOT NULL"
            changes = [f"UPDATE approval_decisions SET {change} WHERE {of}" for change in CHANGES]
            for change in [*(changes[:-2] if name == "mia" else changes), f"DELETE FROM approval_decisions WHERE {of}"]:
                assert beside.execute(change).rowcount == 1
                assert_found(place, aside, change)
                put_back(beside)
        assert findings(place, anchor=False) == []


def test_finds_a_decision_that_was_set_aside_by_hand(place: Place, aside: Approval) -> None:
    with unguarded() as beside:
        for why in SET_ASIDE.values():
            at = "decided_at" if why == "withdrawn" else "clock_timestamp()"
            change = f"UPDATE approval_decisions SET set_aside_at = {at}, set_aside_reason = '{why}'"
            beside.execute(f"{change} WHERE decider_subject = 'nils'")
            assert_found(place, aside, why)


def assert_found(place: Place, asked: Approval, what: str) -> None:
    """Fails unless the decisions of a request are found, and nothing else."""
    found = findings(place, anchor=False)
    assert found == [("decisions", str(asked.pk), asked.version)], what
    assert findings(place, "--subject", f"approval:{asked.pk}", anchor=False) == found


def put_back(beside: Super) -> None:
    """Every decision as it was."""
    beside.execute("DELETE FROM approval_decisions")
    beside.execute("INSERT INTO approval_decisions SELECT * FROM before")


def test_finds_a_decision_that_was_set_aside_and_never_made(place: Place, aside: Approval) -> None:
    with unguarded() as beside:
        beside.execute("CREATE TEMPORARY TABLE copy AS SELECT * FROM approval_decisions WHERE decider_subject = 'nora'")
        beside.execute("UPDATE copy SET id = %s, decider_subject = 'mallory'", [uuid4()])
        beside.execute("INSERT INTO approval_decisions SELECT * FROM copy")
        beside.execute("DROP TABLE copy")
        assert findings(place, anchor=False) == [("decisions", str(aside.pk), aside.version)]


# Requests about an action without a task.


@pytest.fixture
def action() -> Approval:
    """An action in a session that Mia approved and alice consumed."""
    session = work.move_session(work.open_session(), "active")
    question = approvals.Question(approver_role="manager", lasting=timedelta(days=1), action={"pay": 1})
    asked = boundary.write(lambda: approvals.request_action(session, question, actor=work.actor()))
    boundary.write(lambda: approvals.approve(asked, actor=person("mia")))
    return boundary.write(lambda: approvals.consume(asked, {"pay": 1}, actor=work.actor()))


OTHER_VALUES: tuple[tuple[str, Any], ...] = (
    *(("session_id", None), ("session_id", uuid4()), ("task_id", uuid4()), ("use_within_seconds", None)),
    *(("use_within_seconds", 60), ("required", True), ("blocks", True), ("reopens_id", uuid4())),
    *(("replaces_id", uuid4()), ("consumed_at", None)),
)


def test_finds_another_value_in_a_request_about_an_action(place: Place, action: Approval) -> None:
    assert findings(place, anchor=False) == []
    with unguarded() as beside:
        # Without the foreign keys.
        beside.execute("SET session_replication_role = replica")
        for column, value in OTHER_VALUES:
            point(beside, action, **{column: value})
            assert findings(place, anchor=False) == [("told", str(action.pk), action.version)], column
            point(beside, action, **{column: getattr(action, column)})
        assert findings(place, anchor=False) == []


def test_finds_a_decision_about_an_action_that_no_person_made(place: Place, action: Approval) -> None:
    with unguarded() as beside:
        deleted(beside, action)
        assert findings(place, anchor=False) == [("decisions", str(action.pk), action.version)]


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
