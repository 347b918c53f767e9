"""How many statements a call on approvals costs, BEGIN and COMMIT counted."""

import pytest

from tests.api import Api, token
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    PAST,
    agree,
    ask,
    ask_at_creation,
    manager,
    question,
    where,
)
from tests.sessions_app.session_calls import UNKNOWN_ID, somebody
from tests.sessions_app.test_query_counts import call, costs

pytestmark = pytest.mark.django_db(transaction=True)

# The way in: the approval by its id. Then its task and itself, under their locks.
FOUND = ("BEGIN", "SELECT", "SELECT", "SELECT")
# An event beside what it tells of.
TOLD = ("UPDATE", "INSERT")
# What was said of it, for the answer.
ANSWER = ("SELECT", "COMMIT")
NOT_SAID = ("SELECT", "INSERT")
"""Whether they have decided before, and their decision."""


def test_get_takes_two_whatever_the_caller_is(agent: Api) -> None:
    approval = agree(ask(required_approvals=2))
    for caller in (agent, manager(), Api(token("bob", "agent,approver,auditor", "manager"))):
        with costs("SELECT", "SELECT"):
            call(caller, "GET", where(approval), status=200)


def test_get_of_what_is_missing_or_unchanged_takes_one(agent: Api) -> None:
    approval = ask()
    with costs("SELECT"):
        call(agent, "GET", f"/approvals/{UNKNOWN_ID}", status=404)
    with costs("SELECT"):
        call(agent, "GET", where(approval), status=304, if_none_match='"1"')


@pytest.mark.parametrize(
    ("query", "count"), [("cursor=", 1), ("cursor=&status=pending", 1), ("page=1", 2), ("assignee=me", 2)]
)
def test_a_list_takes_one_more_for_all_decisions(query: str, count: int) -> None:
    caller = manager("max")
    for _ in range(3):
        agree(ask(required_approvals=2))
    with costs(*["SELECT"] * (count + 1)):
        call(caller, "GET", f"/approvals?{query}", status=200)


def test_a_list_of_none_looks_for_no_decisions() -> None:
    caller = manager("max")
    with costs("SELECT"):
        call(caller, "GET", "/approvals?cursor=", status=200)


def test_asking_about_a_pending_task_takes_nine(agent: Api) -> None:
    body = {"task_id": str(task_states.pending().pk), "approver_role": "manager"}
    with costs("BEGIN", "SELECT", "SELECT", "INSERT", "INSERT", "UPDATE", "INSERT", "SELECT", "COMMIT"):
        call(agent, "POST", "/approvals", body, status=201)


def test_asking_about_a_held_task_takes_two_less(agent: Api) -> None:
    body = {"task_id": str(task_states.active().pk), "approver_role": "manager"}
    with costs("BEGIN", "SELECT", "SELECT", "INSERT", "INSERT", "SELECT", "COMMIT"):
        call(agent, "POST", "/approvals", body, status=201)


@pytest.mark.parametrize("count", [1, 10])
def test_questions_at_creation_take_two_however_many(agent: Api, count: int) -> None:
    body = {"task_type": "x", "to_role": "finance", "requires_approval": [{"approver_role": "manager"}] * count}
    with costs("BEGIN", "SELECT", "INSERT", "INSERT", "INSERT", "COPY", "COMMIT"):
        call(agent, "POST", "/tasks", body, status=201)


def test_a_vote_takes_ten() -> None:
    caller, approval = manager(), ask(required_approvals=2)
    with costs(*FOUND, *NOT_SAID, *TOLD, *ANSWER):
        call(caller, "POST", where(approval, "approve"), {}, status=200)


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_decision_about_a_held_task_takes_ten(verb: str) -> None:
    caller, approval = manager(), ask(task_states.active())
    with costs(*FOUND, *NOT_SAID, *TOLD, *ANSWER):
        call(caller, "POST", where(approval, verb), {}, status=200)


def test_the_last_agreement_takes_three_more_to_let_the_task_go_on() -> None:
    caller, approval = manager(), ask()
    with costs(*FOUND, *NOT_SAID, *TOLD, "SELECT", *TOLD, *ANSWER):
        call(caller, "POST", where(approval, "approve"), {}, status=200)


def test_a_refusal_takes_three_more_to_fail_the_task() -> None:
    caller, approval = manager(), ask()
    with costs(*FOUND, *NOT_SAID, *TOLD, *TOLD, "SELECT", *ANSWER):
        call(caller, "POST", where(approval, "reject"), {}, status=200)


def test_what_a_refusal_closes_costs_the_same_however_much_it_is() -> None:
    for count in (1, 4):
        caller = manager()
        _, (first, *_) = ask_at_creation(question(), *[question("board")] * count)
        with costs(*FOUND, *NOT_SAID, *TOLD, *TOLD, "SELECT", "UPDATE", "COPY", *ANSWER):
            call(caller, "POST", where(first, "reject"), {}, status=200)


def test_deciding_by_task_takes_one_more_to_find_it() -> None:
    caller, approval = manager(), ask(task_states.active())
    body = {"task_id": str(approval.task_id), "decision": "approved"}
    with costs("BEGIN", "SELECT", "SELECT", "SELECT", "SELECT", *NOT_SAID, *TOLD, "COMMIT"):
        call(caller, "POST", "/approvals", body, status=202)


def test_calling_it_off_takes_eight_and_using_it_one_more_to_see_that_who_asked_never_held_the_task(agent: Api) -> None:
    approval = ask(task_states.active())
    with costs(*FOUND, *TOLD, *ANSWER):
        call(agent, "POST", where(approval, "cancel"), {}, status=200)
    approval = agree(ask(task_states.active(), action=ACTION))
    with costs(*FOUND, "SELECT", *TOLD, *ANSWER):
        call(agent, "POST", where(approval, "consume"), {"action": ACTION}, status=200)
    approval = agree(ask(task_states.active(), action=ACTION))
    with costs(*FOUND, *TOLD, *ANSWER):
        call(Api(token("finn")), "POST", where(approval, "consume"), {"action": ACTION}, status=200)


def test_asking_about_a_task_whose_lease_ran_out_takes_five_more_to_put_it_back(agent: Api) -> None:
    body = {"task_id": str(task_states.lapsed().pk), "approver_role": "manager"}
    back = ("SELECT", "UPDATE", "COPY", "UPDATE", "SELECT")
    with costs("BEGIN", "SELECT", "SELECT", *back, "INSERT", "INSERT", "UPDATE", "INSERT", "SELECT", "COMMIT"):
        call(agent, "POST", "/approvals", body, status=201)


def test_calling_off_what_a_task_waits_for_takes_four_more_to_cancel_it(agent: Api) -> None:
    approval = ask()
    with costs(*FOUND, *TOLD, "SELECT", *TOLD, "SELECT", *ANSWER):
        call(agent, "POST", where(approval, "cancel"), {}, status=200)


def test_a_refusal_that_is_remembered_takes_a_transaction_of_its_own() -> None:
    caller = manager("alice")
    for approval, status in ((ask(), 403), (ask(lasting=PAST, by=somebody("bob")), 409)):
        with costs(*FOUND, "ROLLBACK", "BEGIN", "SELECT", "INSERT", "COMMIT"):
            call(caller, "POST", where(approval, "approve"), {}, status=status)


def test_so_does_a_right_that_is_missed_before_anything_is_locked(agent: Api) -> None:
    approval = ask()
    with costs("BEGIN", "SELECT", "ROLLBACK", "BEGIN", "SELECT", "INSERT", "COMMIT"):
        call(agent, "POST", where(approval, "approve"), {}, status=403)


def test_nothing_is_asked_after_a_refusal_that_is_not() -> None:
    approval = ask()
    with costs("BEGIN", "SELECT", "ROLLBACK"):
        call(manager(), "POST", f"/approvals/{UNKNOWN_ID}/approve", {}, status=404)
    with costs(*FOUND, "ROLLBACK"):
        call(manager(), "POST", where(approval, "approve"), {}, status=412, if_match='"9"')
