"""`python -m agent_mesh` over stdio, started by the official client, against the service as production runs it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

import pytest
from mcp import StdioServerParameters

from sessions_app.models import Task
from tests.agent_mesh.talking import Talker, talking
from tests.agent_mesh.test_tools import WORK
from tests.agent_mesh.wiretap import tapped
from tests.api import token
from tests.gunicorn_server import HERE, free_port, serving
from tests.sessions_app.approval_calls import ACTION, manager
from tests.sessions_app.session_calls import UNKNOWN_ID

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
COMMAND = [sys.executable, "-m", "agent_mesh"]


@pytest.fixture(scope="module")
def base(django_db_setup: None) -> Iterator[str]:
    """One service for all tests here: each leaves an empty database behind."""
    with serving() as address:
        yield address


@contextmanager
def started(base: str, bearer: str, mode: str = "auto", **env: str) -> Iterator[Talker]:
    """An agent's server, with the variables that agents have set so far."""
    said = {"CONTROLLER_URL": base, "MESH_JWT_TOKEN": bearer, "MESH_RETRY_COUNT": "3", "MESH_TIMEOUT_SECS": "30"}
    command = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env={**said, **env}, cwd=HERE)
    with talking(command, mode) as talker:
        yield talker


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_full_story(base: str, mode: str) -> None:
    with started(base, token("mona", agent_roles="manager"), mode) as mona, started(base, token("finn"), mode) as finn:
        sent = mona.does("send_task", target="finance", task=WORK, context={"quarter": "Q4"})
        asked = mona.does(
            "request_approval", task_id=sent["task_id"], approver_role="manager", reason="So much.", action=ACTION
        )
        assert mona.does("fetch_status", task_id=sent["task_id"])["status"] == "blocked"
        assert finn.does("claim_task")["claimed"] is False
        assert manager().post(f"/approvals/{asked['approval_id']}/approve").status_code == 200
        assert mona.does("await_approval", approval_id=asked["approval_id"])["status"] == "approved"
        held = finn.does("claim_task", wait_seconds=5)["task"]
        proof = {"task_id": held["task_id"], "lease_token": held["lease"]["token"]}
        finn.does("heartbeat", **proof, percent=50)
        assert mona.does("consume_approval", approval_id=asked["approval_id"], action=ACTION)["consumed_at"]
        assert finn.does("complete_task", **proof, output={"unpaid": 3})["status"] == "completed"
        told = mona.does("fetch_status", task_id=f"task-{sent['task_id']}")
        mona.does("notify", target="finance", message="Thank you.")
    assert (told["status"], told["output"], told["trace_id"]) == ("completed", {"unpaid": 3}, sent["trace_id"])


def test_a_wrong_token_is_told_and_tried_once(base: str) -> None:
    with tapped(base) as tap, started(tap.address, "wrong.token.indeed") as nobody:
        told = nobody.fails("fetch_status", task_id=f"task-{UNKNOWN_ID}")
        assert (told["error"], told["status"]) == ("unauthenticated", 401)
        assert nobody.fails("send_task", target="finance", task=WORK)["error"] == "unauthenticated"
        assert len(tap.seen) == 2


def test_a_token_without_rights_is_told(base: str) -> None:
    with started(base, token("petra", "approver", "manager")) as petra:
        assert petra.fails("send_task", target="finance", task=WORK)["error"] == "forbidden"


def test_a_service_that_is_down_is_told() -> None:
    with started(f"http://127.0.0.1:{free_port()}", token()) as alice:
        told = alice.fails("send_task", target="finance", task=WORK)
    assert told["error"] == "unreachable"
    assert "tried 3 times" in told["text"]
    assert told["idempotency_key"]


def test_a_key_used_for_something_else_is_a_422_and_exactly_one_attempt(base: str) -> None:
    with tapped(base) as tap, started(tap.address, token()) as alice:
        alice.does("notify", target="hr", message="One.", idempotency_key="mine")
        told = alice.fails("notify", target="hr", message="Two.", idempotency_key="mine")
        assert told["status"] == 422
        assert len(tap.seen) == 2


def test_two_connection_errors_and_then_success_are_exactly_three_attempts_one_key_and_one_task(base: str) -> None:
    with tapped(base) as tap, started(tap.address, token()) as alice:
        tap.cut = 2
        alice.does("send_task", target="hr", task=WORK)
        assert [path for _, path, _ in tap.seen] == ["/tasks/route"] * 3
        assert len({key for _, _, key in tap.seen}) == 1
    assert Task.objects.count() == 1


def test_without_a_token_the_tools_are_listed_and_say_what_is_missing(base: str) -> None:
    with started(base, "") as nobody:
        assert len(nobody.tools()) == 10
        assert "MESH_JWT_TOKEN" in nobody.fails("claim_task")["text"]


# What stands on stdout, byte by byte.


def spoken(*lines: Any, **env: str) -> tuple[int, bytes, bytes]:
    """Say these lines to the server, hear an answer to each request, and close: how it ended, and all that it wrote."""
    process = subprocess.Popen(
        COMMAND,
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "default",
            "PYTHONDEVMODE": "1",
            **env,
        },
    )
    assert process.stdin is not None
    assert process.stdout is not None
    impatient = Timer(60, process.kill)
    impatient.start()
    heard = b""
    try:
        for line in lines:
            process.stdin.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
        process.stdin.flush()
        awaited = {line["id"] for line in lines if isinstance(line, dict) and "id" in line}
        while awaited and (line := process.stdout.readline()):
            heard += line
            awaited.discard(json.loads(line).get("id"))
        rest, errors = process.communicate()
        return process.returncode, heard + rest, errors
    finally:
        impatient.cancel()
        process.kill()
        process.wait()


def asks(number: int, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


BEGIN = asks(
    1, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "test", "version": "1"}
)
BEGUN = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def test_stdout_has_nothing_but_the_protocol_byte_by_byte(base: str) -> None:
    code, stdout, _ = spoken(
        BEGIN,
        BEGUN,
        asks(2, "tools/list"),
        asks(3, "tools/call", name="send_task", arguments={"target": "hr", "task": WORK}),
        asks(4, "tools/call", name="send_task", arguments={"target": "hr"}),
        asks(5, "tools/call", name="fetch_status", arguments={"task_id": "nonsense"}),
        asks(6, "tools/call", name="no_such_tool", arguments={}),
        asks(7, "tools/call", name="claim_task", arguments={"lease_seconds": "soon"}),
        b"this is no JSON",
        asks(8, "no/such/method"),
        asks(9, "ping"),
        CONTROLLER_URL=base,
        MESH_JWT_TOKEN=token(),
    )
    assert code == 0
    lines = stdout.split(b"\n")
    assert lines.pop() == b""
    messages = [json.loads(line) for line in lines]
    for line, message in zip(lines, messages, strict=True):
        assert line.startswith(b'{"jsonrpc":"2.0"'), line
        assert set(message) <= {"jsonrpc", "id", "result", "error", "method", "params"}
    answered = [message["id"] for message in messages if message.get("id") is not None]
    assert sorted(answered) == list(range(1, 10))


def test_a_service_that_is_down_puts_nothing_else_on_stdout() -> None:
    down = {"CONTROLLER_URL": f"http://127.0.0.1:{free_port()}", "MESH_JWT_TOKEN": "a.b.c"}
    call = asks(2, "tools/call", name="notify", arguments={"target": "hr", "message": "So."})
    code, stdout, _ = spoken(BEGIN, BEGUN, call, **down)
    assert code == 0
    assert [json.loads(line)["id"] for line in stdout.splitlines()] == [1, 2]


def test_variables_that_cannot_be_used_end_it_with_a_word_on_stderr() -> None:
    code, stdout, stderr = spoken(MESH_RETRY_COUNT="many")
    assert (code, stdout) == (1, b"")
    assert b"MESH_RETRY_COUNT must be a whole number" in stderr
