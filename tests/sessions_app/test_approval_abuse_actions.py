"""What people might try with approvals of an action without a task: it has no effect but its grant."""

from functools import partial
from time import sleep

import pytest
from psycopg.errors import CheckViolation, IntegrityConstraintViolation, RestrictViolation

from orchestrator import boundary
from sessions_app.duties import EXPIRE_SESSIONS
from sessions_app.models import Attempt, Session, Task
from sessions_app.sweeping import sweep
from sessions_app.transitions import session as sessions
from tests.api import Api, errors, token
from tests.sessions_app import task_states
from tests.sessions_app.agreement_calls import ACTIONS, Asking, body_of, each_action, end_session, made_by
from tests.sessions_app.approval_calls import (
    ACTION,
    SHORT,
    agent_for,
    agree,
    ask,
    ask_for_action,
    asker,
    consume,
    manager,
    nothing_but_refused,
    nothing_moves,
    now,
    problem_of,
    refuse,
    where,
)
from tests.sessions_app.approval_sql import Beside, born, move, refused, say
from tests.sessions_app.session_calls import UNKNOWN_ID, last_event, session_in, somebody
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

BODY = {"action": ACTION}
BARE = {"approver_role": "manager", "action": ACTION}
OVER = "is over, or of another tenant"


def short_session() -> Session:
    """A session of alice's whose time passes soon."""
    session = session_in("active")
    return boundary.write(partial(sessions.amend, session, actor=somebody(), lasting=SHORT))


@pytest.mark.parametrize("kind", ACTIONS)
def test_an_action_is_requested_waited_for_approved_and_consumed_and_leaves_no_work(agent: Api, kind: str) -> None:
    session = session_in("active")
    within = {"session_id": str(session.pk)} if kind == "session" else {}
    answer = agent.post("/approvals", {**BARE, **within, "reason": "Above the limit."})
    approval = made_by(answer)
    said = answer.json()
    assert (said["kind"], said["task_id"], said["session_id"]) == ("action", None, within.get("session_id"))
    waits = agent.get(f"{where(approval)}?wait=1&version=1")
    assert (waits.status_code, waits.json()["status"]) == (200, "pending")
    assert manager().post(where(approval, "approve"), {"comments": "Fine."}).json()["status"] == "approved"
    granted = agent.get(f"{where(approval)}?wait=5&version=1")
    assert (granted.json()["status"], granted.json()["consumed_at"]) == ("approved", None)
    assert agent.post(where(approval, "consume"), BODY).json()["consumed_at"] is not None
    assert agent.post("/tasks/claim", {"max": 10}).json() == {"tasks": []}
    assert not Task.objects.exists()
    assert not Attempt.objects.exists()
    assert Session.objects.get(pk=session.pk).version == session.version
    assert_chain_holds(approval)
    tried = ("alice", "consume", "already-consumed")
    with nothing_but_refused(tried):
        problem_of(agent.post(where(approval, "consume"), BODY), 409, "already-consumed")


@each_action
def test_the_outcome_moves_nothing_else(asking: Asking) -> None:
    for decide in (agree, refuse):
        approval = decide(asking(action={"step": decide.__name__}))
        assert not approval.blocks
        assert not Task.objects.exists()
        assert set(Session.objects.values_list("status", flat=True)) <= {"active"}


@each_action
def test_only_the_requester_consumes(asking: Asking) -> None:
    approval = agree(asking())
    for name, caller in (
        ("olga", Api(token("olga", "operator", ""))),
        ("petra", Api(token("petra", "approver,agent", "manager"))),
    ):
        with nothing_but_refused((name, "consume", "forbidden")):
            problem_of(caller.post(where(approval, "consume"), BODY), 403, "forbidden")
    with nothing_moves():
        for stranger in (asker("frank"), asker("alice", act_subject="bot"), asker(tenant="acme")):
            problem_of(stranger.post(where(approval, "consume"), BODY), 404, "not-found")
    assert asker().post(where(approval, "consume"), BODY).status_code == 200


@each_action
def test_an_agent_that_requested_for_a_person_consumes_for_that_person_alone(asking: Asking) -> None:
    approval = agree(asking(by=agent_for("paula")))
    for name, other in (("bot", asker("bot")), ("bot", asker("paul", act_subject="bot"))):
        with nothing_but_refused((name, "consume", "forbidden")):
            problem_of(other.post(where(approval, "consume"), BODY), 403, "forbidden")
    assert asker("paula", act_subject="bot").post(where(approval, "consume"), BODY).status_code == 200


@each_action
def test_consume_of_an_action_that_was_not_approved(asking: Asking) -> None:
    waiting, rejected = asking(), refuse(asking(action={"other": 1}))
    with nothing_moves():
        problem_of(asker().post(where(waiting, "consume"), BODY), 409, "illegal-transition")
        problem_of(asker().post(where(rejected, "consume"), {"action": {"other": 1}}), 409, "illegal-transition")
    granted = agree(waiting)
    with nothing_but_refused(("alice", "consume", "action-mismatch")):
        problem_of(asker().post(where(granted, "consume"), {"action": {}}), 409, "action-mismatch")


# What is asked.


def test_a_request_without_a_task_names_its_action(agent: Api) -> None:
    session = session_in("active")
    for body in (
        {"approver_role": "manager"},
        {"approver_role": "manager", "action": None},
        {"approver_role": "manager", "session_id": str(session.pk)},
    ):
        with nothing_moves():
            answer = agent.post("/approvals", body)
        assert (answer.status_code, list(errors(answer))) == (400, ["action"])


def test_a_request_is_about_a_task_or_in_a_session(agent: Api) -> None:
    body = {**BARE, "task_id": str(task_states.pending().pk), "session_id": str(session_in("active").pk)}
    with nothing_moves():
        answer = agent.post("/approvals", body)
    assert (answer.status_code, list(errors(answer))) == (400, ["session_id"])


def test_a_request_in_a_session_needs_the_right_to_move_it(agent: Api) -> None:
    session = session_in("active")
    for caller in (asker("rita", agent_roles="research"), asker(tenant="acme")):
        with nothing_moves():
            answer = caller.post("/approvals", {**BARE, "session_id": str(session.pk)})
        assert (answer.status_code, list(errors(answer))) == (400, ["session_id"])
    with nothing_moves():
        answer = Api(token("audra", "agent,auditor", "research")).post(
            "/approvals", {**BARE, "session_id": str(session.pk)}
        )
        problem_of(answer, 403, "forbidden")
        answer = agent.post("/approvals", {**BARE, "session_id": UNKNOWN_ID})
    assert (answer.status_code, list(errors(answer))) == (400, ["session_id"])


@pytest.mark.parametrize("roles", ["approver", "auditor", "approver,auditor"])
def test_only_agents_and_operators_request(roles: str) -> None:
    with nothing_moves():
        problem_of(Api(token("petra", roles, "manager")).post("/approvals", BARE), 403, "forbidden")


def test_a_decision_by_task_finds_no_request_about_an_action() -> None:
    task, approval = task_states.pending(), ask_for_action()
    with nothing_moves():
        body = {"task_id": str(task.pk), "decision": "approved"}
        problem_of(
            Api(token("petra", "approver,auditor", "manager")).post("/approvals", body), 409, "no-pending-approval"
        )
    assert now(approval).status == "pending"


# The end of the session.


@pytest.mark.parametrize("state", ["completed", "failed", "expired"])
def test_the_end_of_its_session_cancels_it(state: str) -> None:
    approval = ask_for_action(session=session_in("active"))
    beside, bare = ask_for_action(session=session_in("active")), ask_for_action()
    end_session(approval.session_id, state)
    cancelled, ended = last_event(approval.pk), last_event(approval.session_id or "")
    assert now(approval).status == "cancelled"
    assert (cancelled.reason, cancelled.cause) == ("Its session is over.", ended.pk)
    assert (now(beside).status, now(bare).status) == ("pending", "pending")
    with nothing_but_refused(("petra", "approve", "illegal-transition")):
        problem_of(manager().post(where(approval, "approve"), {}), 409, "illegal-transition")
    assert_chain_holds(approval)


def test_the_expiry_of_its_session_cancels_it() -> None:
    approval = ask_for_action(session=short_session())
    sleep(SHORT.total_seconds())
    assert sweep(EXPIRE_SESSIONS).moved == 1
    assert (now(approval).status, last_event(approval.pk).reason) == ("cancelled", "Its session is over.")


def test_a_session_past_its_time_is_over_before_any_sweep() -> None:
    session = short_session()
    granted, waiting = agree(ask_for_action(session=session)), ask_for_action({"step": 2}, session)
    sleep(SHORT.total_seconds())
    with nothing_but_refused(*[("petra", verb, "illegal-transition") for verb in ("approve", "reject")]):
        for verb in ("approve", "reject"):
            problem_of(manager().post(where(waiting, verb), {}), 409, "illegal-transition")
    with nothing_moves():
        problem_of(asker().post(where(granted, "consume"), BODY), 409, "illegal-transition")
        answer = asker().post("/approvals", {**body_of(waiting), "action": {"step": 3}})
        problem_of(answer, 409, "session-expired")
    assert manager().get("/approvals?assignee=me").json()["approvals"] == []


def test_what_was_granted_is_not_consumed_once_its_session_is_over() -> None:
    approval = agree(ask_for_action(session=session_in("active")))
    end_session(approval.session_id)
    with nothing_moves():
        answer = asker().post(where(approval, "consume"), BODY)
    assert problem_of(answer, 409, "illegal-transition")["from"] == "completed"
    assert now(approval).status == "approved"


@pytest.mark.parametrize("state", ["completed", "failed", "expired"])
def test_nothing_is_requested_in_a_session_that_is_over(agent: Api, state: str) -> None:
    body = {**BARE, "session_id": str(session_in(state).pk)}
    with nothing_moves():
        problem_of(agent.post("/approvals", body), 409, "illegal-transition")


# Who sees it.


@each_action
def test_its_requester_its_approvers_auditors_and_operators_see_it(asking: Asking) -> None:
    approval = asking()
    for caller, status in (
        (asker(), 200),
        (manager(), 200),
        (Api(token("otto", "auditor")), 200),
        (Api(token("olga", "operator", "")), 200),
        (asker("frank"), 404),
        (Api(token("paul", "approver", "board")), 404),
        (manager(tenant="acme"), 404),
    ):
        assert caller.get(where(approval)).status_code == status


def test_a_session_s_requests_are_listed_by_its_id(agent: Api) -> None:
    session = session_in("active")
    first, second = ask_for_action(session=session), ask_for_action({"step": 2}, session)
    ask_for_action()
    ask()
    listed = agent.get(f"/approvals?session_id={session.pk}").json()["approvals"]
    assert [one["approval_id"] for one in listed] == [str(second.pk), str(first.pk)]


# In plain SQL.


def test_sql_makes_no_request_in_a_session_that_is_over(beside: Beside) -> None:
    approval = ask_for_action(session=session_in("active"))
    end_session(approval.session_id)
    with refused(beside, IntegrityConstraintViolation, OVER):
        born(beside, approval)


def test_sql_makes_no_request_in_a_session_of_another_tenant(beside: Beside) -> None:
    approval = ask_for_action(session=session_in("active"))
    with refused(beside, IntegrityConstraintViolation, OVER):
        born(beside, approval, tenant="acme")


def test_sql_consumes_nothing_once_its_session_is_over(beside: Beside) -> None:
    approval = agree(ask_for_action(session=session_in("active")))
    end_session(approval.session_id)
    with refused(beside, IntegrityConstraintViolation, "is over, or waits for others"):
        move(beside, approval, consumed_at="2026-01-01T00:00Z")


@each_action
def test_sql_consumes_once_and_after_agreement(beside: Beside, asking: Asking) -> None:
    approval = asking(required_approvals=2)
    with refused(beside, CheckViolation, "approvals_consumed"):
        move(beside, approval, consumed_at="2026-01-01T00:00Z")
    consumed = consume(agree(approval, "petra", "max"))
    with refused(beside, RestrictViolation, "is consumed once"):
        move(beside, consumed, consumed_at=None)


@each_action
def test_sql_decides_what_the_api_decides(beside: Beside, asking: Asking) -> None:
    approval = asking()
    with beside.transaction():
        say(beside, approval)
        move(beside, approval, granted=1, status="approved")
    assert now(approval).status == "approved"
    other = asking(action={"step": 2})
    with refused(beside, IntegrityConstraintViolation, "is not what was decided"):
        move(beside, other, granted=1, status="approved")
