"""POST /approvals/{id}/consume"""

from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

import pytest

from tests.api import Api, errors, token
from tests.sessions_app import task_calls, task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    SETTLED,
    SHORT,
    agent_for,
    agree,
    ask,
    ask_at_creation,
    asker,
    consume,
    manager,
    nothing_but_refused,
    nothing_moves,
    now,
    problem_of,
    question,
    task_of,
    where,
)
from tests.sessions_app.session_calls import UNKNOWN_ID, last_event, somebody
from tests.sessions_app.task_calls import lapse
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

BODY = {"action": ACTION}


def test_uses_what_was_agreed_to(agent: Api) -> None:
    approval = agree(ask(action=ACTION))
    answer = agent.post(where(approval, "consume"), BODY)
    assert answer.status_code == 200, answer.content
    said = answer.json()
    assert (said["status"], said["version"]) == ("approved", 3)
    assert said["consumed_at"] > said["decision_at"]
    assert answer.headers["ETag"] == '"3"'
    used = last_event(approval.pk)
    assert (used.event_type, used.from_status, used.to_status) == ("approval.consumed", "approved", "approved")
    assert used.metadata["changes"] == {"consumed_at": said["consumed_at"]}
    assert task_of(approval).status == "pending"
    assert_chain_holds(approval)


def test_once() -> None:
    approval = consume(agree(ask(action=ACTION)))
    with nothing_but_refused(("alice", "consume", "already-consumed")):
        answer = asker().post(where(approval, "consume"), BODY)
    assert "It was at 20" in problem_of(answer, 409, "already-consumed")["detail"]


def test_what_was_consumed_is_told_only_of_the_same_action() -> None:
    approval = consume(agree(ask(action=ACTION)))
    with nothing_but_refused(("alice", "consume", "action-mismatch")):
        answer = asker().post(where(approval, "consume"), {"action": {}})
    problem_of(answer, 409, "action-mismatch")


def test_the_holder_of_the_task_uses_it() -> None:
    task, (approval,) = ask_at_creation(question(action=ACTION))
    agree(approval)
    task_states.held(task)
    answer = asker("finn").post(where(approval, "consume"), BODY)
    assert answer.status_code == 200, answer.content
    assert last_event(approval.pk).actor_subject == "finn"


def test_whoever_asked_uses_it_whoever_holds_the_task() -> None:
    approval = agree(ask(task_states.active(), action=ACTION))
    assert asker().post(where(approval, "consume"), BODY).status_code == 200


def test_an_operator_who_asked_uses_it(operator: Api) -> None:
    operators = ask(by=somebody("olga"), action=ACTION)
    assert operator.post(where(agree(operators), "consume"), BODY).status_code == 200


def test_nobody_else_uses_it() -> None:
    approval = agree(ask(task_states.active(), action=ACTION))
    for subject, caller in (
        ("olga", Api(token("olga", "operator", ""))),
        ("petra", Api(token("petra", "approver,agent", "manager"))),
    ):
        with nothing_but_refused((subject, "consume", "forbidden")):
            answer = caller.post(where(approval, "consume"), BODY)
        problem_of(answer, 403, "forbidden")
    for caller in (asker("mona", agent_roles="manager"), asker("fred"), asker(tenant="acme")):
        with nothing_moves():
            answer = caller.post(where(approval, "consume"), BODY)
        problem_of(answer, 404, "not-found")


def test_whoever_asked_uses_it_as_an_agent_or_operator_alone() -> None:
    approval = agree(ask(action=ACTION))
    for roles in ("auditor", "approver", "approver,auditor"):
        with nothing_but_refused(("alice", "consume", "forbidden")):
            answer = Api(token("alice", roles, "manager")).post(where(approval, "consume"), BODY)
        problem_of(answer, 403, "forbidden")


def test_whoever_lost_the_lease_uses_nothing() -> None:
    task = task_states.active()
    tip = {"tip": 1}
    others = agree(ask(task, action=ACTION))
    own = agree(ask(task, by=somebody("finn"), action=tip))
    lapse(task)
    for approval, action in ((others, ACTION), (own, tip)):
        with nothing_but_refused(("finn", "consume", "forbidden")):
            answer = asker("finn").post(where(approval, "consume"), {"action": action})
        problem_of(answer, 403, "forbidden")


def test_whoever_holds_it_again_uses_what_they_asked_before() -> None:
    task, lease_token = task_states.held()
    approval = agree(ask(task, by=somebody("finn"), action=ACTION))
    finn = asker("finn")
    finn.post(f"/tasks/{task.pk}/release", {"lease_token": lease_token})
    with nothing_but_refused(("finn", "consume", "forbidden")):
        finn.post(where(approval, "consume"), BODY)
    task_states.held(task)
    assert finn.post(where(approval, "consume"), BODY).status_code == 200


def test_who_agreed_does_not_use_it_through_the_agent_that_asked_as_itself() -> None:
    approval = agree(ask(action=ACTION, by=somebody("bot")))
    through = Api(token("petra", act_subject="bot"))
    problem_of(through.post(where(approval, "consume"), {"action": ACTION}), 403, "forbidden")
    assert Api(token("bot")).post(where(approval, "consume"), {"action": ACTION}).status_code == 200


def test_an_agent_that_asked_for_a_person_uses_it_for_that_person_alone() -> None:
    approval = agree(ask(action=ACTION, by=agent_for("paula")))
    for other in (Api(token("bot")), Api(token("paul", act_subject="bot"))):
        problem_of(other.post(where(approval, "consume"), BODY), 403, "forbidden")
    assert Api(token("paula", act_subject="bot")).post(where(approval, "consume"), BODY).status_code == 200


def test_nothing_is_used_while_the_task_waits_for_others() -> None:
    _, (first, _) = ask_at_creation(question(action=ACTION), question("board"))
    agree(first)
    mona = asker("mona", agent_roles="manager")
    problem_of(mona.post(where(first, "consume"), {"action": ACTION}), 409, "illegal-transition")


def test_it_may_be_used_after_the_time_in_which_it_could_be_decided(agent: Api) -> None:
    approval = agree(ask(action=ACTION, lasting=SHORT))
    sleep(SHORT.total_seconds())
    answer = agent.post(where(approval, "consume"), BODY)
    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize("state", [state for state in SETTLED if state != "approved"])
def test_nothing_is_used_that_was_not_agreed_to(agent: Api, state: str) -> None:
    approval = SETTLED[state]()
    with nothing_moves():
        answer = agent.post(where(approval, "consume"), BODY)
    said = problem_of(answer, 409, "illegal-transition")
    # A task that waited is over with it, but for a request that was added and withdrawn.
    before = "cancelled" if state == "cancelled" else str(task_of(approval).status)
    assert (said["from"], said["to"], said["allowed"]) == (before, "consumed", [])


@pytest.mark.parametrize("state", ["pending", "rejected"])
def test_nothing_is_used_of_a_held_task_before_enough_agreed(agent: Api, state: str) -> None:
    approval = agree(ask(task_states.active(), action=ACTION, required_approvals=2))
    if state == "rejected":
        manager("max").post(where(approval, "reject"), {})
    with nothing_moves():
        answer = agent.post(where(approval, "consume"), BODY)
    said = problem_of(answer, 409, "illegal-transition")
    assert (said["from"], said["to"]) == (state, "consumed")


def test_nothing_is_used_once_the_task_is_over(agent: Api) -> None:
    approval = agree(ask(action=ACTION))
    task_states.completed(task_of(approval))
    with nothing_moves():
        answer = agent.post(where(approval, "consume"), BODY)
    assert problem_of(answer, 409, "illegal-transition")["from"] == "completed"
    assert now(approval).status == "approved"


def test_nothing_is_used_past_the_deadline_of_the_task(agent: Api) -> None:
    task = task_calls.routed(deadline=datetime.now(UTC) + timedelta(days=1))
    approval = agree(ask(task, action=ACTION))
    task_calls.pass_deadline(task)
    with nothing_but_refused(("alice", "consume", "deadline-exceeded")):
        answer = agent.post(where(approval, "consume"), BODY)
    problem_of(answer, 409, "deadline-exceeded")


def test_nothing_is_used_of_an_approval_for_no_action(agent: Api) -> None:
    approval = agree(ask())
    for action in ({}, ACTION):
        with nothing_but_refused(("alice", "consume", "action-mismatch")):
            answer = agent.post(where(approval, "consume"), {"action": action})
        problem_of(answer, 409, "action-mismatch")


SAME: dict[str, bytes] = {
    "as it came": b'{"pay": "Hansen Tools", "amount": 48000, "currency": "EUR"}',
    "in another order": b'{"currency": "EUR", "amount": 48000, "pay": "Hansen Tools"}',
    "with another number of the same value": b'{"pay": "Hansen Tools", "amount": 48000.0, "currency": "EUR"}',
    "with an exponent": b'{"pay": "Hansen Tools", "amount": 4.8e4, "currency": "EUR"}',
    "with escapes and white space": b'{ "p\\u0061y":"Hansen\\u0020Tools" , "amount":48000 ,\n"currency":"EUR" }',
}
OTHERS: dict[str, Any] = {
    "another amount": {**ACTION, "amount": 48_001},
    "another sign": {**ACTION, "amount": -48_000},
    "a number as a text": {**ACTION, "amount": "48000"},
    "more": {**ACTION, "note": ""},
    "more that is null": {**ACTION, "note": None},
    "less": {"pay": "Hansen Tools", "amount": 48_000},
    "another case": {**ACTION, "currency": "eur"},
    "a text that looks the same": {**ACTION, "pay": "Hansen\u00a0Tools"},
    "a letter composed otherwise": {**ACTION, "pay": "Hanse\u0301n Tools"},
    "nothing": {},
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_action_is_the_same_however_it_is_written(agent: Api, name: str) -> None:
    approval = agree(ask(action=ACTION))
    answer = agent.send_raw("POST", where(approval, "consume"), b'{"action": %b}' % SAME[name])
    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize("name", OTHERS)
def test_another_action_is_not_what_was_agreed_to(agent: Api, name: str) -> None:
    approval = agree(ask(action=ACTION))
    with nothing_but_refused(("alice", "consume", "action-mismatch")):
        answer = agent.post(where(approval, "consume"), {"action": OTHERS[name]})
    problem_of(answer, 409, "action-mismatch")
    assert now(approval).consumed_at is None


def test_order_in_a_list_counts(agent: Api) -> None:
    approval = agree(ask(action={"steps": ["pay", "ship"]}))
    answer = agent.post(where(approval, "consume"), {"action": {"steps": ["ship", "pay"]}})
    problem_of(answer, 409, "action-mismatch")


@pytest.mark.parametrize("action", [None, [], "pay", 1])
def test_refuses_an_action_that_is_no_object(agent: Api, action: Any) -> None:
    approval = agree(ask(action=ACTION))
    with nothing_moves():
        answer = agent.post(where(approval, "consume"), {"action": action})
    assert (answer.status_code, list(errors(answer))) == (400, ["action"])


def test_refuses_a_body_without_an_action(agent: Api) -> None:
    approval = agree(ask(action=ACTION))
    nothing: tuple[Any, ...] = ({}, None)
    for body in nothing:
        with nothing_moves():
            answer = agent.post(where(approval, "consume"), body)
        assert answer.status_code == 400, answer.content


def test_uses_the_version_that_was_seen(agent: Api) -> None:
    approval = agree(ask(action=ACTION))
    with nothing_moves():
        answer = agent.post(where(approval, "consume"), BODY, If_Match='"1"')
    assert problem_of(answer, 412, "precondition-failed")["current_version"] == 2
    assert agent.post(where(approval, "consume"), BODY, If_Match='"2"').status_code == 200


def test_the_same_key_uses_it_once(agent: Api) -> None:
    approval = agree(ask(action=ACTION))
    first = agent.post(where(approval, "consume"), BODY, Idempotency_Key="use-1")
    with nothing_moves():
        again = agent.post(where(approval, "consume"), BODY, Idempotency_Key="use-1")
    assert (again.status_code, again.json()) == (200, first.json())


def test_there_is_no_approval_that_was_never_asked(agent: Api) -> None:
    problem_of(agent.post(f"/approvals/{UNKNOWN_ID}/consume", BODY), 404, "not-found")
    assert agent.post("/approvals/1/consume", BODY).status_code == 400
