"""POST /approvals/{id}/withdraw: a person withdraws their own approval while the request is open."""

from time import sleep
from typing import Any

import pytest
from django.conf import settings
from psycopg.errors import (
    CheckViolation,
    InsufficientPrivilege,
    IntegrityConstraintViolation,
    RestrictViolation,
)

from sessions_app.models import Approval, Decision
from tests.api import Api, errors, token
from tests.database import without_trigger
from tests.sessions_app.agreement_calls import Asking, each_subject, link, take_back
from tests.sessions_app.approval_calls import (
    SHORT,
    agree,
    ask,
    asker,
    manager,
    nothing_but_refused,
    nothing_moves,
    now,
    problem_of,
    refuse,
    task_of,
    where,
)
from tests.sessions_app.approval_sql import Beside, move, refused, say
from tests.sessions_app.session_calls import UNKNOWN_ID, events_of, last_event
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)


@each_subject
def test_it_does_not_count_any_more_and_the_person_may_decide_again(asking: Asking) -> None:
    approval = agree(asking(required_approvals=2), "petra")
    answer = manager().post(where(approval, "withdraw"), {"comments": "Too early."})
    assert answer.status_code == 200, answer.content
    said = answer.json()
    assert (said["status"], said["version"], answer.headers["ETag"]) == ("pending", 3, '"3"')
    (decision,) = said["decisions"]
    assert (decision["decision"], decision["set_aside_reason"]) == ("approved", "withdrawn")
    event = last_event(approval.pk)
    assert (event.event_type, event.reason, event.actor_subject) == (
        "approval.decision_withdrawn",
        "Too early.",
        "petra",
    )
    assert event.metadata["changes"] == {
        "granted": 0,
        "set_aside": [{"issuer": settings.LOCAL_ISSUER, "subject": "petra"}],
    }
    assert now(approval).granted == 0
    assert [one["approval_id"] for one in manager().get("/approvals?assignee=me").json()["approvals"]] == [
        str(approval.pk)
    ]
    agree(approval, "max")
    assert now(approval).status == "pending"
    assert agree(approval, "petra").status == "approved"
    assert [one.set_aside_reason for one in approval.decisions.order_by("decided_at")] == ["withdrawn", None, None]
    assert [one.event_type for one in events_of(approval.pk)][1:] == [
        "approval.voted",
        "approval.decision_withdrawn",
        "approval.voted",
        "approval.approved",
    ]
    assert_chain_holds(approval)


def test_the_person_may_reject_instead() -> None:
    approval = take_back(agree(ask(required_approvals=2)))
    assert manager().post(where(approval, "reject"), {}).json()["status"] == "rejected"
    assert task_of(approval).status == "failed"


def test_a_task_that_waits_waits_on() -> None:
    approval = take_back(agree(ask(required_approvals=2)))
    assert task_of(approval).status == "blocked"


def test_it_may_be_done_more_than_once() -> None:
    approval = ask(required_approvals=2)
    for _ in range(3):
        approval = take_back(agree(approval))
    assert (approval.granted, Decision.objects.filter(set_aside_reason="withdrawn").count()) == (0, 3)
    with nothing_but_refused(("petra", "withdraw", "no-decision")):
        problem_of(manager().post(where(approval, "withdraw"), {}), 409, "no-decision")


@each_subject
def test_others_do_not_withdraw_it(asking: Asking) -> None:
    approval = agree(asking(required_approvals=2))
    with nothing_but_refused(("max", "withdraw", "no-decision")):
        problem_of(manager("max").post(where(approval, "withdraw"), {}), 409, "no-decision")
    with nothing_moves():
        for caller, status in (
            (asker(), 403),
            (Api(token("olga", "operator", "manager")), 403),
            (Api(token("petra", "auditor", "manager")), 403),
            (Api(token("petra", "approver", "board")), 404),
            (manager(tenant="acme"), 404),
        ):
            assert caller.post(where(approval, "withdraw"), {}).status_code == status


def test_a_linked_identity_of_the_person_withdraws_it() -> None:
    approval = agree(ask(required_approvals=2))
    link("p.anders", "petra")
    assert manager("p.anders").post(where(approval, "withdraw"), {}).status_code == 200
    event = last_event(approval.pk)
    assert event.metadata["changes"]["set_aside"] == [{"issuer": settings.LOCAL_ISSUER, "subject": "petra"}]
    assert event.actor_subject == "p.anders"


@each_subject
@pytest.mark.parametrize("decide", [agree, refuse])
def test_after_it_is_settled_nothing_is_withdrawn(asking: Asking, decide: Any) -> None:
    approval = decide(asking())
    with nothing_but_refused(("petra", "withdraw", "illegal-transition")):
        answer = manager().post(where(approval, "withdraw"), {})
    assert problem_of(answer, 409, "illegal-transition")["from"] == approval.status


def test_past_its_time_nothing_is_withdrawn() -> None:
    approval = agree(ask(required_approvals=2, lasting=SHORT))
    sleep(SHORT.total_seconds())
    with nothing_but_refused(("petra", "withdraw", "approval-expired")):
        problem_of(manager().post(where(approval, "withdraw"), {}), 409, "approval-expired")


def test_a_client_that_may_not_decide_withdraws_nothing() -> None:
    approval = agree(ask(required_approvals=2))
    with nothing_but_refused(("petra", "withdraw", "client-may-not-decide")):
        answer = manager(client="chat").post(where(approval, "withdraw"), {})
    problem_of(answer, 403, "client-may-not-decide")


def test_withdraws_from_the_version_that_was_seen_and_with_comments_that_fit() -> None:
    approval = agree(ask(required_approvals=2))
    with nothing_moves():
        problem_of(manager().post(where(approval, "withdraw"), {}, If_Match='"1"'), 412, "precondition-failed")
        answer = manager().post(where(approval, "withdraw"), {"comments": "x" * 4001})
        assert (answer.status_code, list(errors(answer))) == (400, ["comments"])
        problem_of(manager().post(f"/approvals/{UNKNOWN_ID}/withdraw", {}), 404, "not-found")
    assert manager().post(where(approval, "withdraw"), {}, If_Match='"2"').status_code == 200


# In plain SQL.

ASIDE = "UPDATE approval_decisions SET set_aside_at = clock_timestamp(), set_aside_reason = %s"
STAYS = "a decision stays as it was made"
UNDECIDED = "is not what was decided"


@each_subject
def test_sql_sets_a_decision_aside_where_the_count_follows(beside: Beside, asking: Asking) -> None:
    approval = agree(asking(required_approvals=2))
    with refused(beside, IntegrityConstraintViolation, UNDECIDED):
        beside.execute(ASIDE, ["withdrawn"])
    with refused(beside, IntegrityConstraintViolation, UNDECIDED):
        move(beside, approval, granted=0)
    with beside.transaction():
        beside.execute(ASIDE, ["withdrawn"])
        move(beside, approval, granted=0)
    with beside.transaction():
        say(beside, approval)
        move(beside, now(approval), granted=1)
    assert now(approval).granted == 1


def test_sql_sets_no_decision_aside_once_its_request_is_settled(beside: Beside) -> None:
    approval = agree(ask())
    with refused(beside, RestrictViolation, STAYS):
        beside.execute(ASIDE, ["withdrawn"])
        move(beside, approval, granted=0)


def test_sql_makes_no_decision_that_is_set_aside_from_the_start(beside: Beside) -> None:
    approval = ask(required_approvals=2)
    with refused(beside, IntegrityConstraintViolation, "a decision counts when it is made"):
        say(beside, approval, set_aside_at="2099-01-01T00:00Z", set_aside_reason="withdrawn")


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("set_aside_at = NULL, set_aside_reason = NULL", RestrictViolation),
        ("set_aside_at = set_aside_at + interval '1 s'", RestrictViolation),
        ("set_aside_reason = 'cut-off'", RestrictViolation),
    ],
)
def test_sql_does_not_undo_or_change_what_was_set_aside(beside: Beside, statement: str, error: type[Exception]) -> None:
    approval = take_back(agree(ask(required_approvals=2)))
    with refused(beside, RestrictViolation, STAYS):
        beside.execute(f"UPDATE approval_decisions SET {statement}")
        move(beside, approval, granted=1)


@pytest.mark.parametrize("column", ["decision", "decider_subject", "comments", "decided_at", "approval_id"])
def test_sql_changes_nothing_else_along_with_it(beside: Beside, column: str) -> None:
    agree(ask(required_approvals=2))
    value = {"decision": "'rejected'", "decided_at": "now()", "approval_id": "gen_random_uuid()"}.get(column, "'x'")
    with nothing_moves(), pytest.raises((InsufficientPrivilege, RestrictViolation)), beside.transaction():
        beside.execute(f"{ASIDE}, {column} = {value}", ["withdrawn"])


@pytest.mark.parametrize(
    "values",
    [
        ("clock_timestamp()", "NULL"),
        ("NULL", "'withdrawn'"),
        ("clock_timestamp()", "'because'"),
        ("decided_at - interval '1 s'", "'withdrawn'"),
    ],
)
def test_sql_sets_aside_with_a_known_reason_and_after_the_decision(beside: Beside, values: tuple[str, str]) -> None:
    agree(ask(required_approvals=2))
    with (
        without_trigger("approval_decisions", "approval_decisions_stay"),
        refused(beside, CheckViolation, "approval_decisions_set_aside"),
    ):
        beside.execute(f"UPDATE approval_decisions SET set_aside_at = {values[0]}, set_aside_reason = {values[1]}")
    assert Approval.objects.get().granted == 1
