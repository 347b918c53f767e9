"""Requests that an operator reopened or replaced: whose they are, and what stands once they end."""

import pytest
from psycopg.errors import IntegrityConstraintViolation

from orchestrator.people.models import Person
from sessions_app.models import Approval
from tests.api import Api, token
from tests.sessions_app import task_states
from tests.sessions_app.agreement_calls import Asking, body_of, cut_off, each_subject, made_by
from tests.sessions_app.approval_calls import (
    ACTION,
    agree,
    ask,
    ask_at_creation,
    asker,
    nothing_but_refused,
    nothing_moves,
    now,
    problem_of,
    question,
    refuse,
    task_of,
    where,
)
from tests.sessions_app.approval_sql import Beside, born, move, refused, say
from tests.sessions_app.session_calls import somebody

pytestmark = pytest.mark.django_db(transaction=True)

REASON = "The offer was corrected."


def reopened(rejected: Approval, operator: Api) -> Approval:
    return made_by(operator.post("/approvals", body_of(rejected, reopens=str(rejected.pk), reason=REASON)))


def replaced(first: Approval, operator: Api) -> Approval:
    body = body_of(first, approver_role="board", replaces=str(first.pk), reason=REASON)
    return made_by(operator.post("/approvals", body))


@each_subject
def test_a_rejection_stands_again_once_its_reopening_ended_undecided(asking: Asking, operator: Api) -> None:
    rejected = refuse(asking())
    again = reopened(rejected, operator)
    assert operator.post(where(again, "cancel"), {}).status_code == 200
    with nothing_moves():
        said = problem_of(asker().post("/approvals", body_of(rejected)), 409, "already-rejected")
    assert said["approval_id"] == str(rejected.pk)
    last = reopened(rejected, operator)
    refuse(last, "max")
    with nothing_moves():
        body = body_of(rejected, reopens=str(rejected.pk), reason=REASON)
        said = problem_of(operator.post("/approvals", body), 409, "already-rejected")
    assert said["approval_id"] == str(last.pk)
    assert now(reopened(last, operator)).reopens_id == last.pk


@each_subject
def test_the_first_requester_cancels_the_request_that_followed_theirs(asking: Asking, operator: Api) -> None:
    second = replaced(asking(by=somebody("alan")), operator)
    assert asker("alan").post(where(second, "cancel"), {}).status_code == 200
    assert now(second).status == "cancelled"


@each_subject
def test_a_cut_off_follows_the_first_requester_and_not_the_operator(asking: Asking, operator: Api) -> None:
    second = replaced(asking(by=somebody("alan")), operator)
    assert cut_off("olga", by="otto").undone.cancelled == []
    assert now(second).status == "pending"
    assert cut_off("alan", by="otto").undone.cancelled == [second.pk]
    assert now(second).status == "cancelled"


def test_the_operator_who_retried_consumes_what_was_asked_again(operator: Api) -> None:
    _, (first,) = ask_at_creation(question(action=ACTION))
    refuse(first)
    again = operator.post(f"/tasks/{first.task_id}/retry", {"reason": REASON}).json()
    second = agree(Approval.objects.get(task_id=again["task_id"]), "max")
    assert second.reopens_id == first.pk
    answer = asker("mona", agent_roles="manager").post(where(second, "consume"), {"action": ACTION})
    assert answer.status_code in (403, 404), answer.content
    answer = operator.post(where(second, "consume"), {"action": ACTION})
    assert answer.status_code == 200, answer.content


def test_a_refused_reopening_or_replacement_is_recorded() -> None:
    rejected = refuse(ask(task_states.active(), action=ACTION))
    with nothing_moves():
        body = body_of(rejected, reopens=str(rejected.pk), reason=REASON)
        problem_of(asker().post("/approvals", body), 403, "forbidden")


@pytest.mark.parametrize("reason", ["a%00b", "%00"])
def test_a_reason_that_cannot_be_stored_is_refused(operator: Api, reason: str) -> None:
    task = task_states.cancelled(task_states.pending())
    for path in (f"/tasks/{task.pk}", "/sessions/018f0000-0000-7000-8000-000000000000"):
        assert operator.send("DELETE", f"{path}?reason={reason}").status_code == 400


def test_sql_requests_nothing_about_a_task_that_is_over(beside: Beside) -> None:
    approval = ask(action=ACTION)
    task_states.cancelled(task_of(approval))
    with refused(beside, IntegrityConstraintViolation, "is over"):
        born(beside, now(approval), status="pending", blocks=False, required=False)


def test_sql_settles_nothing_by_a_person_whom_sql_cut_off(beside: Beside) -> None:
    approval = agree(ask(required_approvals=2), "petra")
    Person.objects.create(username="petra", issuer="local", subject="petra", is_active=False)
    with refused(beside, IntegrityConstraintViolation, "cut off"):
        say(beside, approval, "max")
        settled = {"granted": 2, "status": "approved", "decision_at": approval.updated_at}
        move(beside, now(approval), **settled)
        # The row has waited for the decision of its task, whose own guard speaks at COMMIT too.
        beside.execute("SET CONSTRAINTS approval_decisions_count IMMEDIATE")


def test_the_first_requester_does_not_decide_what_a_retry_asks_of_the_role_of_the_replacement(operator: Api) -> None:
    board = agree(replaced(ask(action=ACTION), operator), "bob")
    failed = task_states.failed(task_of(board))
    again = operator.post(f"/tasks/{failed.pk}/retry", {"reason": REASON}).json()
    asked = Approval.objects.get(task_id=again["task_id"])
    assert asked.approver_role == "board"
    alice = Api(token("alice", "approver", "board"))
    with nothing_but_refused(("alice", "approve", "separation-of-duties")):
        problem_of(alice.post(where(asked, "approve"), {}), 403, "separation-of-duties")
    assert alice.get("/approvals?assignee=me").json()["approvals"] == []


def test_a_retry_asks_again_what_was_added_and_still_open_when_the_task_failed(operator: Api) -> None:
    task, (required,) = ask_at_creation(question())
    ask(task, approver_role="cfo")
    refuse(required)
    again = operator.post(f"/tasks/{task.pk}/retry", {"reason": REASON}).json()
    roles = Approval.objects.filter(task_id=again["task_id"]).values_list("approver_role", flat=True)
    assert sorted(roles) == ["cfo", "manager"]
