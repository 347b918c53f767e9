"""The MCP server: its tools, and what clients are told of each."""

import inspect
from collections.abc import Callable
from typing import Any

from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

from agent_mesh import __version__
from agent_mesh.callers import Callers
from agent_mesh.tools.asking import Asking
from agent_mesh.tools.holding import Holding
from agent_mesh.tools.looking import Looking
from agent_mesh.tools.sending import Sending
from agent_mesh.tools.strict import tool

NAME = "agent_mesh"
_INSTRUCTIONS = """\
Work with other agents and with people. Give work to another role with send_task, and look how it stands with
fetch_status. To do work: claim_task, heartbeat well before the lease runs out, then complete_task or fail_task. Before
an act that needs agreement: request_approval with exactly that action, with or without a task, await_approval,
consume_approval with the same action, and then do it, once. People decide; no tool does. A failure says what to mend;
where it tells an idempotency_key, call again with it."""

# In the order in which clients show them: reading changes nothing, and what is idempotent has no further effect when it
# is called again with the same arguments.
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)
_SETTLES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


def build(
    callers: Callers, *, auth: AuthSettings | None = None, verifier: TokenVerifier | None = None
) -> "MCPServer[Any]":
    """A server whose tools call the service as whoever calls them."""
    sending, asking, holding, looking = Sending(callers), Asking(callers), Holding(callers), Looking(callers)
    offered: list[tuple[Callable[..., Any], ToolAnnotations]] = [
        (sending.send_task, _ADDS),
        (asking.request_approval, _ADDS),
        (sending.notify, _ADDS),
        (looking.fetch_status, _READS),
        (holding.claim_task, _ADDS),
        (holding.heartbeat, _SETTLES),
        (holding.complete_task, _SETTLES),
        (holding.fail_task, _SETTLES),
        (asking.await_approval, _READS),
        (asking.consume_approval, _SETTLES),
    ]
    server: MCPServer[Any] = MCPServer(
        NAME,
        title="Agent mesh",
        instructions=_INSTRUCTIONS,
        version=__version__,
        tools=[
            tool(function, description=inspect.getdoc(function), annotations=annotations)
            for function, annotations in offered
        ],
        log_level="WARNING",
        auth=auth,
        token_verifier=verifier,
        subscriptions=False,
    )
    return server
