"""Members of a body that the service does not know: refused by name, unless the caller prefers otherwise."""

from itertools import count
from typing import Any

import pytest

from audit_app.models import AuditEvent
from orchestrator.unknown_members import MAX_NAMED, prefers_lenient
from sessions_app.models import Approval, Session, Task
from tests.api import Api
from tests.sessions_app.approval_calls import ACTION, agree, ask, asker, manager, nothing_moves, task_of, where
from tests.sessions_app.task_calls import claimed, finn, mona, path

pytestmark = pytest.mark.django_db(transaction=True)

LENIENT = {"Prefer": "handling=lenient"}
WORK = {"task_type": "purchase", "to_role": "finance"}
QUESTION = {"approver_role": "manager", "reason": "Above the limit."}
ROUTED = {"target": "finance", "task": {"task_type": "purchase"}}
_keys = count()


def post(caller: Api, path: str, body: Any, **headers: str) -> Any:
    """Each with a key of its own, as /tasks/route requires one."""
    return caller.post(path, body, **{"Idempotency_Key": f"unknown-{next(_keys)}", **headers})


def refused(answer: Any) -> dict[str, str]:
    """What a 400 says of each field."""
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-request"), answer.content
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


def nothing_is_there() -> bool:
    return not any(model._default_manager.exists() for model in (Session, Task, Approval, AuditEvent))


# Guards that were misspelt.


@pytest.mark.parametrize("headers", [{}, LENIENT], ids=["strictly", "leniently"])
@pytest.mark.parametrize(
    ("path", "body", "field", "near"),
    [
        ("/tasks", {**WORK, "requires_approvals": QUESTION}, "requires_approvals", "requires_approval"),
        ("/tasks", {**WORK, "requiresApproval": QUESTION}, "requiresApproval", "requires_approval"),
        ("/tasks", {**WORK, "Requires-Approval": QUESTION}, "Requires-Approval", "requires_approval"),
        ("/tasks", {**WORK, "required_approval": QUESTION}, "required_approval", "requires_approval"),
        ("/tasks", {**WORK, "requires_aproval": QUESTION}, "requires_aproval", "requires_approval"),
        ("/tasks", {**WORK, "options": {"requires_approval": QUESTION}}, "options", ""),
        ("/tasks", {**WORK, "approval": QUESTION}, "approval", ""),
        ("/tasks/route", {**ROUTED, "requires_approvals": QUESTION}, "requires_approvals", "requires_approval"),
        (
            "/tasks/route",
            {"target": "finance", "task": {"task_type": "purchase", "requires_approval": QUESTION}},
            "task.requires_approval",
            "",
        ),
        (
            "/tasks",
            {**WORK, "requires_approval": {**QUESTION, "required_approval": 2}},
            "requires_approval.0.required_approval",
            "required_approvals",
        ),
        (
            "/tasks/route",
            {**ROUTED, "requires_approval": [QUESTION, {**QUESTION, "actions": ACTION}]},
            "requires_approval.1.actions",
            "action",
        ),
        ("/tasks", {**WORK, "requires_approval": QUESTION, "prioritas": 9}, "prioritas", "priority"),
        ("/tasks", {**WORK, "requires_approval": None, "mood": 9}, "mood", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_misspelt_guard_is_refused_by_name_and_leaves_nothing(
    path: str, body: Any, field: str, near: str, headers: dict[str, str]
) -> None:
    answer = post(mona(), path, body, **headers)
    said = refused(answer)
    assert list(said) == [field]
    assert said[field].startswith("There is no such member here.")
    assert f"Did you mean {near}?" in said[field] if near else True
    assert "Preference-Applied" not in answer.headers
    assert nothing_is_there()


@pytest.mark.parametrize("headers", [{}, LENIENT], ids=["strictly", "leniently"])
def test_the_bodies_of_approvals_are_refused_always(headers: dict[str, str]) -> None:
    granted = agree(ask(action=ACTION))
    asked = ask(action=ACTION)
    about = {"task_id": str(asked.task_id)}
    tried: list[tuple[Api, str, dict[str, Any], str]] = [
        (asker(), "/approvals", {**about, **QUESTION, "required_approval": 2}, "required_approval"),
        (asker(), "/approvals", {**about, **QUESTION, "actions": ACTION}, "actions"),
        (asker(), "/approvals", {**about, **QUESTION, "requiredApprovals": 2}, "requiredApprovals"),
        (manager(), "/approvals", {**about, "decision": "approved", "comment": "So."}, "comment"),
        (manager(), where(asked, "approve"), {"comment": "Only half of it."}, "comment"),
        (manager(), where(asked, "reject"), {"reason": "No."}, "reason"),
        (manager(), where(asked, "withdraw"), {"comment": "Not yet."}, "comment"),
        (asker(), where(granted, "consume"), {"action": ACTION, "amount": 1}, "amount"),
        (asker(), where(asked, "cancel"), {"comments": "No more."}, "comments"),
    ]
    for caller, place, body, field in tried:
        with nothing_moves():
            answer = caller.post(place, body, **headers)
        assert list(refused(answer)) == [field], place
        assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("questions", [QUESTION, [QUESTION], [QUESTION, {"approver_role": "board"}]])
def test_a_routed_task_may_require_approval(questions: Any) -> None:
    answer = post(mona(), "/tasks/route", {**ROUTED, "requires_approval": questions})
    assert (answer.status_code, answer.json()["status"]) == (202, "blocked"), answer.content
    asked = questions if isinstance(questions, list) else [questions]
    roles = Approval.objects.filter(task=answer.json()["task_id"]).values_list("approver_role", flat=True)
    assert sorted(roles) == sorted(each["approver_role"] for each in asked)
    assert finn().post("/tasks/claim", {}).json() == {"tasks": []}


# What existing clients send.


def test_the_bodies_of_existing_clients_are_taken(agent: Api) -> None:
    routed = post(
        mona(),
        "/tasks/route",
        {"target": "finance", "task": {"task_type": "routing", "description": "So.", "data": {}}, "context": {"a": 1}},
    )
    assert routed.status_code == 202
    session = agent.post("/sessions", {"agent_role": "finance", "task_id": routed.json()["task_id"], "metadata": {}})
    assert session.status_code == 201
    body = {"task_id": routed.json()["task_id"], "status": "active", "metadata": {"a": 1}}
    assert agent.put(session.headers["Location"], body).status_code == 200


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"reason": "Above the limit."}, "Above the limit."),
        ({"reason": "Above the limit.", "decision": "pending", "comments": "Soon."}, "Above the limit.\n\nSoon."),
        ({"comments": "Soon."}, "Soon."),
        ({"reason": None, "decision": None, "comments": None}, ""),
        ({"reason": "Above the limit.", "comments": " "}, "Above the limit."),
    ],
)
def test_a_request_keeps_reason_and_comments(more: dict[str, Any], reason: str) -> None:
    task = task_of(ask())
    answer = asker().post("/approvals", {"task_id": str(task.pk), "approver_role": "board", **more})
    assert (answer.status_code, answer.json()["reason"]) == (201, reason), answer.content


# Any other member.


def test_names_every_unknown_member_beside_whatever_else_is_wrong(agent: Api) -> None:
    body = {"agentRole": "finance", "meta data": {}, "ttl_seconds": 1, "": 0, "x.y": 0}
    said = refused(agent.post("/sessions", body))
    assert said["agentRole"] == "There is no such member here. Did you mean agent_role?"
    assert said["meta data"] == "There is no such member here. Did you mean metadata?"
    assert said["x.y"] == said['""'] == "There is no such member here."
    assert set(said) == {"agentRole", "meta data", '""', "x.y", "ttl_seconds", "agent_role"}


def test_names_no_more_than_some(agent: Api) -> None:
    body = {"agent_role": "finance", **{f"member-{number}" * 10: number for number in range(5000)}}
    answer = agent.post("/sessions", body)
    said = refused(answer)
    assert len(said) == MAX_NAMED + 1
    assert said["body"] == f"There are {5000 - MAX_NAMED} more members that are not known here."


def test_nested_members_are_named_by_their_path() -> None:
    held = claimed()
    tried: list[tuple[str, dict[str, Any], str]] = [
        ("heartbeat", {"progress": {"percent": 1, "messages": "so"}}, "progress.messages"),
        ("fail", {"error": {"code": "a", "message": "b", "detail": "c"}}, "error.detail"),
        ("complete", {"outputs": {}}, "outputs"),
        ("release", {"reason": "so"}, "reason"),
    ]
    for verb, body, field in tried:
        answer = finn().post(path(held, verb), {"lease_token": held.token, **body})
        assert list(refused(answer)) == [field]
    assert list(refused(finn().post("/tasks/claim", {"role": ["finance"]}))) == ["role"]
    assert list(refused(mona().post(f"/tasks/{held.task.pk}/cancel", {"because": "so"}))) == ["because"]


def test_free_form_objects_take_any_member(agent: Api) -> None:
    anything = {"requires_approvals": 1, "lease_token": 2, "x": {"y": [{"z": None}]}}
    assert agent.post("/sessions", {"agent_role": "finance", "metadata": anything}).status_code == 201
    assert mona().post("/tasks", {**WORK, "data": anything, "context": anything}).status_code == 201
    event = {"source": "ledger", "category": "payment", "action": "booked", "metadata": anything, "content": anything}
    assert agent.post("/audit/ingest", event).status_code == 202
    held = claimed()
    done = {"lease_token": held.token, "output": anything}
    assert finn().post(path(held, "complete"), done).status_code == 200


def test_the_trail_is_told_in_its_own_case(agent: Api) -> None:
    event = {"source": "ledger", "category": "payment", "action": "booked"}
    assert agent.post("/audit/ingest", {**event, "traceId": "theirs"}).status_code == 202
    said = refused(agent.post("/audit/ingest", {**event, "trace_id": "theirs"}))
    assert said == {"trace_id": "There is no such member here. Did you mean traceId?"}


# Leniently.


@pytest.mark.parametrize(
    ("header", "lenient"),
    [
        ("handling=lenient", True),
        ('Handling = "Lenient"', True),
        ("respond-async, handling=lenient; a=b, wait=10", True),
        ("handling=lenient, handling=strict", True),
        ('note="handling=strict, x", handling=lenient', True),
        ("handling=strict", False),
        ("handling=strict, handling=lenient", False),
        ('note="handling=lenient"', False),
        ("lenient", False),
        ("handling", False),
        ("", False),
        (',;=\\",', False),
    ],
)
def test_reads_what_is_preferred(header: str, lenient: bool) -> None:
    assert prefers_lenient(header) is lenient


def test_a_caller_may_prefer_that_unknown_members_are_ignored(agent: Api) -> None:
    body = {"agent_role": "finance", "mood": {"b": None}}
    answer = agent.post("/sessions", body, **LENIENT)
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (201, "handling=lenient")
    assert "Preference-Applied" not in agent.post("/sessions", {"agent_role": "finance"}).headers
    wrong = agent.post("/sessions", {**body, "ttl_seconds": 1}, **LENIENT)
    assert list(refused(wrong)) == ["ttl_seconds"]
    assert "Preference-Applied" not in wrong.headers


def test_the_setting_ignores_unknown_members_but_not_beside_a_guard(agent: Api, settings: Any) -> None:
    settings.UNKNOWN_MEMBERS = "ignore"
    answer = agent.post("/sessions", {"agent_role": "finance", "mood": 1})
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (201, False)
    assert list(refused(mona().post("/tasks", {**WORK, "requiresApproval": QUESTION}))) == ["requiresApproval"]
    assert list(refused(mona().post("/tasks", {**WORK, "mood": 1, "requires_approval": QUESTION}))) == ["mood"]
    asked = ask()
    assert list(refused(manager().post(where(asked, "approve"), {"mood": 1}))) == ["mood"]


def test_lenient_handling_is_part_of_what_a_key_stands_for(agent: Api) -> None:
    """A strict call must not get the answer of a lenient one, which did less than its body says."""
    body = {"agent_role": "finance", "mood": 1}
    first = agent.post("/sessions", body, Idempotency_Key="mood-1", **LENIENT)
    again = agent.post("/sessions", body, Idempotency_Key="mood-1", Prefer='handling="lenient", wait=5')
    assert (again.status_code, again.json()) == (201, first.json())
    assert (again.headers["Idempotent-Replayed"], again.headers["Preference-Applied"]) == ("true", "handling=lenient")
    assert agent.post("/sessions", body, Idempotency_Key="mood-1").status_code == 422
    assert Session.objects.count() == 1
