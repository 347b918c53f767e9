"""How many statements a call on approvals costs, BEGIN and COMMIT counted.

Two came with the rules of agreement: one asks whether the actor is cut off, one reads the earlier requests of the same
subject for the answer.
"""

from collections.abc import Callable

import pytest

from sessions_app.models import Task
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
# The same for an actor who decides or consumes: not cut off, asked before the locks.
ADMITTED = ("BEGIN", "SELECT", "SELECT", "SELECT", "SELECT")
# An event beside what it tells of.
TOLD = ("UPDATE", "INSERT")
# For the answer: its decisions, and the earlier requests of its subject.
ANSWER = ("SELECT", "SELECT", "COMMIT")
NOT_SAID = ("SELECT", "INSERT")
"""Whether it is the actor's own matter or they have decided before, and their decision."""
# A request: the task, the actor who is not cut off, the task under its lock, what was requested before; the request.
ASKED = ("BEGIN", "SELECT", "SELECT", "SELECT", "SELECT", "INSERT", "INSERT")


def test_get_takes_three_whatever_the_caller_is(agent: Api) -> None:
    approval = agree(ask(required_approvals=2))
    for caller in (agent, manager(), Api(token("bob", "agent,approver,auditor", "manager"))):
        with costs("SELECT", "SELECT", "SELECT"):
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
def test_a_list_takes_one_more_for_all_decisions_and_one_for_all_earlier_requests(query: str, count: int) -> None:
    caller = manager("max")
    for _ in range(3):
        agree(ask(required_approvals=2))
    with costs(*["SELECT"] * (count + 2)):
        call(caller, "GET", f"/approvals?{query}", status=200)


def test_a_list_of_none_looks_for_no_decisions() -> None:
    caller = manager("max")
    with costs("SELECT"):
        call(caller, "GET", "/approvals?cursor=", status=200)


def test_asking_about_a_pending_task_takes_twelve(agent: Api) -> None:
    body = {"task_id": str(task_states.pending().pk), "approver_role": "manager"}
    with costs(*ASKED, *TOLD, *ANSWER):
        call(agent, "POST", "/approvals", body, status=201)


def test_asking_about_a_held_task_takes_two_less(agent: Api) -> None:
    body = {"task_id": str(task_states.active().pk), "approver_role": "manager"}
    with costs(*ASKED, *ANSWER):
        call(agent, "POST", "/approvals", body, status=201)


@pytest.mark.parametrize("count", [1, 10])
def test_questions_at_creation_take_two_however_many(agent: Api, count: int) -> None:
    body = {"task_type": "x", "to_role": "finance", "requires_approval": [{"approver_role": "manager"}] * count}
    with costs("BEGIN", "SELECT", "SELECT", "INSERT", "INSERT", "INSERT", "COPY", "COMMIT"):
        call(agent, "POST", "/tasks", body, status=201)


def test_a_vote_takes_twelve() -> None:
    caller, approval = manager(), ask(required_approvals=2)
    with costs(*ADMITTED, *NOT_SAID, *TOLD, *ANSWER):
        call(caller, "POST", where(approval, "approve"), {}, status=200)


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_decision_about_a_held_task_takes_twelve(verb: str) -> None:
    caller, approval = manager(), ask(task_states.active())
    with costs(*ADMITTED, *NOT_SAID, *TOLD, *ANSWER):
        call(caller, "POST", where(approval, verb), {}, status=200)


def test_the_last_agreement_takes_three_more_to_let_the_task_go_on() -> None:
    caller, approval = manager(), ask()
    with costs(*ADMITTED, *NOT_SAID, *TOLD, "SELECT", *TOLD, *ANSWER):
        call(caller, "POST", where(approval, "approve"), {}, status=200)


def test_a_refusal_takes_three_more_to_fail_the_task() -> None:
    caller, approval = manager(), ask()
    with costs(*ADMITTED, *NOT_SAID, *TOLD, *TOLD, "SELECT", *ANSWER):
        call(caller, "POST", where(approval, "reject"), {}, status=200)


def test_what_a_refusal_closes_costs_the_same_however_much_it_is() -> None:
    for count in (1, 4):
        caller = manager()
        _, (first, *_) = ask_at_creation(question(), *[question("board")] * count)
        with costs(*ADMITTED, *NOT_SAID, *TOLD, *TOLD, "SELECT", "UPDATE", "COPY", *ANSWER):
            call(caller, "POST", where(first, "reject"), {}, status=200)


def test_deciding_by_task_takes_one_more_to_find_it() -> None:
    caller, approval = manager(), ask(task_states.active())
    body = {"task_id": str(approval.task_id), "decision": "approved"}
    with costs("BEGIN", "SELECT", *ADMITTED[1:], *NOT_SAID, *TOLD, "COMMIT"):
        call(caller, "POST", "/approvals", body, status=202)


def test_calling_it_off_takes_ten_and_using_it_one_or_two_more(agent: Api) -> None:
    """One to see that the actor is not cut off, one to see that a requester never held the task."""
    approval = ask(task_states.active())
    with costs(*ADMITTED, *TOLD, *ANSWER):
        call(agent, "POST", where(approval, "cancel"), {}, status=200)
    approval = agree(ask(task_states.active(), action=ACTION))
    with costs(*ADMITTED, "SELECT", "SELECT", *TOLD, *ANSWER):
        call(agent, "POST", where(approval, "consume"), {"action": ACTION}, status=200)
    approval = agree(ask(task_states.active(), action=ACTION))
    with costs(*ADMITTED, "SELECT", *TOLD, *ANSWER):
        call(Api(token("finn")), "POST", where(approval, "consume"), {"action": ACTION}, status=200)


@pytest.mark.parametrize("lease", [task_states.undelivered, task_states.lapsed])
def test_asking_about_a_task_whose_lease_ran_out_takes_five_more_to_put_it_back(
    agent: Api, lease: Callable[[], Task]
) -> None:
    """One more where somebody used the lease: whether it was a lost delivery is judged first."""
    body = {"task_id": str(lease().pk), "approver_role": "manager"}
    judged = () if lease is task_states.undelivered else ("SELECT",)
    back = (*judged, "SELECT", "UPDATE", "COPY", "UPDATE", "SELECT")
    with costs(*ASKED[:4], *back, *ASKED[4:], *TOLD, *ANSWER):
        call(agent, "POST", "/approvals", body, status=201)


def test_calling_off_what_was_added_takes_three_more_to_let_the_task_go_on(agent: Api) -> None:
    approval = ask()
    with costs(*ADMITTED, *TOLD, "SELECT", *TOLD, *ANSWER):
        call(agent, "POST", where(approval, "cancel"), {}, status=200)


def test_calling_off_what_a_task_was_created_with_takes_five_more_to_cancel_it() -> None:
    """One of them reads the task before the locks: to cancel it is a right of its own."""
    caller, (_, (approval,)) = Api(token("mona", agent_roles="manager")), ask_at_creation(question())
    with costs("BEGIN", "SELECT", *ADMITTED[1:], *TOLD, "SELECT", *TOLD, "SELECT", *ANSWER):
        call(caller, "POST", where(approval, "cancel"), {}, status=200)


def test_a_refusal_that_is_remembered_takes_a_transaction_of_its_own() -> None:
    caller = manager("alice")
    for approval, status in ((ask(), 403), (ask(lasting=PAST, by=somebody("bob")), 409)):
        with costs(*ADMITTED, "SELECT", "ROLLBACK", "BEGIN", "INSERT", "INSERT", "COMMIT"):
            call(caller, "POST", where(approval, "approve"), {}, status=status)


def test_so_does_a_right_that_is_missed_before_anything_is_locked(agent: Api) -> None:
    approval = ask()
    with costs("BEGIN", "SELECT", "ROLLBACK", "BEGIN", "INSERT", "INSERT", "COMMIT"):
        call(agent, "POST", where(approval, "approve"), {}, status=403)


def test_nothing_is_asked_after_a_refusal_that_is_not() -> None:
    approval = ask()
    with costs("BEGIN", "SELECT", "ROLLBACK"):
        call(manager(), "POST", f"/approvals/{UNKNOWN_ID}/approve", {}, status=404)
    with costs(*ADMITTED, "SELECT", "ROLLBACK"):
        call(manager(), "POST", where(approval, "approve"), {}, status=412, if_match='"9"')
