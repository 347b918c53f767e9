"""POST /tasks with requires_approval: a task that waits for people from the start."""

from typing import Any

import pytest

from sessions_app.models import Approval, Task
from tests.api import Api, errors, token
from tests.sessions_app.approval_calls import (
    ACTION,
    OPEN,
    asker,
    digest,
    manager,
    nothing_moves,
    where,
)
from tests.sessions_app.session_calls import events_of
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

WORK = {"task_type": "purchase", "to_role": "finance"}
ONE = {"approver_role": "manager"}


def create(caller: Api, questions: Any, **more: Any) -> Any:
    return caller.post("/tasks", {**WORK, "requires_approval": questions, **more})


def asked_about(task_id: str) -> list[Approval]:
    return list(Approval.objects.filter(task_id=task_id).order_by("created_at", "pk"))


def test_is_blocked_from_the_start(agent: Api) -> None:
    answer = create(agent, {**ONE, "reason": "Above the limit.", "required_approvals": 2, "action": ACTION})
    assert answer.status_code == 201, answer.content
    said = answer.json()
    assert (said["status"], said["version"]) == ("blocked", 1)
    assert said["allowed_transitions"] == ["pending", "failed", "cancelled"]
    (approval,) = asked_about(said["task_id"])
    assert agent.get(where(approval)).json() == {
        "approval_id": str(approval.pk),
        "kind": "task",
        "task_id": said["task_id"],
        "session_id": None,
        "approver_role": "manager",
        "status": "pending",
        "version": 1,
        "reason": "Above the limit.",
        "action": ACTION,
        "action_digest": digest(approval),
        "required_approvals": 2,
        "decisions": [],
        "requested_by": "local|alice",
        "on_behalf_of": None,
        "expires_at": agent.get(where(approval)).json()["expires_at"],
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
    assert (approval.blocks, approval.required) == (True, True)
    assert agent.post("/tasks/claim", {}).json() == {"tasks": []}


def test_the_events_name_the_task_as_their_cause(agent: Api) -> None:
    said = create(agent, [ONE, {"approver_role": "board"}]).json()
    task = Task.objects.get(pk=said["task_id"])
    (created,) = events_of(task.pk)
    assert (created.event_type, created.to_status) == ("task.created", "blocked")
    for approval in asked_about(said["task_id"]):
        (asked,) = events_of(approval.pk)
        assert (asked.event_type, asked.cause) == ("approval.created", created.pk)
        assert_chain_holds(approval)
    assert_chain_holds(task)


def test_several_are_asked_at_once_in_the_order_named(agent: Api) -> None:
    roles = [f"role-{n}" for n in range(10)]
    said = create(agent, [{"approver_role": role, "expires_in_seconds": 60 + n} for n, role in enumerate(roles)]).json()
    found = asked_about(said["task_id"])
    assert [approval.approver_role for approval in found] == roles
    lasting = [(approval.expires_at - approval.created_at).total_seconds() for approval in found]
    assert lasting == [60 + n for n in range(10)]


def test_the_same_role_may_be_asked_twice(agent: Api) -> None:
    said = create(agent, [ONE, {**ONE, "action": ACTION}]).json()
    for approval, name in zip(asked_about(said["task_id"]), ("petra", "max"), strict=True):
        assert agent.get(f"/tasks/{said['task_id']}").json()["status"] == "blocked"
        manager(name).post(where(approval, "approve"), {})
    assert agent.get(f"/tasks/{said['task_id']}").json()["status"] == "pending"


def test_goes_on_once_all_agreed_and_is_shown_with_its_approvals(agent: Api) -> None:
    said = create(agent, ONE).json()
    (approval,) = asked_about(said["task_id"])
    manager().post(where(approval, "approve"), {})
    (claimed,) = agent.post("/tasks/claim", {}).json()["tasks"]
    assert claimed["task_id"] == said["task_id"]
    shown = agent.get(f"/tasks/{said['task_id']}?include=approvals").json()
    assert shown["approvals"] == [agent.get(where(approval)).json()]


def test_what_waits_is_shown_only_as_far_as_the_caller_sees_it() -> None:
    said = create(asker("mona", agent_roles="manager"), [ONE, {"approver_role": "board"}]).json()
    path = f"/tasks/{said['task_id']}?include=approvals"
    roles = {
        name: sorted(approval["approver_role"] for approval in caller.get(path).json()["approvals"])
        for name, caller in (
            ("maker", asker("mona", agent_roles="manager")),
            ("worker", asker()),
            ("manager", manager()),
            ("auditor", Api(token("otto", "auditor"))),
        )
    }
    both = ["board", "manager"]
    assert roles == {"maker": both, "worker": [], "manager": ["manager"], "auditor": both}


def test_null_asks_nobody(agent: Api) -> None:
    answer = create(agent, None)
    assert (answer.status_code, answer.json()["status"]) == (201, "pending")
    assert not Approval.objects.exists()


def test_whoever_made_the_task_must_not_decide_it() -> None:
    both = Api(token("alice", "agent,approver", "finance,manager"))
    said = create(both, ONE, from_role="finance").json()
    (approval,) = asked_about(said["task_id"])
    assert both.post(where(approval, "approve"), {}).json()["type"] == "/problems/separation-of-duties"


def test_the_same_key_asks_once(agent: Api) -> None:
    body = {**WORK, "requires_approval": [ONE, ONE]}
    first = agent.post("/tasks", body, Idempotency_Key="make-1")
    with nothing_moves():
        again = agent.post("/tasks", body, Idempotency_Key="make-1")
    assert again.json() == first.json()
    assert Approval.objects.count() == 2


@pytest.mark.parametrize(
    "questions",
    [
        [],
        [ONE] * 11,
        {},
        "manager",
        1,
        [None],
        [[ONE]],
        {"approver_role": ""},
        {**ONE, "required_approvals": 11},
        {**ONE, "expires_in_seconds": 59},
        {**ONE, "action": []},
        [ONE, {"reason": "why"}],
    ],
)
def test_refuses_what_it_cannot_read_and_makes_nothing(agent: Api, questions: Any) -> None:
    with nothing_moves():
        answer = create(agent, questions)
    assert answer.status_code == 400, answer.content
    assert all(field.split(".")[0].split("[")[0] == "requires_approval" for field in errors(answer))


def test_a_task_that_is_refused_asks_nobody(agent: Api) -> None:
    for more in ({"deadline": "2020-01-01T00:00:00Z"}, {"priority": 10}):
        with nothing_moves():
            answer = create(agent, ONE, **more)
        assert answer.status_code == 400, answer.content
    with nothing_moves():
        assert create(agent, ONE, from_role="legal").status_code == 403
