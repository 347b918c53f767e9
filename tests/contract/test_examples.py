"""The examples of the document, sent to the API."""

import hashlib
import json
from typing import Any

import pytest
from django.db.models import Model

from audit_app.models import AuditEvent
from sessions_app.models import Approval, Session, Task
from sessions_app.serializers.approval import DecisionOut, EarlierOut
from tests.api import Api, token
from tests.contract.api_document import Operation, assert_as_documented, operations
from tests.contract.ready import ready
from tests.sessions_app.approval_calls import SETTLED, ask, where
from tests.sessions_app.task_calls import claimed, finn, path, task_in

pytestmark = pytest.mark.django_db(transaction=True)

WRITES = ("POST", "PUT", "PATCH")
BODIES = [
    pytest.param(operation, media_type, example["value"], id=f"{operation} {media_type} {name}")
    for operation in operations()
    for media_type, said in operation.said.get("requestBody", {}).get("content", {}).items()
    for name, example in said["examples"].items()
]
"""Every example of every body. All of them suit the row that tests/contract/ready.py makes."""

PARAMETERS = [
    pytest.param(operation, parameter, example["value"], id=f"{operation} {parameter['name']} {name}")
    for operation in operations()
    for parameter in operation.said["parameters"]
    for name, example in parameter.get("examples", {}).items()
]


_OF_A_ROW = ("lease_token", "task_id", "session_id", "reopens", "replaces")


def test_every_body_has_an_example_for_each_media_type() -> None:
    contents = [operation.said["requestBody"]["content"] for operation in operations() if operation.method in WRITES]
    assert len(contents) >= len(WRITES)
    assert all(said.get("examples") for content in contents for said in content.values())


@pytest.mark.parametrize(("operation", "media_type", "body"), BODIES)
def test_a_body_gets_the_documented_answer(operation: Operation, media_type: str, body: Any) -> None:
    call = ready(operation)
    olga = Api(token("olga", call.roles, "finance"))
    # The token and the ids of an example belong to no row.
    known = {name: value for name, value in {**(call.body or {}), **call.ids}.items() if name in _OF_A_ROW}
    real = {name: value for name, value in known.items() if name in body}
    before = _rows()
    answer = olga.send(operation.method, call.path, {**body, **real}, content_type=media_type, **call.headers)
    assert answer.status_code == (202 if "decision" in body else operation.success), answer.content
    assert_as_documented(answer, operation)
    # It is an example of something: each leaves its mark.
    assert _rows() != before
    told = answer.json()
    for name in {"status", "agent_role", "to_role", "priority", "output", "error"} & {*body} & {*told}:
        assert told[name] == body[name]


def _rows() -> list[Any]:
    models: tuple[type[Model], ...] = (Session, Task, Approval, AuditEvent)
    return [row for model in models for row in model._default_manager.order_by("pk").values()]


@pytest.mark.parametrize("state", ["pending", "active", "completed", "failed", "cancelled"])
def test_the_answers_that_are_shown_may_be_met(operator: Api, state: str) -> None:
    shown = [task for task in _shown("tasks", "task_type") if task["status"] == state]
    real = operator.get(f"/tasks/{task_in(state).pk}").json()
    assert shown
    for task in shown:
        told = {name: task[name] for name in ("allowed_transitions", "cancel_requested")}
        assert (set(real) - set(task), told) == (set(), {name: real[name] for name in told})
        assert (task["lease"] is None) == (real["lease"] is None)


@pytest.mark.parametrize("state", ["pending", "approved", "rejected", "cancelled"])
def test_the_approvals_that_are_shown_may_be_met(operator: Api, state: str) -> None:
    shown = [approval for approval in _shown("approvals", "approver_role") if approval["status"] == state]
    real = operator.get(where(SETTLED[state]() if state in SETTLED else ask())).json()
    assert shown
    for approval in shown:
        assert list(approval) == list(real)
        assert approval["allowed_transitions"] == real["allowed_transitions"]
        assert (approval["decision_at"] is None) == (real["decision_at"] is None)
        assert (approval["approved_until"] is None) == (real["approved_until"] is None)
        assert (approval["kind"] == "action") == (approval["task_id"] is None)
        for name, shape in (("decisions", DecisionOut), ("earlier", EarlierOut)):
            assert all(list(one) == list(shape().fields) for one in approval[name])
        digest = hashlib.sha256(json.dumps(approval["action"], sort_keys=True, separators=(",", ":")).encode())
        assert approval["action_digest"] == digest.hexdigest()


def test_the_events_that_are_shown_may_be_met(operator: Api) -> None:
    held = claimed()
    assert finn().post(path(held, "complete"), held.body("complete")).status_code == 200
    [real] = operator.get("/audit/events?event_type=task.completed").json()["events"]
    shown = _shown("events", "event_type")
    assert shown
    for event in shown:
        assert list(event) == list(real)
        for name in ("event_type", "subject_type", "from", "to", "seq", "actor", "role", "via", "changes", "cause"):
            assert event[name] == real[name], name


def _shown(many: str, member: str) -> list[dict[str, Any]]:
    """The rows among the answers that the document shows: alone, known by a member, or many on a page."""
    values = [
        example.get("value", {})
        for operation in operations()
        for status in operation.said["responses"]
        for content in operation.response(int(status)).get("content", {}).values()
        for example in content.get("examples", {}).values()
    ]
    pages = [one for value in values if member not in value for one in value.get(many, [])]
    return [*[value for value in values if member in value], *pages]


@pytest.mark.parametrize(("operation", "parameter", "value"), PARAMETERS)
def test_a_parameter_gets_the_documented_answer(
    operator: Api, operation: Operation, parameter: dict[str, Any], value: dict[str, str]
) -> None:
    # An object that is exploded gives a parameter for each of its members.
    assert (parameter["in"], parameter["style"], parameter["explode"]) == ("query", "form", True)
    found = operator.post("/sessions", {"agent_role": "finance", "metadata": {"quarter": "2026-Q4"}}).json()
    other = operator.post("/sessions", {"agent_role": "finance", "metadata": {"quarter": "2027-Q1"}}).json()
    answer = operator.get(f"{operation.path}?{'&'.join(f'{name}={text}' for name, text in value.items())}")
    assert answer.status_code == operation.success
    assert_as_documented(answer, operation)
    listed = [session["session_id"] for session in answer.json()["sessions"]]
    assert listed == ([found["session_id"]] if value else [other["session_id"], found["session_id"]])
