"""POST /approvals/{id}/approve and /reject"""

from collections.abc import Callable
from time import sleep
from typing import Any

import pytest

from sessions_app.models import Approval, Decision
from tests.api import Api, errors, token
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    PAST,
    SETTLED,
    SHORT,
    agent_for,
    agree,
    ask,
    ask_at_creation,
    asker,
    error_of,
    manager,
    nothing_but_refused,
    nothing_moves,
    now,
    problem_of,
    question,
    task_of,
    where,
    withdraw,
)
from tests.sessions_app.session_calls import NO_UUIDS, UNKNOWN_ID, events_of, last_event, somebody
from tests.sessions_app.task_calls import claimed, finn, pass_deadline, path
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

VERBS = ("approve", "reject")
OUTCOME = {"approve": "approved", "reject": "rejected"}
both = pytest.mark.parametrize("verb", VERBS)


def told(row: Any) -> list[str]:
    return [event.event_type for event in events_of(row.pk)]


# What one decision does.


def test_the_one_who_is_needed_agrees() -> None:
    approval = ask()
    answer = manager().post(where(approval, "approve"), {"comments": "Checked."})
    assert answer.status_code == 200, answer.content
    said = answer.json()
    assert (said["status"], said["version"], said["allowed_transitions"]) == ("approved", 2, [])
    assert answer.headers["ETag"] == '"2"'
    (decision,) = said["decisions"]
    assert decision == {
        "decider": "local|petra",
        "decision": "approved",
        "comments": "Checked.",
        "decided_at": said["decision_at"],
        "set_aside_at": None,
        "set_aside_reason": None,
    }
    assert manager().get(where(approval)).json() == said


def test_past_the_deadline_of_the_task_it_can_be_rejected_and_not_approved() -> None:
    approval = ask()
    pass_deadline(task_of(approval))
    with nothing_but_refused(("petra", "approve", "deadline-exceeded")):
        problem_of(manager().post(where(approval, "approve"), {}), 409, "deadline-exceeded")
    assert manager().post(where(approval, "reject"), {}).status_code == 200
    assert (task_of(approval).status, error_of(approval)) == ("failed", "approval-rejected")


def test_a_task_that_waited_past_its_deadline_fails_when_it_waits_no_more() -> None:
    approval = ask()
    pass_deadline(task_of(approval))
    withdraw(approval)
    task = task_of(approval)
    assert (task.status, (task.error or {})["code"], told(task)[-1]) == ("failed", "deadline-exceeded", "task.failed")
    assert last_event(task.pk).cause == last_event(approval.pk).id
    assert_chain_holds(task)


def test_what_else_is_asked_about_it_is_closed_then() -> None:
    held = claimed()
    aside = ask(held.task, by=somebody("finn"))
    finn().post(path(held, "release"), held.body("release"))
    approval = ask(held.task)
    pass_deadline(held.task)
    withdraw(approval)
    assert Approval.objects.get(pk=aside.pk).status == "cancelled"
    problem_of(manager("max").post(where(aside, "approve"), {}), 409, "illegal-transition")


def test_a_task_that_waited_goes_on() -> None:
    approval = ask()
    manager().post(where(approval, "approve"), {"comments": "Checked."})
    task = task_of(approval)
    assert task.status == "pending"
    decided, unblocked = last_event(approval.pk), last_event(task.pk)
    assert (decided.event_type, decided.reason, decided.actor_subject) == ("approval.approved", "Checked.", "petra")
    assert (unblocked.event_type, unblocked.cause) == ("task.unblocked", decided.pk)
    assert now(approval).notes == "Checked."
    assert len(asker("finn").post("/tasks/claim", {}).json()["tasks"]) == 1
    assert_chain_holds(approval)
    assert_chain_holds(task)


def test_one_who_refuses_settles_it_and_a_task_that_waited_fails() -> None:
    approval = ask(required_approvals=3)
    answer = manager().post(where(approval, "reject"), {"comments": "No."})
    assert (answer.status_code, answer.json()["status"]) == (200, "rejected"), answer.content
    assert answer.json()["decisions"][0]["decision"] == "rejected"
    task = task_of(approval)
    assert (task.status, error_of(approval)) == ("failed", "approval-rejected")
    decided, failed = last_event(approval.pk), last_event(task.pk)
    assert (decided.event_type, decided.reason) == ("approval.rejected", "No.")
    assert (failed.event_type, failed.reason, failed.cause) == ("task.failed", "approval-rejected", decided.pk)
    assert_chain_holds(approval)
    assert_chain_holds(task)


def test_a_refusal_closes_what_else_was_asked() -> None:
    task, (first, second, third) = ask_at_creation(question(), question("board"), question("legal"))
    agree(third)
    manager().post(where(first, "reject"), {})
    assert now(second).status == "cancelled"
    assert now(third).status == "approved"
    closed = last_event(second.pk)
    assert (closed.event_type, closed.cause) == ("approval.cancelled", last_event(task.pk).pk)
    assert closed.reason == "Its task is over."
    assert_chain_holds(second)


def test_a_task_waits_for_the_last_of_several() -> None:
    task, (first, second) = ask_at_creation(question(), question("board"))
    manager().post(where(first, "approve"), {})
    assert (now(first).status, task_of(first).status) == ("approved", "blocked")
    assert told(task) == ["task.created"]
    Api(token("paul", "approver", "board")).post(where(second, "approve"), {})
    assert task_of(first).status == "pending"
    assert last_event(task.pk).cause == last_event(second.pk).pk


@both
def test_a_held_task_stays_with_its_holder_whatever_the_answer(verb: str) -> None:
    task = task_states.active()
    approval = ask(task)
    answer = manager().post(where(approval, verb), {})
    assert answer.json()["status"] == OUTCOME[verb]
    after = task_of(approval)
    assert (after.status, after.version, after.error) == ("active", task.version, None)


@both
def test_comments_are_optional(verb: str) -> None:
    for said in ({}, {"comments": None}, {"comments": ""}, None):
        approval = ask()
        answer = manager().post(where(approval, verb), said)
        assert answer.status_code == 200, answer.content
        assert answer.json()["decisions"][0]["comments"] == ""
        assert last_event(approval.pk).reason == ""


@both
@pytest.mark.parametrize("comments", [1, ["no"], "x" * 4001])
def test_refuses_comments_that_are_none(verb: str, comments: Any) -> None:
    approval = ask()
    with nothing_moves():
        answer = manager().post(where(approval, verb), {"comments": comments})
    assert (answer.status_code, list(errors(answer))) == (400, ["comments"])


# A quorum.


def test_as_many_people_as_are_needed_have_to_agree() -> None:
    approval = ask(required_approvals=3)
    for version, name in enumerate(("petra", "max"), start=2):
        answer = manager(name).post(where(approval, "approve"), {"comments": f"{name}: yes."})
        assert (answer.status_code, answer.json()["status"]) == (200, "pending"), answer.content
        assert (answer.json()["version"], answer.json()["decision_at"]) == (version, None)
        assert task_of(approval).status == "blocked"
    answer = manager("nora").post(where(approval, "approve"), {"comments": "nora: yes."})
    assert answer.json()["status"] == "approved"
    assert [said["decider"] for said in answer.json()["decisions"]] == ["local|petra", "local|max", "local|nora"]
    assert answer.json()["decision_at"] == answer.json()["decisions"][-1]["decided_at"]
    assert told(approval) == ["approval.created", "approval.voted", "approval.voted", "approval.approved"]
    assert [event.reason for event in events_of(approval.pk)][1:] == ["petra: yes.", "max: yes.", "nora: yes."]
    assert (now(approval).granted, now(approval).notes) == (3, "nora: yes.")
    assert task_of(approval).status == "pending"
    assert_chain_holds(approval)


def test_one_who_refuses_outweighs_those_who_agreed() -> None:
    approval = ask(required_approvals=3)
    agree(approval, "petra", "max")
    answer = manager("nora").post(where(approval, "reject"), {})
    assert answer.json()["status"] == "rejected"
    assert [said["decision"] for said in answer.json()["decisions"]] == ["approved", "approved", "rejected"]
    assert task_of(approval).status == "failed"
    assert_chain_holds(approval)


@both
def test_nobody_counts_twice_nor_takes_back_what_they_said(verb: str) -> None:
    approval = agree(ask(required_approvals=2))
    with nothing_but_refused(("petra", verb, "already-decided")):
        answer = manager().post(where(approval, verb), {"comments": "again"})
    problem_of(answer, 409, "already-decided")


# What a decision keeps.


def test_keeps_who_asked_and_for_whom_and_who_held_the_task() -> None:
    task, _ = task_states.held(by=agent_for("hans", "holder"))
    approval = ask(task, by=agent_for("anna", "requester"))
    manager().post(where(approval, "approve"), {})
    decision = Decision.objects.get()
    assert (decision.requester_subject, decision.requester_for_subject) == ("requester", "anna")
    assert (decision.holder_subject, decision.holder_for_subject) == ("holder", "hans")
    assert (decision.decider_subject, decision.decider_kind) == ("petra", "person")


def test_keeps_that_nobody_held_the_task() -> None:
    manager().post(where(ask(), "approve"), {})
    decision = Decision.objects.get()
    assert (decision.requester_subject, decision.requester_for_subject) == ("alice", None)
    assert (decision.holder_subject, decision.holder_for_subject) == (None, None)


# What is settled, or past its time.


@both
@pytest.mark.parametrize("state", SETTLED)
def test_a_second_decider_is_told_the_outcome(state: str, verb: str) -> None:
    approval = SETTLED[state]()
    with nothing_but_refused(("max", verb, "illegal-transition")):
        answer = manager("max").post(where(approval, verb), {})
    said = problem_of(answer, 409, "illegal-transition")
    assert (said["from"], said["to"], said["allowed"]) == (state, OUTCOME[verb], [])


@both
def test_past_its_time_nothing_is_decided(verb: str) -> None:
    approval = ask(lasting=PAST)
    with nothing_but_refused(("petra", verb, "approval-expired")):
        answer = manager().post(where(approval, verb), {})
    said = problem_of(answer, 409, "approval-expired")
    assert (said["from"], said["to"], said["allowed"]) == ("pending", OUTCOME[verb], ["expired"])
    assert now(approval).status == "pending"


def test_the_last_one_needed_may_come_too_late() -> None:
    approval = ask(required_approvals=2, lasting=SHORT)
    assert manager().post(where(approval, "approve"), {}).json()["status"] == "pending"
    sleep(SHORT.total_seconds())
    with nothing_but_refused(("max", "approve", "approval-expired")):
        answer = manager("max").post(where(approval, "approve"), {})
    problem_of(answer, 409, "approval-expired")


# The version that was decided on.


@both
def test_decides_the_version_that_was_seen(verb: str) -> None:
    for tags in ('"1"', '"7", "1"', "*"):
        answer = manager().post(where(ask(), verb), {}, If_Match=tags)
        assert answer.status_code == 200, (tags, answer.content)


@both
def test_decides_no_other_version(verb: str) -> None:
    approval = agree(ask(required_approvals=3))
    for tags in ('"1"', 'W/"2"', '"3"'):
        with nothing_moves():
            answer = manager("max").post(where(approval, verb), {}, If_Match=tags)
        assert problem_of(answer, 412, "precondition-failed")["current_version"] == 2


def _asked_by_the_caller() -> Approval:
    return ask(by=agent_for("max"))


ORDER: list[tuple[Callable[[], Approval], str]] = [
    (_asked_by_the_caller, "separation-of-duties"),
    (lambda: ask(lasting=PAST), "precondition-failed"),
    (lambda: agree(ask()), "precondition-failed"),
    (lambda: agree(ask(required_approvals=2), "max"), "precondition-failed"),
]


@both
@pytest.mark.parametrize(("make", "slug"), ORDER)
def test_who_must_not_decide_is_told_so_first_and_what_was_not_seen_second(
    make: Callable[[], Approval], slug: str, verb: str
) -> None:
    answer = manager("max").post(where(make(), verb), {}, If_Match='"9"')
    assert answer.json()["type"] == f"/problems/{slug}"


@both
def test_past_its_time_comes_before_having_decided(verb: str) -> None:
    approval = agree(ask(required_approvals=2, lasting=SHORT))
    sleep(SHORT.total_seconds())
    problem_of(manager().post(where(approval, verb), {}), 409, "approval-expired")


# Who decides.


@both
def test_only_approvers_of_its_role_decide(verb: str) -> None:
    approval = ask()
    for caller, status in (
        (asker(), 403),
        (Api(token("alice", "agent,approver", "finance")), 403),
        (Api(token("olga", "operator", "manager")), 403),
        (Api(token("otto", "auditor", "manager")), 403),
        (Api(token("paul", "approver,operator", "board")), 403),
        (Api(token("paul", "approver", "board")), 404),
        (Api(token("petra", "agent", "manager")), 404),
        (manager(tenant="acme"), 404),
    ):
        with nothing_moves():
            answer = caller.post(where(approval, verb), {})
        problem_of(answer, status, "forbidden" if status == 403 else "not-found")


@both
def test_an_approver_who_is_more_than_that_decides_too(verb: str) -> None:
    for roles in ("approver,operator", "approver,agent", "approver,auditor"):
        assert Api(token("petra", roles, "board,manager")).post(where(ask(), verb), {}).status_code == 200


@both
def test_takes_the_id_with_its_noun_before_it(verb: str) -> None:
    approval = ask()
    assert manager().post(f"/approvals/approval-{approval.pk}/{verb}", {}).status_code == 200


@both
def test_there_is_no_approval_that_was_never_asked(verb: str) -> None:
    problem_of(manager().post(f"/approvals/{UNKNOWN_ID}/{verb}", {}), 404, "not-found")
    answer = manager().post(f"/approvals/{NO_UUIDS[0]}/{verb}", {})
    assert (answer.status_code, list(errors(answer))) == (400, ["id"])


@both
def test_the_same_key_decides_once(verb: str) -> None:
    approval = ask()
    first = manager().post(where(approval, verb), {}, Idempotency_Key="decide-1")
    with nothing_moves():
        again = manager().post(where(approval, verb), {}, Idempotency_Key="decide-1")
    assert (again.status_code, again.json()) == (200, first.json())
