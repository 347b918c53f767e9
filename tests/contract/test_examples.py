"""The examples of the document, sent to the API."""

from typing import Any

import pytest

from sessions_app.models import Session, Task
from tests.api import Api, token
from tests.contract.api_document import Operation, assert_as_documented, operations
from tests.contract.ready import ready
from tests.sessions_app.task_calls import task_in

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


def test_every_body_has_an_example_for_each_media_type() -> None:
    contents = [operation.said["requestBody"]["content"] for operation in operations() if operation.method in WRITES]
    assert len(contents) >= len(WRITES)
    assert all(said.get("examples") for content in contents for said in content.values())


@pytest.mark.parametrize(("operation", "media_type", "body"), BODIES)
def test_a_body_gets_the_documented_answer(operation: Operation, media_type: str, body: Any) -> None:
    call, operator = ready(operation), Api(token("olga", "operator", "finance"))
    # The token of an example is nobody's.
    proof = {"lease_token": call.body["lease_token"]} if "lease_token" in body else {}
    before = _rows()
    answer = operator.send(operation.method, call.path, {**body, **proof}, content_type=media_type, **call.headers)
    assert answer.status_code == operation.success, answer.content
    assert_as_documented(answer, operation)
    # It is an example of something: each leaves its mark.
    assert _rows() != before
    told = answer.json()
    for name in {"status", "agent_role", "to_role", "priority", "output", "error"} & {*body} & {*told}:
        assert told[name] == body[name]


def _rows() -> list[Any]:
    return [*Session.objects.order_by("id").values(), *Task.objects.order_by("id").values()]


@pytest.mark.parametrize("state", ["pending", "active", "completed", "failed", "cancelled"])
def test_the_answers_that_are_shown_may_be_met(operator: Api, state: str) -> None:
    shown = [
        task
        for operation in operations()
        for status in operation.said["responses"]
        for content in operation.response(int(status)).get("content", {}).values()
        for example in content.get("examples", {}).values()
        for task in _tasks(example.get("value", {}))
        if task["status"] == state
    ]
    real = operator.get(f"/tasks/{task_in(state).pk}").json()
    assert shown
    for task in shown:
        told = {name: task[name] for name in ("allowed_transitions", "cancel_requested")}
        assert (set(real) - set(task), told) == (set(), {name: real[name] for name in told})
        assert (task["lease"] is None) == (real["lease"] is None)


def _tasks(value: Any) -> list[dict[str, Any]]:
    return list(value["tasks"]) if "tasks" in value else [value] if "task_type" in value else []


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
