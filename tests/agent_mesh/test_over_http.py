"""`python -m agent_mesh --http`: many callers, each with a token of their own, against the service as it is served."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from tempfile import TemporaryFile

import httpx
import httpx2
import pytest
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from sessions_app.models import Task
from tests.agent_mesh.identity import MESH, SECRET, SERVICE, Provider, providing
from tests.agent_mesh.talking import Talker, talking
from tests.agent_mesh.test_http_door import ACCEPTS, INITIALIZE
from tests.agent_mesh.test_tools import WORK
from tests.agent_mesh.wiretap import tapped
from tests.gunicorn_server import HERE, free_port, serving

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
PATIENCE = 30


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as one:
        yield one


@pytest.fixture(scope="module")
def base(django_db_setup: None, provider: Provider) -> Iterator[str]:
    """The service, which takes tokens for itself alone."""
    with serving(**provider.environment()) as address:
        yield address


@pytest.fixture(scope="module")
def exchanging(base: str, provider: Provider) -> Iterator[str]:
    """An MCP server that exchanges its callers' tokens."""
    with mesh(base, provider, "exchange") as address:
        yield address


@pytest.fixture(scope="module")
def passing(base: str, provider: Provider) -> Iterator[str]:
    """One that passes them on."""
    with mesh(base, provider, "pass") as address:
        yield address


@contextmanager
def mesh(base: str, provider: Provider, forward: str) -> Iterator[str]:
    """The MCP server, and its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/mcp"
    said = {
        "CONTROLLER_URL": base,
        "MESH_PUBLIC_URL": address,
        "MESH_ISSUER_URL": provider.address,
        "MESH_AUDIENCE": MESH,
        "MESH_FORWARD": forward,
        "MESH_TOKEN_URL": f"{provider.address}/token",
        "MESH_CLIENT_ID": MESH,
        "MESH_CLIENT_SECRET": SECRET,
        "MESH_TARGET_AUDIENCE": SERVICE,
    }
    with TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent_mesh", "--http", f"127.0.0.1:{port}"],
            cwd=HERE,
            env={**os.environ, **said},
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(process, port)
            yield address
        finally:
            process.terminate()
            process.wait(PATIENCE)
            log.seek(0)
            print(log.read())


def _wait_for(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/.well-known/oauth-protected-resource/mcp", trust_env=False)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("The MCP server does not answer.")


@contextmanager
def agent(address: str, bearer: str, mode: str = "auto") -> Iterator[Talker]:
    """Somebody with a token."""
    with talking(_reached(address, bearer), mode) as talker:
        yield talker


@asynccontextmanager
async def _reached(address: str, bearer: str) -> AsyncIterator[TransportStreams]:
    headers = {"Authorization": f"Bearer {bearer}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=PATIENCE, trust_env=False) as http,
        streamable_http_client(address, http_client=http) as streams,
    ):
        yield streams


def approve(base: str, approval_id: str, bearer: str) -> None:
    answer = httpx.post(
        f"{base}/approvals/{approval_id}/approve", headers={"Authorization": f"Bearer {bearer}"}, trust_env=False
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_full_story_with_tokens_that_are_exchanged(
    base: str, exchanging: str, provider: Provider, mode: str
) -> None:
    manager = {"agent_roles": ["manager"]}
    provider.exchanged.clear()
    with (
        agent(exchanging, provider.token("mona", **manager), mode) as mona,
        agent(exchanging, provider.token("finn"), mode) as finn,
    ):
        sent = mona.does("send_task", target="finance", task=WORK)
        asked = mona.does("request_approval", task_id=sent["task_id"], approver_role="manager", reason="So much.")
        approve(base, asked["approval_id"], provider.person_token())
        assert mona.does("await_approval", approval_id=asked["approval_id"])["status"] == "approved"
        held = finn.does("claim_task", wait_seconds=5)["task"]
        proof = {"task_id": held["task_id"], "lease_token": held["lease"]["token"]}
        assert finn.does("complete_task", **proof, output={"unpaid": 3})["status"] == "completed"
        told = mona.does("fetch_status", task_id=sent["task_id"])
    assert (told["status"], told["output"]) == ("completed", {"unpaid": 3})
    # Each acted as they are, and one exchange each was enough.
    assert sent["created_by"] == f"{provider.address}|mona"
    assert held["lease"]["holder"] == f"{provider.address}|finn"
    assert len(provider.exchanged) == 2
    assert {form["audience"] for form in provider.exchanged} == {SERVICE}


def test_a_token_for_both_is_passed_on(passing: str, provider: Provider) -> None:
    provider.exchanged.clear()
    with agent(passing, provider.token("mona", [MESH, SERVICE])) as mona:
        assert mona.does("send_task", target="hr", task=WORK)["created_by"] == f"{provider.address}|mona"
    assert provider.exchanged == []


def test_a_token_for_the_mesh_alone_is_not_good_for_the_service(passing: str, provider: Provider) -> None:
    with agent(passing, provider.token("mona")) as mona:
        assert mona.fails("send_task", target="hr", task=WORK)["error"] == "unauthenticated"


def test_a_token_for_the_service_alone_is_a_401(passing: str, provider: Provider) -> None:
    headers = {**ACCEPTS, "Authorization": f"Bearer {provider.token('mona', SERVICE)}"}
    answer = httpx.post(passing, json=INITIALIZE, headers=headers, trust_env=False)
    assert answer.status_code == 401
    assert "resource_metadata=" in answer.headers["WWW-Authenticate"]


def test_another_host_and_another_origin_are_refused(passing: str, provider: Provider) -> None:
    good = {**ACCEPTS, "Authorization": f"Bearer {provider.token()}"}
    for header in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        answer = httpx.post(passing, json=INITIALIZE, headers={**good, **header}, trust_env=False)
        assert answer.status_code in (403, 421), header


def test_a_session_is_of_no_use_to_another_caller(passing: str, provider: Provider) -> None:
    def sent(subject: str, **headers: str) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {provider.token(subject, [MESH, SERVICE])}"}
        body = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"} if headers else INITIALIZE
        return httpx.post(passing, json=body, headers={**ACCEPTS, **bearer, **headers}, trust_env=False)

    session = {"Mcp-Session-Id": sent("mona").headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-06-18"}
    assert sent("mona", **session).status_code == 200
    assert sent("hans", **session).status_code in (403, 404)


def test_a_request_that_is_sent_again_is_done_once(base: str, provider: Provider) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": "notify", "arguments": {"target": "hr", "message": "The books are closed."}},
    }
    with tapped(base) as tap, mesh(tap.address, provider, "exchange") as address:
        headers = {**ACCEPTS, "Authorization": f"Bearer {provider.token('mona')}"}
        with httpx.Client(headers=headers, trust_env=False, timeout=PATIENCE) as http:
            begun = http.post(address, json=INITIALIZE)
            http.headers["Mcp-Session-Id"] = begun.headers["Mcp-Session-Id"]
            http.headers["MCP-Protocol-Version"] = "2025-06-18"
            http.post(address, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
            for _ in range(2):
                assert http.post(address, json=call).status_code == 200
            http.post(address, json={**call, "id": 8})
        assert len({key for _, _, key in tap.seen}) == 2
    assert Task.objects.count() == 2
