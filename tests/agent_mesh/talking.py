"""The official MCP client as a test calls it: a plain function for each call, while the client lives in a thread."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp_types import CallToolResult, TextContent, Tool

from agent_mesh.callers import OneCaller
from agent_mesh.server import build
from agent_mesh.tokens import StaticToken
from tests.agent_mesh.in_process import Wire, client
from tests.api import token


class Talker:
    """An agent's side of MCP."""

    def __init__(self, mcp: Client, portal: BlockingPortal) -> None:
        self.mcp, self._portal = mcp, portal

    def call(self, tool: str, **arguments: Any) -> CallToolResult:
        """Whatever it answers."""
        answer: CallToolResult = self._portal.call(self.mcp.call_tool, tool, arguments)
        return answer

    def begin(self, tool: str, **arguments: Any) -> "Future[CallToolResult]":
        """A call that goes on beside the test, which may cancel it."""
        return self._portal.start_task_soon(self.mcp.call_tool, tool, arguments)

    def does(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a call answers that succeeds."""
        answer = self.call(tool, **arguments)
        assert not answer.is_error, text(answer)
        assert isinstance(answer.structured_content, dict)
        return answer.structured_content

    def fails(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a call answers that fails; `text` beside it."""
        answer = self.call(tool, **arguments)
        assert answer.is_error, text(answer)
        return {"text": text(answer), **(answer.structured_content or {})}

    def tools(self) -> dict[str, Tool]:
        """By name."""
        return {tool.name: tool for tool in self._portal.call(self.mcp.list_tools).tools}


def text(answer: CallToolResult) -> str:
    """What a model reads."""
    [content] = answer.content
    assert isinstance(content, TextContent)
    return content.text


@contextmanager
def talking(server: Any, mode: str = "auto") -> Iterator[Talker]:
    """With a server: one in this process, a command over stdio, or an address."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Client(server, mode=mode)) as mcp:
        yield Talker(mcp, portal)


@contextmanager
def mesh(bearer: str | None = None, wire: Wire | None = None, **retry: Any) -> Iterator[Talker]:
    """Alice's, an agent of the role finance, before the service in this process."""
    used = bearer if bearer is not None else token()
    with talking(build(OneCaller(client(used, wire, **retry), StaticToken(used)))) as talker:
        yield talker
