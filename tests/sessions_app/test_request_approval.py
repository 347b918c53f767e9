"""POST /approvals without a decision: somebody asks."""

import hashlib
from datetime import datetime, timedelta
from typing import Any

import pytest

from sessions_app.models import Approval, Task
from tests.api import Api, errors, token
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    OPEN,
    agree,
    ask,
    asker,
    manager,
    nothing_moves,
    problem_of,
    task_of,
    where,
)
from tests.sessions_app.session_calls import UNKNOWN_ID, events_of, somebody
from tests.sessions_app.task_calls import lapse
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)


def body(task: Task, **more: Any) -> dict[str, Any]:
    return {"task_id": str(task.pk), "approver_role": "manager", **more}


def unwanted_and_lapsed() -> Task:
    task = task_states.asked()
    lapse(task)
    return task


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_answers_the_approval_and_where_it_is(agent: Api) -> None:
    task = task_states.pending()
    answer = agent.post("/approvals", body(task))
    assert answer.status_code == 201, answer.content
    said = answer.json()
    assert answer.headers["Location"] == f"/approvals/{said['approval_id']}"
    assert answer.headers["ETag"] == '"1"'
    assert said == {
        "approval_id": str(Approval.objects.get().pk),
        "kind": "task",
        "task_id": str(task.pk),
        "session_id": None,
        "approver_role": "manager",
        "status": "pending",
        "version": 1,
        "reason": "",
        "action": None,
        "action_digest": None,
        "required_approvals": 1,
        "decisions": [],
        "requested_by": "local|alice",
        "on_behalf_of": None,
        "expires_at": said["expires_at"],
        "decision_at": None,
        "use_within_seconds": 86_400,
        "approved_until": None,
        "consumed_at": None,
        "reopens": None,
        "replaces": None,
        "earlier": [],
        "created_at": said["created_at"],
        "allowed_transitions": OPEN,
    }
    assert moment(said["expires_at"]) - moment(said["created_at"]) == timedelta(days=1)
    assert agent.get(answer.headers["Location"]).json() == said


def test_keeps_all_that_is_asked(agent: Api) -> None:
    asked = {"reason": "Above the limit.", "required_approvals": 3, "expires_in_seconds": 3600, "action": ACTION}
    said = agent.post("/approvals", body(task_states.pending(), **asked)).json()
    assert {name: said[name] for name in ("reason", "required_approvals", "action")} == {
        "reason": "Above the limit.",
        "required_approvals": 3,
        "action": ACTION,
    }
    assert moment(said["expires_at"]) - moment(said["created_at"]) == timedelta(hours=1)


def test_the_digest_is_that_of_the_canonical_text(agent: Api) -> None:
    action = {"z": 1.0, "a": [True, None, 0.5], "\u20ac": "\u00e9", "n": {"b": 1e21, "a": ""}}
    said = agent.post("/approvals", body(task_states.pending(), action=action)).json()
    # Written out by hand after RFC 8785.
    text = '{"a":[true,null,0.5],"n":{"a":"","b":1e+21},"z":1,"\u20ac":"\u00e9"}'
    assert said["action_digest"] == hashlib.sha256(text.encode()).hexdigest()


def test_an_empty_action_is_an_action(agent: Api) -> None:
    said = agent.post("/approvals", body(task_states.pending(), action={})).json()
    assert (said["action"], said["action_digest"]) == ({}, hashlib.sha256(b"{}").hexdigest())


def test_a_pending_task_waits_for_the_answer(agent: Api) -> None:
    task = task_states.pending()
    said = agent.post("/approvals", body(task, action=ACTION)).json()
    assert agent.get(f"/tasks/{task.pk}").json()["status"] == "blocked"
    assert agent.post("/tasks/claim", {}).json() == {"tasks": []}
    approval = Approval.objects.get(pk=said["approval_id"])
    (created,), blocked = events_of(approval.pk), events_of(task.pk)[-1]
    assert (created.event_type, blocked.event_type) == ("approval.created", "task.blocked")
    assert (created.cause, blocked.cause) == (None, created.pk)
    assert created.metadata["changes"]["action_digest"] == said["action_digest"]
    assert created.role == "manager"
    assert approval.blocks
    assert_chain_holds(approval)
    assert_chain_holds(task)


def test_a_held_task_stays_with_its_holder() -> None:
    task = task_states.active()
    answer = asker("finn").post("/approvals", body(task))
    assert answer.status_code == 201, answer.content
    after = task_of(Approval.objects.get())
    assert (after.status, after.version, after.holder) == ("active", task.version, task.holder)
    assert [event.event_type for event in events_of(task.pk)][-1] == "task.claimed"
    assert not Approval.objects.get().blocks


def test_a_task_whose_lease_ran_out_waits_whether_or_not_the_sweep_came_by() -> None:
    task = task_states.lapsed()
    answer = asker().post("/approvals", body(task))
    assert answer.status_code == 201, answer.content
    approval = Approval.objects.get()
    after, told = task_of(approval), events_of(task.pk)[2:]
    assert (after.status, approval.blocks, after.attempt) == ("blocked", True, 2)
    assert [(event.event_type, event.reason) for event in told] == [
        ("task.requeued", "lease-lost"),
        ("task.blocked", ""),
    ]
    assert [attempt.outcome for attempt in after.attempts.all()] == ["lease-lost"]
    assert_chain_holds(task)


@pytest.mark.parametrize(
    "end",
    [
        lambda: task_states.lapsed(task_states.pending(max_attempts=1)),
        unwanted_and_lapsed,
    ],
    ids=["its last attempt", "its end was asked for"],
)
def test_nothing_is_asked_about_a_task_that_is_over_with_the_sweep(end: Any) -> None:
    task = end()
    with nothing_moves():
        answer = asker().post("/approvals", body(task))
    said = problem_of(answer, 409, "illegal-transition")
    assert (said["from"], said["to"]) == ("active", "blocked")


def test_a_blocked_task_waits_for_every_question(agent: Api) -> None:
    first = ask()
    answer = agent.post("/approvals", body(task_of(first), approver_role="board"))
    assert answer.status_code == 201, answer.content
    agree(first)
    assert task_of(first).status == "blocked"
    agree(Approval.objects.get(approver_role="board"), "paul")
    assert task_of(first).status == "pending"


@pytest.mark.parametrize("end", [task_states.completed, task_states.failed, task_states.cancelled])
def test_nothing_is_asked_about_a_task_that_is_over(agent: Api, end: Any) -> None:
    task = end()
    with nothing_moves():
        answer = agent.post("/approvals", body(task))
    said = problem_of(answer, 409, "illegal-transition")
    assert (said["from"], said["to"], said["allowed"]) == (task.status, "blocked", [])


@pytest.mark.parametrize("decision", [None, "pending", "PENDING", "Pending"])
def test_a_decision_that_is_pending_is_none(agent: Api, decision: str | None) -> None:
    answer = agent.post("/approvals", body(task_states.pending(), decision=decision))
    assert (answer.status_code, answer.json()["status"]) == (201, "pending"), answer.content


def test_null_is_as_if_it_were_absent(agent: Api) -> None:
    asked = ("reason", "required_approvals", "expires_in_seconds", "use_within_seconds", "action")
    names = (*asked, "session_id", "reopens", "replaces")
    answer = agent.post("/approvals", body(task_states.pending(), **dict.fromkeys(names)))
    assert answer.status_code == 201, answer.content
    said = answer.json()
    assert (said["reason"], said["required_approvals"], said["action"]) == ("", 1, None)


def test_takes_the_task_with_its_noun_before_it(agent: Api) -> None:
    task = task_states.pending()
    answer = agent.post("/approvals", {"task_id": f"task-{task.pk}", "approver_role": "manager"})
    assert answer.json()["task_id"] == str(task.pk)


def test_takes_what_is_just_allowed(agent: Api) -> None:
    for more in (
        {"required_approvals": 10, "expires_in_seconds": 60, "reason": "x" * 4000},
        {"required_approvals": 1.0, "expires_in_seconds": 2_592_000, "approver_role": "r" * 50},
    ):
        answer = agent.post("/approvals", body(task_states.pending(), **more))
        assert answer.status_code == 201, answer.content


WRONG: list[tuple[str, Any]] = [
    ("approver_role", ""),
    ("approver_role", " manager"),
    ("approver_role", "r" * 51),
    ("approver_role", None),
    ("approver_role", 1),
    ("reason", "x" * 4001),
    ("reason", 1),
    ("required_approvals", 0),
    ("required_approvals", 11),
    ("required_approvals", "2"),
    ("required_approvals", 1.5),
    ("required_approvals", True),
    ("expires_in_seconds", 59),
    ("expires_in_seconds", 2_592_001),
    ("expires_in_seconds", 0),
    ("expires_in_seconds", -60),
    ("expires_in_seconds", "3600"),
    ("action", []),
    ("action", "pay"),
    ("action", {"text": "x" * 65_536}),
    ("decision", 1),
    ("decision", "perhaps"),
    ("decision", ""),
    ("use_within_seconds", 59),
    ("use_within_seconds", 2_592_001),
    ("use_within_seconds", "3600"),
    ("task_id", "1"),
    ("session_id", "1"),
    ("reopens", "1"),
    ("replaces", "1"),
    ("task_id", UNKNOWN_ID),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_refuses_what_it_cannot_read(agent: Api, name: str, value: Any) -> None:
    task = task_states.pending()
    with nothing_moves():
        answer = agent.post("/approvals", body(task, **{name: value}))
    problem_of(answer, 400, "invalid-request")
    assert name in errors(answer)


def test_refuses_a_body_without_a_role(agent: Api) -> None:
    body_of = {"task_id": str(task_states.pending().pk)}
    with nothing_moves():
        answer = agent.post("/approvals", body_of)
    assert (answer.status_code, list(errors(answer))) == (400, ["approver_role"])


@pytest.mark.parametrize("task_id", [{}, {"task_id": None}], ids=["absent", "null"])
def test_refuses_a_body_without_a_task_and_an_action(agent: Api, task_id: dict[str, None]) -> None:
    with nothing_moves():
        answer = agent.post("/approvals", {"approver_role": "manager", **task_id})
    assert (answer.status_code, list(errors(answer))) == (400, ["action"])


@pytest.mark.parametrize("said", [[], "pending", None, 1])
def test_refuses_a_body_that_is_no_object(agent: Api, said: Any) -> None:
    with nothing_moves():
        answer = agent.post("/approvals", said)
    assert answer.status_code == 400, answer.content


def test_a_task_that_is_not_the_callers_to_see_is_none() -> None:
    task = task_states.pending(to_role="legal")
    for caller in (asker(), asker(tenant="acme"), Api(token("olga", "operator", "", tenant="acme"))):
        with nothing_moves():
            answer = caller.post("/approvals", body(task))
        assert (answer.status_code, list(errors(answer))) == (400, ["task_id"])


def test_approvers_and_auditors_ask_for_nothing() -> None:
    for roles in ("approver", "auditor", "approver,auditor"):
        task = task_of(ask())
        with nothing_moves():
            answer = Api(token("petra", roles, "manager")).post("/approvals", body(task))
        problem_of(answer, 403, "forbidden")


def test_an_operator_asks_about_any_task(operator: Api) -> None:
    answer = operator.post("/approvals", body(task_states.pending(to_role="legal"), approver_role="board"))
    assert (answer.status_code, answer.json()["requested_by"]) == (201, "local|olga")


def test_whoever_made_a_task_asks_about_it() -> None:
    task = task_states.pending(by=somebody("nina", agent_roles=("research",)), to_role="legal")
    answer = asker("nina", agent_roles="research").post("/approvals", body(task))
    assert answer.status_code == 201, answer.content


def test_keeps_for_whom_an_agent_asks() -> None:
    answer = asker("petra", act_subject="bot").post("/approvals", body(task_states.pending()))
    assert answer.status_code == 201, answer.content
    assert (answer.json()["requested_by"], answer.json()["on_behalf_of"]) == ("local|bot", "local|petra")


def test_the_same_key_asks_once(agent: Api) -> None:
    task = task_states.pending()
    first = agent.post("/approvals", body(task), Idempotency_Key="ask-1")
    with nothing_moves():
        again = agent.post("/approvals", body(task), Idempotency_Key="ask-1")
    assert (again.status_code, again.json()) == (201, first.json())


def test_those_who_are_asked_see_it_and_its_task() -> None:
    approval = ask()
    assert manager().get(where(approval)).status_code == 200
    assert manager().get(f"/tasks/{approval.task_id}").json()["status"] == "blocked"
    assert Api(token("paul", "approver", "board")).get(where(approval)).status_code == 404
