"""What tools refuse before they do anything: arguments that they do not have, and numbers that may have changed."""

import json
from typing import Any

import pytest

from sessions_app.models import Approval, Task
from tests.agent_mesh.talking import mesh
from tests.sessions_app import task_states

pytestmark = pytest.mark.django_db(transaction=True)

WORK = {"task_type": "purchase"}
QUESTION = {"approver_role": "manager"}


def asking(**more: Any) -> dict[str, Any]:
    return {"task_id": str(task_states.pending().pk), "approver_role": "manager", "reason": "So.", **more}


def test_every_tool_says_that_it_takes_no_other_arguments() -> None:
    with mesh() as agent:
        schemas = {name: tool.input_schema for name, tool in agent.tools().items()}
    assert schemas
    assert {name for name, schema in schemas.items() if schema["additionalProperties"] is not False} == set()


@pytest.mark.parametrize(
    ("name", "near"),
    [("required_approval", "required_approvals"), ("requiredApprovals", "required_approvals"), ("actions", "action")],
)
def test_a_misspelt_argument_is_refused_with_the_nearest_name(name: str, near: str) -> None:
    body = asking(**{name: 2})
    with mesh() as agent:
        said = agent.fails("request_approval", **body)["text"]
    assert f"{name}\n  Value error, There is no such argument. Did you mean {near}?" in said
    assert not Approval.objects.exists()


def test_an_argument_like_no_other_is_refused_with_all_names() -> None:
    with mesh() as agent:
        said = agent.fails("fetch_status", task_id="1", zzz=1)["text"]
    assert "There is no such argument. There are task_id." in said


def test_what_was_sent_is_not_repeated() -> None:
    with mesh() as agent:
        said = agent.fails("complete_task", task_id=1, lease_token="a-secret", output="{")["text"]
    assert "a-secret" not in said


@pytest.mark.parametrize("amount", [9007199254740992.0, 1e22, -9007199254740994.0, 9007199254740993])
def test_a_number_that_may_have_lost_digits_is_refused(amount: float) -> None:
    body = asking(action={"pay": [{"amount": amount}]})
    with mesh() as agent:
        said = agent.fails("request_approval", **body)["text"]
    assert "Give it as text." in said
    assert not Approval.objects.exists()


def test_an_object_that_comes_as_text_is_read_exactly() -> None:
    body = asking(action='{"amount": 90071992547409.921}')
    with mesh() as agent:
        assert "it becomes 90071992547409.92. Give it as text." in agent.fails("request_approval", **body)["text"]
        assert not Approval.objects.exists()
        agent.does("request_approval", **{**body, "action": json.dumps({"amount": 90071992547409.92})})
    assert Approval.objects.get().action == {"amount": 90071992547409.92}


def test_a_task_may_say_who_has_to_agree_first() -> None:
    with mesh() as agent:
        sent = agent.does("send_task", target="finance", task={**WORK, "requires_approval": QUESTION})
        named = agent.does(
            "send_task", target="finance", from_role="finance", task={**WORK, "requires_approval": [QUESTION]}
        )
    assert (sent["status"], sent["data"], named["status"]) == ("blocked", {}, "blocked")
    assert Approval.objects.filter(approver_role="manager").count() == 2


@pytest.mark.parametrize(
    "name", ["requires_approvals", "requiresApproval", "required_approval", "approval", "requires_aproval"]
)
def test_what_may_be_meant_as_a_guard_does_not_become_mere_data(name: str) -> None:
    with mesh() as agent:
        said = agent.fails("send_task", target="finance", task={**WORK, name: QUESTION})
    assert said["error"] == "mistake"
    assert f"task has {name!r}: say requires_approval" in said["text"]
    assert not Task.objects.exists()
