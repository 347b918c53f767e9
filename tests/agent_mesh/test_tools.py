"""The MCP tools on the service itself, called by the official client."""

import json

import httpx
import pytest

from agent_mesh.callers import OneCaller
from agent_mesh.server import build
from sessions_app.models import Task
from tests.agent_mesh.in_process import Meddle, Wire, client, lost, problem, refused
from tests.agent_mesh.talking import mesh, talking, text
from tests.api import token
from tests.sessions_app.approval_calls import manager
from tests.sessions_app.session_calls import UNKNOWN_ID

pytestmark = pytest.mark.django_db(transaction=True)

MONA = {"agent_roles": "manager"}
REQUIRED = {
    "send_task": ["target", "task"],
    "request_approval": ["approver_role", "reason"],
    "notify": ["target", "message"],
    "fetch_status": ["task_id"],
    "claim_task": [],
    "heartbeat": ["task_id", "lease_token"],
    "complete_task": ["task_id", "lease_token"],
    "fail_task": ["task_id", "lease_token", "message"],
    "await_approval": ["approval_id"],
    "consume_approval": ["approval_id", "action"],
}
OPTIONAL = {
    "send_task": {"context", "from_role", "idempotency_key"},
    "request_approval": {
        *("decision", "comments", "action", "task_id", "session_id", "required_approvals", "expires_in_seconds"),
        *("use_within_seconds", "idempotency_key"),
    },
    "notify": {"priority", "from_role", "idempotency_key"},
    "fetch_status": set[str](),
    "claim_task": {"roles", "task_types", "lease_seconds", "wait_seconds"},
    "heartbeat": {"percent", "message"},
    "complete_task": {"output", "idempotency_key"},
    "fail_task": {"code", "retryable", "idempotency_key"},
    "await_approval": {"timeout_seconds", "lease_token"},
    "consume_approval": {"idempotency_key"},
}
READS = {"fetch_status", "await_approval"}
KEYED = {"send_task", "request_approval", "notify", "complete_task", "fail_task", "consume_approval"}
WORK = {"task_type": "invoices", "description": "Check the invoices of October.", "data": {"invoices": 41}}


# What clients are told of the tools.


def test_the_tools_are_these_and_need_these() -> None:
    with mesh() as alice:
        tools = alice.tools()
    assert list(tools) == list(REQUIRED)
    for name, tool in tools.items():
        assert tool.input_schema.get("required", []) == REQUIRED[name]
        assert set(tool.input_schema["properties"]) == {*REQUIRED[name], *OPTIONAL[name]}
        assert (tool.description or "").endswith(".")


def test_every_argument_is_flat_and_explained() -> None:
    with mesh() as alice:
        for tool in alice.tools().values():
            assert "$defs" not in tool.input_schema
            for name, schema in tool.input_schema["properties"].items():
                assert schema["type"] in ("string", "integer", "number", "boolean", "array", "object"), (
                    tool.name,
                    name,
                )
                assert schema["description"].endswith((".", "to 30.", "it.")), (tool.name, name)


def test_hints_tell_what_reads_and_what_may_be_called_again() -> None:
    with mesh() as alice:
        tools = alice.tools()
    hints = {name: tool.annotations for name, tool in tools.items()}
    assert {name for name, hint in hints.items() if hint and hint.read_only_hint} == READS
    assert {name for name, hint in hints.items() if hint and not hint.idempotent_hint} == {
        *("send_task", "request_approval", "notify", "claim_task"),
    }
    assert all(hint and not hint.destructive_hint and not hint.open_world_hint for hint in hints.values())
    assert {name for name in tools if "idempotency_key" in tools[name].input_schema["properties"]} == KEYED


def test_the_server_says_how_its_tools_belong_together() -> None:
    with mesh() as alice:
        assert "People decide; no tool does." in (alice.mcp.instructions or "")


# The story.


def test_send_approve_claim_complete_and_look() -> None:
    with mesh(token("mona", **MONA)) as mona_, mesh(token("finn")) as finn:
        sent = mona_.does("send_task", target="finance", task=WORK, context={"quarter": "Q4"})
        task_id = sent["task_id"]
        approval = mona_.does("request_approval", task_id=f"task-{task_id}", approver_role="manager", reason="So much.")
        assert finn.does("claim_task") == {"claimed": False, "task": None}
        assert manager().post(f"/approvals/{approval['approval_id']}/approve").status_code == 200
        assert mona_.does("await_approval", approval_id=approval["approval_id"])["status"] == "approved"
        task = finn.does("claim_task", task_types=["invoices"], lease_seconds=60)["task"]
        holds = {"task_id": task_id, "lease_token": task["lease"]["token"]}
        assert finn.does("heartbeat", **holds, percent=50, message="half")["cancel_requested"] is False
        assert finn.does("complete_task", **holds, output={"unpaid": 3})["status"] == "completed"
        told = mona_.does("fetch_status", task_id=task_id)
    assert (told["kind"], told["status"], told["agent_role"]) == ("task", "completed", "finance")
    assert (told["output"], told["trace_id"]) == ({"unpaid": 3}, sent["trace_id"])
    assert json.loads(told["metadata"]) == {"data": {"invoices": 41}, "context": {"quarter": "Q4"}}
    assert [one["status"] for one in told["approvals"]] == ["approved"]


# Failures, and keys.


def test_answers_are_told_as_text_too() -> None:
    with mesh() as alice:
        answer = alice.call("send_task", target="hr", task=WORK)
    sentence, shown = text(answer).split("\n", 1)
    assert sentence == f"Task {Task.objects.get().pk} is pending for hr."
    assert json.loads(shown) == answer.structured_content


def test_without_a_token_the_tools_say_so() -> None:
    with talking(build(OneCaller(client("none"), None))) as nobody:
        assert "MESH_JWT_TOKEN" in nobody.fails("send_task", target="hr", task=WORK)["text"]


def test_a_token_that_is_not_good_is_told() -> None:
    with mesh("not.a.token") as nobody:
        told = nobody.fails("fetch_status", task_id=UNKNOWN_ID)
    assert (told["error"], told["status"]) == ("unauthenticated", 401)
    assert "get a new one" in told["text"]


def test_a_service_that_is_down_is_told_with_the_key_to_ask_again_by() -> None:
    wire = Wire(before=[refused] * 3)
    with mesh(wire=wire) as alice:
        told = alice.fails("send_task", target="hr", task=WORK)
        assert told["error"] == "unreachable"
        assert told["idempotency_key"] == wire.headers("Idempotency-Key")[0]
        sent = alice.does("send_task", target="hr", task=WORK, idempotency_key=told["idempotency_key"])
        again = alice.does("send_task", target="hr", task=WORK, idempotency_key=told["idempotency_key"])
    assert sent == again
    assert Task.objects.count() == 1


IN_FLIGHT = problem(409, "request-in-flight", Retry_After="0")
TOO_MANY = problem(429, "too-many-requests", Retry_After="0")


@pytest.mark.parametrize("later", [TOO_MANY, IN_FLIGHT, problem(401, "unauthenticated")])
def test_an_answer_that_was_lost_is_not_forgotten_over_what_came_after(later: Meddle) -> None:
    """The first attempt is done, and the last one says only that it was not heard."""

    def cut(request: httpx.Request) -> Exception:
        wire.served.handle_request(request).close()
        return lost(request)

    wire = Wire(before=[cut, later, later])
    with mesh(wire=wire) as alice:
        told = alice.fails("send_task", target="hr", task=WORK)
        assert told["idempotency_key"] == wire.headers("Idempotency-Key")[0]
        assert told["idempotency_key"] in told["text"]
        wire.before = []
        alice.does("send_task", target="hr", task=WORK, idempotency_key=told["idempotency_key"])
    assert Task.objects.count() == 1


def test_the_key_is_told_where_another_is_in_flight_and_not_where_nothing_was_begun() -> None:
    with mesh(wire=Wire(before=[IN_FLIGHT] * 3)) as alice:
        assert "idempotency_key" in alice.fails("notify", target="hr", message="So.")
    with mesh(wire=Wire(before=[TOO_MANY] * 3)) as alice:
        assert "idempotency_key" not in alice.fails("notify", target="hr", message="So.")


def test_a_key_used_for_something_else_is_one_attempt() -> None:
    wire = Wire()
    with mesh(wire=wire) as alice:
        alice.does("notify", target="hr", message="One.", idempotency_key="mine")
        told = alice.fails("notify", target="hr", message="Two.", idempotency_key="mine")
    assert (told["error"], told["status"], len(wire.sent)) == ("idempotency-key-mismatch", 422, 2)


def test_two_connection_errors_and_then_success_are_three_attempts_one_key_and_one_task() -> None:
    wire = Wire(before=[refused], after=[lambda _request: None, lost])
    with mesh(wire=wire) as alice:
        alice.does("send_task", target="hr", task=WORK)
    assert (len(wire.sent), len(set(wire.headers("Idempotency-Key"))), Task.objects.count()) == (3, 1, 1)


def test_the_same_said_twice_is_done_twice() -> None:
    with mesh() as alice:
        for _ in range(2):
            alice.does("notify", target="hr", message="The books are closed.")
    assert Task.objects.count() == 2


def test_a_server_error_is_told_and_tried_once() -> None:
    wire = Wire(before=[problem(500, "internal-error")])
    with mesh(wire=wire) as alice:
        told = alice.fails("notify", target="hr", message="So.")
    assert (told["error"], len(wire.sent)) == ("internal-error", 1)
    assert told["idempotency_key"] in told["text"]
