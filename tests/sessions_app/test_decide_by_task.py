"""POST /approvals by task, as existing clients send it: both of its forms."""

from typing import Any

import pytest

from sessions_app.models import Approval, Task
from tests.api import Api, errors, token
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    PAST,
    agree,
    ask,
    ask_at_creation,
    asker,
    manager,
    nothing_but_refused,
    nothing_moves,
    now,
    problem_of,
    question,
    refuse,
    task_of,
)
from tests.sessions_app.session_calls import UNKNOWN_ID, last_event, somebody

pytestmark = pytest.mark.django_db(transaction=True)

YES = "approved"


def decision(task: Task, said: str = YES, **more: Any) -> dict[str, Any]:
    return {"task_id": str(task.pk), "decision": said, **more}


def of_two_roles(name: str = "petra") -> Api:
    return Api(token(name, "approver", "manager,board"))


def test_one_asks_and_another_decides_by_the_task_alone(agent: Api) -> None:
    task = task_states.pending()
    asked = agent.post("/approvals", {"task_id": str(task.pk), "approver_role": "manager", "decision": "pending"})
    answer = manager().post("/approvals", decision(task, comments="Checked."))
    assert answer.status_code == 202, answer.content
    assert answer.json() == {"approval_id": asked.json()["approval_id"], "status": "approved"}
    assert "Location" not in answer.headers
    approval = Approval.objects.get()
    assert (approval.notes, last_event(approval.pk).reason) == ("Checked.", "Checked.")
    assert task_of(approval).status == "pending"


def test_one_refuses_by_the_task_alone() -> None:
    approval = ask()
    answer = manager().post("/approvals", decision(task_of(approval), "rejected", comments="No."))
    assert (answer.status_code, answer.json()["status"]) == (202, "rejected"), answer.content
    assert task_of(approval).status == "failed"


def test_a_vote_that_does_not_settle_answers_that_it_is_pending() -> None:
    approval = ask(required_approvals=2)
    answer = manager().post("/approvals", decision(task_of(approval)))
    assert (answer.status_code, answer.json()["status"]) == (202, "pending"), answer.content
    assert now(approval).granted == 1


@pytest.mark.parametrize("said", ["Approved", "APPROVED", "rejected", "REJECTED"])
def test_takes_the_words_in_any_case(said: str) -> None:
    answer = manager().post("/approvals", decision(task_of(ask()), said))
    assert (answer.status_code, answer.json()["status"]) == (202, said.lower())


def test_what_existing_clients_say_beside_a_decision_is_taken() -> None:
    approval = ask()
    body = decision(task_of(approval), approver_role="manager", reason="Within budget.", comments=None)
    answer = manager().post("/approvals", {**body, "task_id": f"task-{approval.task_id}"})
    assert (answer.status_code, answer.json()["approval_id"]) == (202, str(approval.pk))
    assert now(approval).notes == "Within budget."


def test_reason_and_comments_of_a_decision_are_both_kept() -> None:
    approval = ask()
    manager().post("/approvals", decision(task_of(approval), reason="Within budget.", comments="Checked."))
    assert now(approval).notes == "Within budget.\n\nChecked."


def test_reason_and_comments_are_too_long_together() -> None:
    approval = ask()
    with nothing_moves():
        answer = manager().post("/approvals", decision(task_of(approval), reason="x" * 2000, comments="y" * 1999))
    assert (answer.status_code, list(errors(answer))) == (400, ["comments"])


def test_what_only_a_request_says_is_refused() -> None:
    approval = ask()
    body = decision(task_of(approval), required_approvals=9, action=ACTION)
    with nothing_moves():
        answer = manager().post("/approvals", body)
    assert (answer.status_code, list(errors(answer))) == (400, ["required_approvals", "action"])


def test_a_named_role_says_which_one_is_meant() -> None:
    task, (first, second) = ask_at_creation(question("board"), question("manager"))
    answer = of_two_roles().post("/approvals", decision(task, approver_role="manager"))
    assert (answer.status_code, answer.json()["approval_id"]) == (202, str(second.pk))
    assert now(first).status == "pending"
    with nothing_moves():
        answer = manager().post("/approvals", decision(task, approver_role="board"))
    problem_of(answer, 409, "no-pending-approval")


@pytest.mark.parametrize(
    ("name", "value"),
    [("decision", "maybe"), ("decision", True), ("decision", ["approved"]), ("comments", 1), ("task_id", "1")],
)
def test_refuses_what_it_cannot_read(name: str, value: Any) -> None:
    task = task_of(ask())
    with nothing_moves():
        answer = manager().post("/approvals", {**decision(task), name: value})
    assert (answer.status_code, list(errors(answer))) == (400, [name])


# Which one is meant.


def test_it_is_the_one_of_the_callers_role() -> None:
    task, (first, second) = ask_at_creation(question("board"), question("manager"))
    answer = manager().post("/approvals", decision(task))
    assert answer.json()["approval_id"] == str(second.pk)
    assert now(first).status == "pending"


def test_it_is_the_one_that_is_open() -> None:
    task, (first, second) = ask_at_creation(question(), question(required_approvals=2))
    agree(first)
    answer = manager("max").post("/approvals", decision(task))
    assert answer.json() == {"approval_id": str(second.pk), "status": "pending"}


def test_of_several_it_is_the_one_that_the_caller_may_decide() -> None:
    own = ask(by=somebody("petra"))
    other = ask(task_of(own), approver_role="board")
    answer = of_two_roles().post("/approvals", decision(task_of(own)))
    assert answer.json()["approval_id"] == str(other.pk)
    assert now(own).status == "pending"


def test_of_several_it_is_the_one_that_the_caller_has_not_decided_yet() -> None:
    task = task_states.active()
    first, second = (ask(task, approver_role=role, required_approvals=2) for role in ("manager", "board"))
    agree(first)
    assert of_two_roles().post("/approvals", decision(task)).json()["approval_id"] == str(second.pk)


def test_of_several_that_a_task_waits_for_a_person_decides_one() -> None:
    task, (first, second) = ask_at_creation(question(required_approvals=2), question("board", required_approvals=2))
    agree(first)
    with nothing_but_refused(("petra", "approve", "already-decided")):
        problem_of(of_two_roles().post("/approvals", decision(task)), 409, "already-decided")
    assert now(second).granted == 0


def test_of_several_it_is_the_one_that_is_not_past_its_time() -> None:
    task, (_, second) = ask_at_creation(question(lasting=PAST), question("board"))
    assert of_two_roles().post("/approvals", decision(task)).json()["approval_id"] == str(second.pk)


def test_several_have_to_be_decided_by_their_own_ids() -> None:
    task, asked = ask_at_creation(question(), question("board"), question("legal"))
    with nothing_moves():
        answer = of_two_roles().post("/approvals", decision(task))
    said = problem_of(answer, 409, "several-pending-approvals")
    assert said["approval_ids"] == [str(asked[0].pk), str(asked[1].pk)]


@pytest.mark.parametrize("said", ["approved", "rejected"])
def test_of_several_none_of_which_the_caller_may_decide_they_are_told_why(said: str) -> None:
    own = ask(by=somebody("petra"))
    ask(task_of(own), approver_role="board", by=somebody("petra"))
    verb = {"approved": "approve", "rejected": "reject"}[said]
    with nothing_but_refused(("petra", verb, "separation-of-duties")):
        answer = of_two_roles().post("/approvals", decision(task_of(own), said))
    problem_of(answer, 403, "separation-of-duties")


# What is refused as it is under its own path.


def test_the_only_one_is_meant_even_if_the_caller_must_not_decide_it() -> None:
    own = ask(by=somebody("petra"))
    with nothing_but_refused(("petra", "approve", "separation-of-duties")):
        answer = manager().post("/approvals", decision(task_of(own)))
    problem_of(answer, 403, "separation-of-duties")


def test_the_only_one_may_be_past_its_time() -> None:
    approval = ask(lasting=PAST)
    with nothing_but_refused(("petra", "approve", "approval-expired")):
        answer = manager().post("/approvals", decision(task_of(approval)))
    problem_of(answer, 409, "approval-expired")


def test_the_only_one_may_have_the_callers_word_already() -> None:
    approval = agree(ask(required_approvals=2))
    with nothing_but_refused(("petra", "reject", "already-decided")):
        answer = manager().post("/approvals", decision(task_of(approval), "rejected"))
    problem_of(answer, 409, "already-decided")


# Where there is none.


def test_there_may_be_none_that_awaits_the_caller() -> None:
    settled, of_others = agree(ask()), ask(approver_role="board")
    both = Api(token("petra", "approver,auditor", "manager"))
    for approval in (settled, of_others, refuse(ask())):
        with nothing_moves():
            answer = both.post("/approvals", decision(task_of(approval)))
        problem_of(answer, 409, "no-pending-approval")


def test_a_task_that_is_not_the_callers_to_see_is_none() -> None:
    board = task_of(ask(approver_role="board"))
    for body in (decision(board), {"task_id": UNKNOWN_ID, "decision": YES}):
        with nothing_moves():
            answer = manager().post("/approvals", body)
        assert (answer.status_code, list(errors(answer))) == (400, ["task_id"])
    answer = manager(tenant="acme").post("/approvals", decision(task_of(ask())))
    assert (answer.status_code, list(errors(answer))) == (400, ["task_id"])


def test_whoever_is_no_approver_decides_nothing(operator: Api) -> None:
    task = task_of(ask())
    for caller in (asker(), operator, Api(token("olga", "operator,auditor", "manager"))):
        with nothing_moves():
            answer = caller.post("/approvals", decision(task))
        problem_of(answer, 403, "forbidden")


def test_the_same_key_decides_once() -> None:
    task = task_of(ask())
    first = manager().post("/approvals", decision(task), Idempotency_Key="decide-1")
    with nothing_moves():
        again = manager().post("/approvals", decision(task), Idempotency_Key="decide-1")
    assert (again.status_code, again.json()) == (202, first.json())
