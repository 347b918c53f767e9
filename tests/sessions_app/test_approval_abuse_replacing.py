"""What people might try by withdrawing and replacing requests: neither is a way past those who must agree."""

from typing import Any

import pytest
from django.db import connection
from psycopg.errors import IntegrityConstraintViolation

from sessions_app.models import Approval
from tests.api import Api, errors, token
from tests.database import without_trigger
from tests.sessions_app import task_states
from tests.sessions_app.agreement_calls import (
    OTHER_ACTION,
    SUBJECTS,
    Asking,
    ask_again,
    body_of,
    cut_off,
    each_subject,
    known_person,
    link,
    made_by,
    operator_actor,
)
from tests.sessions_app.approval_calls import (
    ACTION,
    agree,
    ask,
    ask_at_creation,
    asker,
    manager,
    nothing_moves,
    now,
    problem_of,
    question,
    refuse,
    task_of,
    where,
    withdraw,
)
from tests.sessions_app.approval_sql import Beside, born, move, refused, say
from tests.sessions_app.session_calls import UNKNOWN_ID, last_event, somebody
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

REASON = "No manager is left who could decide."
ALAN = somebody("alan")


# Withdrawing.


def test_an_agent_that_may_not_cancel_a_task_does_not_do_so_by_a_request_of_its_own() -> None:
    task, alan = task_states.pending(by=somebody()), asker("alan")
    with nothing_moves():
        problem_of(alan.post(f"/tasks/{task.pk}/cancel", {}), 403, "forbidden")
    added = made_by(alan.post("/approvals", {"task_id": str(task.pk), "approver_role": "board"}))
    assert task_of(added).status == "blocked"
    assert alan.post(where(added, "cancel"), {}).status_code == 200
    assert task_of(added).status == "pending"
    assert_chain_holds(task_of(added))


@pytest.mark.parametrize("first", ["approved", "withdrawn"])
def test_a_task_whose_required_request_was_approved_goes_on_when_another_one_is_withdrawn(first: str) -> None:
    task, (asked,) = ask_at_creation(question())
    added = ask(task, by=ALAN, approver_role="board")
    if first == "approved":
        agree(asked)
        assert task_of(asked).status == "blocked"
        asker("alan").post(where(added, "cancel"), {})
    else:
        asker("alan").post(where(added, "cancel"), {})
        assert task_of(asked).status == "blocked"
        agree(asked)
    assert task_of(asked).status == "pending"


def test_the_creator_who_withdraws_a_required_request_cancels_the_task() -> None:
    _, (asked,) = ask_at_creation(question())
    mona = asker("mona", agent_roles="manager")
    assert mona.post(where(asked, "cancel"), {"reason": "Not needed."}).status_code == 200
    cancelled = last_event(task_of(asked).pk)
    assert (task_of(asked).status, cancelled.reason) == ("cancelled", "approval-withdrawn")
    assert cancelled.cause == last_event(asked.pk).pk


def test_an_agent_withdraws_no_request_that_was_made_before_requests_were_told_apart(operator: Api) -> None:
    """A request from before this version counts as required, even where it was added."""
    added = ask(by=ALAN)
    with (
        without_trigger("approvals", "approvals_keep_their_question"),
        without_trigger("approvals", "approvals_complete_update"),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE approvals SET required = true WHERE id = %s", [added.pk])
    with nothing_moves():
        problem_of(asker("alan").post(where(added, "cancel"), {}), 403, "forbidden")
    assert operator.post(where(added, "cancel"), {}).status_code == 200
    assert task_of(added).status == "cancelled"


def test_an_agent_does_not_withdraw_what_another_one_requested() -> None:
    for asking in SUBJECTS.values():
        approval = asking()
        with nothing_moves():
            problem_of(asker("alan").post(where(approval, "cancel"), {}), 404, "not-found")
            problem_of(manager().post(where(approval, "cancel"), {}), 403, "forbidden")
            problem_of(Api(token("finn", "agent,auditor")).post(where(approval, "cancel"), {}), 403, "forbidden")


# Replacing.


def replacing(approval: Approval, **more: Any) -> dict[str, Any]:
    """The body that replaces a request by one to the board."""
    return body_of(approval, **{"replaces": str(approval.pk), "approver_role": "board", "reason": REASON, **more})


def board(name: str = "paul") -> Api:
    """An approver of the board."""
    return Api(token(name, "approver", "board"))


@each_subject
def test_an_operator_replaces_a_request_that_no_known_person_can_decide(asking: Asking, operator: Api) -> None:
    first = asking()
    answer = operator.post("/approvals", replacing(first))
    second = made_by(answer)
    assert (answer.json()["replaces"], answer.json()["action"]) == (str(first.pk), ACTION)
    cancelled = last_event(first.pk)
    assert (now(first).status, cancelled.reason) == ("cancelled", f"Replaced by {second.pk}.")
    assert (cancelled.cause, last_event(second.pk).reason) == (last_event(second.pk).pk, REASON)
    shown = board().post(where(second, "approve"), {}).json()
    assert (shown["status"], [one["outcome"] for one in shown["earlier"]]) == ("approved", ["cancelled"])
    problem_of(operator.post(where(second, "consume"), {"action": ACTION}), 403, "forbidden")
    assert asker().post(where(second, "consume"), {"action": ACTION}).status_code == 200


@each_subject
def test_only_an_operator_replaces_and_only_with_a_reason(asking: Asking, operator: Api) -> None:
    body = replacing(asking())
    with nothing_moves():
        for caller in (asker(), asker("alan"), Api(token("petra", "agent,approver,auditor", "finance,manager"))):
            problem_of(caller.post("/approvals", body), 403, "forbidden")
        for reason in ("", "  ", None):
            answer = operator.post("/approvals", {**body, "reason": reason})
            assert (answer.status_code, list(errors(answer))) == (400, ["reason"])
        answer = operator.post("/approvals", {**body, "reopens": body["replaces"]})
        assert (answer.status_code, list(errors(answer))) == (400, ["replaces"])


@each_subject
def test_a_replacement_is_of_the_same_subject_and_action_and_needs_as_many_people(
    asking: Asking, operator: Api
) -> None:
    first, elsewhere = asking(required_approvals=3), asking(by=ALAN, action=OTHER_ACTION)
    body = replacing(first, required_approvals=3)
    with nothing_moves():
        for wrong, field in (
            ({"required_approvals": 2}, "required_approvals"),
            ({"required_approvals": None}, "required_approvals"),
            ({"action": OTHER_ACTION}, "action"),
            ({"replaces": UNKNOWN_ID}, "replaces"),
        ):
            answer = operator.post("/approvals", {**body, **wrong})
            assert (answer.status_code, list(errors(answer))) == (400, [field]), wrong
        stranger = Api(token("olga", "operator", "", tenant="acme"))
        assert stranger.post("/approvals", body).status_code == 400
    if elsewhere.task_id or elsewhere.session_id:
        with nothing_moves():
            answer = operator.post("/approvals", {**body, "replaces": str(elsewhere.pk)})
        assert (answer.status_code, list(errors(answer))) == (400, ["replaces"])
    assert made_by(operator.post("/approvals", {**body, "required_approvals": 4}))


def test_a_replacement_takes_over_the_action_where_it_names_none(operator: Api) -> None:
    first = SUBJECTS["task"]()
    second = made_by(operator.post("/approvals", replacing(first, action=None)))
    assert (second.action, second.action_digest) == (first.action, first.action_digest)


def test_one_of_the_requests_of_several_roles_for_one_action_can_be_replaced_twice(operator: Api) -> None:
    asked = (question("manager", action=ACTION), question("cfo", action=ACTION))
    _, (first, other) = ask_at_creation(*asked)
    second = made_by(operator.post("/approvals", replacing(first)))
    third = made_by(operator.post("/approvals", replacing(second, approver_role="desk")))
    with nothing_moves():
        problem_of(operator.post("/approvals", replacing(third, approver_role="cfo")), 409, "already-requested")
    agree(other, "cora")
    assert task_of(third).status == "blocked"
    agree(third, "dora")
    assert task_of(third).status == "pending"
    used = asker("mona", agent_roles="manager").post(where(third, "consume"), {"action": ACTION})
    assert used.status_code == 200, used.content
    assert now(other).consumed_at is not None


@each_subject
@pytest.mark.parametrize("end", [agree, refuse, withdraw])
def test_what_is_settled_is_not_replaced(asking: Asking, end: Any, operator: Api) -> None:
    approval = end(asking())
    with nothing_moves():
        problem_of(operator.post("/approvals", replacing(approval)), 409, "illegal-transition")


@each_subject
def test_a_request_that_enough_known_people_can_decide_is_not_replaced(asking: Asking, operator: Api) -> None:
    first = asking(by=somebody("bella"), required_approvals=2)
    body = replacing(first, required_approvals=2)
    for name in ("petra", "bella"):
        known_person(name, "manager", "board")
    known_person("max", "manager")
    known_person("frank", "manager", roles=("agent", "auditor"))
    known_person("paul", "board")
    with nothing_moves():
        problem_of(operator.post("/approvals", body), 409, "still-decidable")
    # One of the two is cut off: too few are left.
    cut_off("max")
    assert made_by(operator.post("/approvals", body))


def test_linked_identities_are_one_person_who_can_decide(operator: Api) -> None:
    first = SUBJECTS["task"](required_approvals=2)
    for name in ("petra", "p.anders"):
        known_person(name, "manager")
    with nothing_moves():
        problem_of(operator.post("/approvals", replacing(first, required_approvals=2)), 409, "still-decidable")
    link("p.anders", "petra")
    assert made_by(operator.post("/approvals", replacing(first, required_approvals=2)))


def test_who_approved_already_is_among_those_who_can_decide(operator: Api) -> None:
    for name in ("petra", "max"):
        known_person(name, "manager")
    first = agree(SUBJECTS["task"](required_approvals=2))
    with nothing_moves():
        problem_of(operator.post("/approvals", replacing(first, required_approvals=2)), 409, "still-decidable")


@pytest.mark.parametrize("required", [True, False], ids=["required", "added"])
def test_the_end_of_a_chain_of_replacements_lets_the_task_go_on(required: bool, operator: Api) -> None:
    first = ask_at_creation(question(required_approvals=2))[1][0] if required else ask(required_approvals=2)
    second = made_by(operator.post("/approvals", replacing(first, required_approvals=2)))
    body = replacing(second, approver_role="desk", required_approvals=3)
    third = made_by(operator.post("/approvals", body))
    assert (third.required, third.blocks) == (required, True)
    assert (now(first).status, now(second).status, task_of(third).status) == ("cancelled", "cancelled", "blocked")
    agree(third, "paul", "dora")
    assert task_of(third).status == "blocked"
    agree(third, "nora")
    assert task_of(third).status == "pending"
    assert_chain_holds(task_of(third))


def test_a_replacement_is_as_required_as_what_it_replaces(operator: Api) -> None:
    _, (first,) = ask_at_creation(question())
    second = made_by(operator.post("/approvals", replacing(first)))
    with nothing_moves():
        problem_of(asker("alan").post(where(second, "cancel"), {}), 404, "not-found")
    assert operator.post(where(second, "cancel"), {}).status_code == 200
    assert task_of(second).status == "cancelled"


def test_the_replacement_of_a_request_that_held_nothing_up_holds_nothing_up(operator: Api) -> None:
    first = SUBJECTS["task"]()
    second = made_by(operator.post("/approvals", replacing(first)))
    assert (second.blocks, task_of(second).status) == (False, "active")
    refuse(second, "paul")
    assert task_of(second).status == "active"


@each_subject
def test_sql_replaces_by_nothing_weaker(beside: Beside, asking: Asking) -> None:
    first = asking(required_approvals=2)
    over, elsewhere = withdraw(ask_again(first, action={"step": 2})), asking(by=ALAN, action=OTHER_ACTION)
    whole = {"action_digest": first.action_digest, "replaces_id": first.pk, "approver_role": "board"}
    wrong: list[dict[str, Any]] = [
        {"required_approvals": 1},
        {"action_digest": bytes(32)},
        {"required": True},
        {"replaces_id": UNKNOWN_ID},
        {"replaces_id": over.pk, "action_digest": over.action_digest},
    ]
    if elsewhere.task_id or elsewhere.session_id:
        wrong.append({"replaces_id": elsewhere.pk, "action_digest": elsewhere.action_digest})
    for columns in wrong:
        with refused(beside, IntegrityConstraintViolation, "is no open request that it can replace"):
            born(beside, first, **{**whole, **columns})
    with refused(beside, IntegrityConstraintViolation, "is still open"):
        born(beside, first, **whole)
    with beside.transaction():
        born(beside, first, **whole)
        move(beside, now(first), status="cancelled")
    assert Approval.objects.filter(replaces=first).count() == 1


def test_sql_lets_a_task_go_on_by_the_replacement_of_its_request(beside: Beside) -> None:
    _, (first,) = ask_at_creation(question())
    second = ask_again(first, by=operator_actor(), replaces=first.pk, approver_role="board", reason=REASON)
    with refused(beside, IntegrityConstraintViolation, "waits for an approval"):
        move(beside, task_of(second), status="pending")
    with refused(beside, IntegrityConstraintViolation, "was not approved"):
        move(beside, second, status="cancelled")
        move(beside, task_of(second), status="pending")
    with beside.transaction():
        say(beside, second, "paul")
        move(beside, second, granted=1, status="approved")
        move(beside, task_of(second), status="pending")
    assert task_of(second).status == "pending"


# Where the directory knows all approvers.


@pytest.fixture
def directory(settings: Any) -> None:
    """All approvers have logged in to the admin."""
    settings.APPROVER_DIRECTORY = "people"


@pytest.mark.usefixtures("directory")
@each_subject
def test_a_request_that_too_few_known_people_can_decide_is_refused(asking: Asking) -> None:
    known_person("petra", "manager")
    known_person("alice", "manager")
    known_person("frank", "manager", roles=("agent", "operator"))
    first = asking()
    for more, known, needed in (
        ({"approver_role": "board"}, 0, 1),
        ({"action": OTHER_ACTION, "required_approvals": 2}, 1, 2),
    ):
        whole = body_of(first, **{"action": OTHER_ACTION, **more})
        with nothing_moves():
            said = problem_of(asker().post("/approvals", whole), 409, "no-approver")
        assert (said["known"], said["needed"]) == (known, needed)
    cut_off("petra")
    with nothing_moves():
        answer = asker().post("/approvals", body_of(first, action=OTHER_ACTION))
        assert problem_of(answer, 409, "no-approver")["known"] == 0


@pytest.mark.usefixtures("directory")
def test_a_task_with_such_a_request_is_not_created(agent: Api) -> None:
    known_person("petra", "manager")
    known_person("bella", "manager", "board")
    one, other = {"approver_role": "manager"}, {"approver_role": "board", "required_approvals": 2}
    body = {"task_type": "x", "to_role": "finance"}
    with nothing_moves():
        answer = agent.post("/tasks", {**body, "requires_approval": [one, other]})
        said = problem_of(answer, 409, "no-approver")
    assert (said["known"], said["needed"]) == (1, 2)
    assert agent.post("/tasks", {**body, "requires_approval": one}).status_code == 201
    # Bella cannot decide about a task of her own.
    bella = asker("bella")
    with nothing_moves():
        problem_of(bella.post("/tasks", {**body, "requires_approval": {"approver_role": "board"}}), 409, "no-approver")


def test_without_a_complete_directory_nothing_is_refused_for_that(agent: Api) -> None:
    body = {"approver_role": "board", "action": ACTION}
    assert made_by(agent.post("/approvals", body))
