"""The examples of the document, sent to the API."""

from typing import Any

import pytest

from tests.api import Api
from tests.contract.api_document import Operation, assert_as_documented, operations

pytestmark = pytest.mark.django_db(transaction=True)

WRITES = ("POST", "PUT", "PATCH")
BODIES = [
    pytest.param(operation, media_type, example["value"], id=f"{operation} {media_type} {name}")
    for operation in operations()
    for media_type, said in operation.said.get("requestBody", {}).get("content", {}).items()
    for name, example in said["examples"].items()
]
"""Every example of every body. All of them suit a session that is pending."""

PARAMETERS = [
    pytest.param(operation, parameter, example["value"], id=f"{operation} {parameter['name']} {name}")
    for operation in operations()
    for parameter in operation.said["parameters"]
    for name, example in parameter.get("examples", {}).items()
]


def test_every_body_has_an_example_for_each_media_type() -> None:
    contents = [operation.said["requestBody"]["content"] for operation in operations() if operation.method in WRITES]
    assert len(contents) == len(WRITES)
    assert all(said.get("examples") for content in contents for said in content.values())


@pytest.mark.parametrize(("operation", "media_type", "body"), BODIES)
def test_a_body_gets_the_documented_answer(operator: Api, operation: Operation, media_type: str, body: Any) -> None:
    pending = operator.post("/sessions", {"agent_role": "finance", "metadata": {"quarter": "2026-Q4"}}).json()
    path = operation.path.replace("{id}", pending["session_id"])
    answer = operator.send(operation.method, path, body, content_type=media_type)
    assert answer.status_code == operation.success
    assert_as_documented(answer, operation)
    # It is an example of something: each leaves its mark.
    told = answer.json()
    assert told["version"] == (1 if operation.method == "POST" else 2)
    assert told["status"] == body.get("status", "pending")


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
