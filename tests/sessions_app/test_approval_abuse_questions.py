"""What people might try by asking again: after a no, beside an open request, beside a grant, or very often."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg.errors import IntegrityConstraintViolation

from sessions_app.models import Approval, Task
from tests.api import Api, errors, token
from tests.sessions_app import task_states
from tests.sessions_app.agreement_calls import (
    OTHER_ACTION,
    SUBJECTS,
    Asking,
    ask_again,
    body_of,
    each_subject,
    made_by,
    operator_actor,
    retry,
)
from tests.sessions_app.approval_calls import (
    ACTION,
    PAST,
    agent_for,
    agree,
    ask,
    ask_at_creation,
    ask_for_action,
    asker,
    consume,
    expire,
    lapse_grant,
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
from tests.sessions_app.approval_sql import Beside, born, move, refused
from tests.sessions_app.session_calls import UNKNOWN_ID, last_event, session_in, somebody

pytestmark = pytest.mark.django_db(transaction=True)

REASON = "There are new facts."


# A no stands.


def earlier_of(approval: Approval) -> dict[str, Any]:
    """How a rejection by petra is shown with later requests."""
    shown = asker().get(where(approval)).json()
    return {
        "approval_id": str(approval.pk),
        "outcome": "rejected",
        "approver_role": "manager",
        "deciders": ["local|petra"],
        "comments": "Too dear.",
        "at": shown["decision_at"],
    }


def rejected_by(asking: Asking, **question: Any) -> Approval:
    """A request of alice's that petra rejected."""
    return refuse(asking(**question), comments="Too dear.")


@each_subject
def test_the_same_question_is_not_asked_again_after_a_rejection(beside: Beside, asking: Asking) -> None:
    rejected = rejected_by(asking)
    whole = body_of(rejected)
    for more in ({}, {"reason": "Please."}, {"required_approvals": 2}, {"expires_in_seconds": 60}):
        with nothing_moves():
            answer = asker().post("/approvals", {**whole, **more})
        said = problem_of(answer, 409, "already-rejected")
        assert (said["approval_id"], said["rejected"]) == (str(rejected.pk), earlier_of(rejected))
    like = ask_again(rejected, action={"step": 2})
    with refused(beside, IntegrityConstraintViolation, f"already-rejected by approval {rejected.pk}"):
        born(beside, like, action_digest=rejected.action_digest)


@pytest.mark.parametrize("kind", ["task", "session"])
def test_nor_by_another_agent_about_the_same_task_or_session(kind: str) -> None:
    rejected = rejected_by(SUBJECTS[kind])
    with nothing_moves():
        problem_of(asker("alan").post("/approvals", body_of(rejected)), 409, "already-rejected")
        operator = Api(token("olga", "operator", ""))
        problem_of(operator.post("/approvals", body_of(rejected)), 409, "already-rejected")


def test_a_question_to_a_task_without_an_action_stays_rejected_too() -> None:
    rejected = refuse(ask(task_states.active()))
    with nothing_moves():
        problem_of(asker().post("/approvals", body_of(rejected)), 409, "already-rejected")
    assert made_by(asker().post("/approvals", body_of(rejected, action=ACTION)))


def test_the_question_of_another_requester_alone_is_another_question() -> None:
    rejected = rejected_by(SUBJECTS["alone"])
    for caller in (asker("alan"), asker("alice", act_subject="bot"), asker("alan", act_subject="alice")):
        assert made_by(caller.post("/approvals", body_of(rejected)))


@each_subject
def test_another_role_or_another_action_may_be_asked_after_a_rejection(asking: Asking) -> None:
    rejected = rejected_by(asking)
    assert made_by(asker().post("/approvals", body_of(rejected, action=OTHER_ACTION)))
    other_role = made_by(asker().post("/approvals", body_of(rejected, approver_role="board")))
    shown = Api(token("paul", "approver", "board")).get(where(other_role)).json()["earlier"]
    assert [one["approval_id"] for one in shown] == [str(rejected.pk)]


@each_subject
def test_an_operator_reopens_it_and_those_who_decide_see_the_no(asking: Asking, operator: Api) -> None:
    rejected = rejected_by(asking)
    answer = operator.post("/approvals", body_of(rejected, reopens=str(rejected.pk), reason=REASON))
    reopened = made_by(answer)
    assert (answer.json()["reopens"], answer.json()["requested_by"]) == (str(rejected.pk), "local|olga")
    assert (last_event(reopened.pk).reason, now(rejected).status) == (REASON, "rejected")
    for shown in (
        manager("max").get(where(reopened)).json(),
        *manager("max").get("/approvals?assignee=me").json()["approvals"],
        operator.get(where(reopened)).json(),
        manager("max").post(where(reopened, "approve"), {}).json(),
    ):
        assert shown["earlier"] == [earlier_of(rejected)]


@each_subject
def test_the_first_requester_consumes_what_was_reopened_and_the_operator_does_not(
    asking: Asking, operator: Api
) -> None:
    rejected = rejected_by(asking)
    body = body_of(rejected, reopens=str(rejected.pk), reason=REASON)
    reopened = agree(made_by(operator.post("/approvals", body)), "max")
    problem_of(operator.post(where(reopened, "consume"), {"action": ACTION}), 403, "forbidden")
    assert asker().post(where(reopened, "consume"), {"action": ACTION}).status_code == 200


@each_subject
def test_only_an_operator_reopens_and_only_with_a_reason(asking: Asking, operator: Api) -> None:
    rejected = rejected_by(asking)
    body = body_of(rejected, reopens=str(rejected.pk))
    with nothing_moves():
        for caller in (asker(), asker("alan"), Api(token("petra", "agent,approver,auditor", "finance,manager"))):
            problem_of(caller.post("/approvals", {**body, "reason": REASON}), 403, "forbidden")
        for reason in ({}, {"reason": None}, {"reason": ""}, {"reason": "  "}):
            answer = operator.post("/approvals", {**body, **reason})
            assert (answer.status_code, list(errors(answer))) == (400, ["reason"])


@each_subject
def test_a_rejection_is_reopened_for_its_own_role_action_and_subject(asking: Asking, operator: Api) -> None:
    rejected = rejected_by(asking, required_approvals=2)
    elsewhere = rejected_by(asking, by=somebody("alan"), action=OTHER_ACTION)
    body = body_of(rejected, reopens=str(rejected.pk), reason=REASON, required_approvals=2)
    with nothing_moves():
        for wrong in (
            {"approver_role": "board"},
            {"action": OTHER_ACTION},
            {"reopens": UNKNOWN_ID},
            {"reopens": str(elsewhere.pk)},
        ):
            answer = operator.post("/approvals", {**body, **wrong})
            assert (answer.status_code, list(errors(answer))) == (400, ["reopens"]), wrong
        for fewer in (0, 1):
            answer = operator.post("/approvals", {**body, "required_approvals": fewer})
            assert list(errors(answer)) == ["required_approvals"]
        stranger = Api(token("olga", "operator", "", tenant="acme"))
        assert stranger.post("/approvals", body).status_code == 400


def _open(approval: Approval) -> Approval:
    return approval


@each_subject
@pytest.mark.parametrize("make", [_open, agree, withdraw], ids=["open", "granted", "cancelled"])
def test_only_a_rejection_is_reopened(asking: Asking, make: Callable[[Approval], Approval], operator: Api) -> None:
    approval = make(asking())
    with nothing_moves():
        answer = operator.post("/approvals", body_of(approval, reopens=str(approval.pk), reason=REASON))
    assert (answer.status_code, list(errors(answer))) == (400, ["reopens"])


@each_subject
def test_it_is_reopened_once_and_a_second_no_stands_in_its_turn(asking: Asking, operator: Api) -> None:
    rejected = rejected_by(asking)
    body = body_of(rejected, reopens=str(rejected.pk), reason=REASON)
    reopened = made_by(operator.post("/approvals", body))
    with nothing_moves():
        answer = operator.post("/approvals", body)
    assert problem_of(answer, 409, "already-requested")["approval_id"] == str(reopened.pk)
    refuse(reopened, "max", comments="Still too dear.")
    with nothing_moves():
        said = problem_of(operator.post("/approvals", body), 409, "already-rejected")
        assert said["approval_id"] == str(reopened.pk)
        said = problem_of(asker().post("/approvals", body_of(rejected)), 409, "already-rejected")
        assert said["approval_id"] == str(reopened.pk)
    again = made_by(operator.post("/approvals", {**body, "reopens": str(reopened.pk)}))
    shown = manager("nora").get(where(again)).json()["earlier"]
    assert [(one["deciders"], one["comments"]) for one in shown] == [
        (["local|max"], "Still too dear."),
        (["local|petra"], "Too dear."),
    ]
    problem_of(asker().post(where(agree(again, "nora"), "consume"), {"action": {}}), 409, "action-mismatch")
    assert asker().post(where(again, "consume"), {"action": ACTION}).status_code == 200


def test_a_retry_reopens_what_was_rejected_and_shows_the_no() -> None:
    rejected = rejected_by(lambda **more: ask_at_creation(question(**more))[1][0])
    again = retry(task_of(rejected))
    asked = Approval.objects.get(task=again)
    assert asked.reopens_id == rejected.pk
    (shown,) = manager("max").get(where(asked)).json()["earlier"]
    assert (shown["approval_id"], shown["deciders"]) == (str(rejected.pk), ["local|petra"])


@each_subject
def test_sql_reopens_a_rejection_of_the_same_question_alone(beside: Beside, asking: Asking) -> None:
    rejected = rejected_by(asking, required_approvals=2)
    elsewhere = rejected_by(asking, by=somebody("alan"), action=OTHER_ACTION)
    granted = agree(ask_again(rejected, action={"step": 2}))
    like = withdraw(ask_again(rejected, action={"step": 3}, required_approvals=2))
    digest = {"status": "pending", "action_digest": rejected.action_digest}
    for reopens, columns in (
        (elsewhere, digest),
        (granted, digest),
        (rejected, {**digest, "action_digest": granted.action_digest, "approver_role": "board"}),
        (rejected, {**digest, "approver_role": "board"}),
        (rejected, {**digest, "required_approvals": 1}),
    ):
        with refused(beside, IntegrityConstraintViolation, "is no rejection of the same question"):
            born(beside, like, reopens_id=reopens.pk, **columns)
    with refused(beside, IntegrityConstraintViolation, f"already-rejected by approval {rejected.pk}"):
        born(beside, like, **digest)
    with beside.transaction():
        born(beside, like, reopens_id=rejected.pk, **digest)
    assert Approval.objects.filter(reopens=rejected).count() == 1
    with refused(beside, IntegrityConstraintViolation, "already-requested by approval"):
        born(beside, like, reopens_id=rejected.pk, **digest)


# One live grant per act.


@each_subject
@pytest.mark.parametrize("state", ["open", "granted"])
def test_one_act_has_one_live_request(beside: Beside, asking: Asking, state: str) -> None:
    first = asking() if state == "open" else agree(asking())
    callers = [asker()] if first.task_id is first.session_id is None else [asker(), asker("alan")]
    for caller in callers:
        for more in ({}, {"approver_role": "board"}, {"required_approvals": 2}):
            with nothing_moves():
                answer = caller.post("/approvals", body_of(first, **more))
            assert problem_of(answer, 409, "already-requested")["approval_id"] == str(first.pk)
    like = ask_again(first, action={"step": 2})
    with refused(beside, IntegrityConstraintViolation, f"already-requested by approval {first.pk}"):
        born(beside, like, action_digest=first.action_digest)


OVER: dict[str, Callable[[Asking], Approval]] = {
    "consumed": lambda asking: consume(agree(asking())),
    "lapsed": lambda asking: _lapsed(agree(asking())),
    "cancelled": lambda asking: withdraw(asking()),
    "expired": lambda asking: expire(asking(lasting=PAST)),
    "past its time": lambda asking: asking(lasting=PAST),
}


def _lapsed(approval: Approval) -> Approval:
    lapse_grant(approval)
    return approval


@each_subject
@pytest.mark.parametrize("end", OVER)
def test_an_act_may_be_requested_again_once_the_request_is_over(asking: Asking, end: str) -> None:
    first = OVER[end](asking)
    again = made_by(asker().post("/approvals", body_of(first)))
    assert agree(again, "max").status == "approved"
    with nothing_moves():
        problem_of(asker().post("/approvals", body_of(first)), 409, "already-requested")


def test_another_subject_another_action_and_a_bare_task_are_other_acts() -> None:
    for asking in SUBJECTS.values():
        first = asking()
        assert ask_again(first, action=OTHER_ACTION).status == "pending"
        assert asking(by=somebody("alan")).status == "pending"
    first = ask(task_states.active())
    assert ask_again(first).status == "pending"


def test_two_roles_for_one_action_of_a_task_are_used_together_and_once() -> None:
    both = [question(role, action=ACTION) for role in ("manager", "cfo")]
    task, (one, other) = ask_at_creation(*both)
    mona, body = asker("mona", agent_roles="manager"), {"action": ACTION}
    agree(one)
    with nothing_moves():
        problem_of(mona.post(where(one, "consume"), body), 409, "illegal-transition")
    agree(other, "max")
    assert mona.post(where(one, "consume"), body).status_code == 200
    assert now(other).consumed_at == now(one).consumed_at is not None
    assert last_event(other.pk).cause == last_event(one.pk).pk
    problem_of(mona.post(where(other, "consume"), body), 409, "already-consumed")
    assert Task.objects.get(pk=task.pk).status == "pending"


def test_sql_uses_two_grants_for_one_action_together(beside: Beside) -> None:
    _, (one, other) = ask_at_creation(question(action=ACTION), question("cfo", action=ACTION))
    one, other, at = agree(one), agree(other, "max"), last_event(other.pk).timestamp
    with refused(beside, IntegrityConstraintViolation, f"approval {other.pk} grants the same action"):
        move(beside, now(one), consumed_at=at + timedelta(seconds=1))
    with beside.transaction():
        for row in (now(one), now(other)):
            move(beside, row, consumed_at=at + timedelta(seconds=1))
    assert now(one).consumed_at == now(other).consumed_at is not None


def test_sql_adds_no_second_role_to_an_action_later(beside: Beside) -> None:
    """Only the requests with which a task is created may share an action."""
    _, (one,) = ask_at_creation(question(action=ACTION))
    for columns in ({"approver_role": "cfo"}, {"approver_role": "cfo", "required": False}):
        later = {"created_at": one.created_at + timedelta(seconds=1), **columns}
        with refused(beside, IntegrityConstraintViolation, f"already-requested by approval {one.pk}"):
            born(beside, one, action_digest=one.action_digest, **later)


@pytest.mark.parametrize("more", [{}, {"required_approvals": 2}, {"reason": "Twice."}], ids=str)
def test_one_role_is_not_asked_twice_for_one_action_at_creation(agent: Api, more: dict[str, Any]) -> None:
    one = {"approver_role": "manager", "action": ACTION}
    body = {"task_type": "x", "to_role": "finance", "requires_approval": [one, {**one, **more}]}
    with nothing_moves():
        answer = agent.post("/tasks", body)
    assert (answer.status_code, list(errors(answer))) == (400, ["requires_approval"])


# The limit of open requests.

LIMITS = {"task": 20, "session": 20, "alone": 100}


@pytest.mark.parametrize("kind", LIMITS)
def test_so_many_requests_are_open_and_no_more(beside: Beside, kind: str) -> None:
    first, most = SUBJECTS[kind](), LIMITS[kind]
    for step in range(1, most):
        last = ask_again(first, action={"step": step})
    whole = body_of(first, action={"step": most})
    with nothing_moves():
        said = problem_of(asker().post("/approvals", whole), 409, "too-many-open-approvals")
        if kind != "alone":
            problem_of(asker("alan").post("/approvals", whole), 409, "too-many-open-approvals")
    assert said["limit"] == most
    with refused(beside, IntegrityConstraintViolation, "too many open requests"):
        born(beside, last, action_digest=uuid4().bytes * 2)
    # Another subject has a limit of its own, and a settled request counts no more.
    assert SUBJECTS[kind](by=agent_for("alice", "bot"))
    withdraw(last)
    assert made_by(asker().post("/approvals", whole))
    with nothing_moves():
        problem_of(asker().post("/approvals", {**whole, "action": {"step": -1}}), 409, "too-many-open-approvals")


def test_requests_in_a_session_do_not_count_for_the_requester_alone() -> None:
    session = session_in("active")
    for step in range(20):
        ask_for_action({"step": step}, session)
    assert ask_for_action().status == "pending"
    assert ask(task_states.active()).status == "pending"


def test_a_full_task_can_still_have_a_request_replaced() -> None:
    first = SUBJECTS["task"]()
    for step in range(1, 20):
        ask_again(first, action={"step": step})
    assert ask_again(first, by=operator_actor(), replaces=first.pk, reason=REASON).status == "pending"
