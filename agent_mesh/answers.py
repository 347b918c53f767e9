"""What a tool answers: a sentence and JSON as text, the same as structured content, and failures marked as such."""

import functools
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import CancelledError
from typing import Annotated, Any, ParamSpec

import anyio
import anyio.lowlevel
import anyio.to_thread
from mcp_types import CallToolResult, TextContent

from agent_mesh.problems import MeshError, NoToken, Problem, Refused, Unreachable

P = ParamSpec("P")
Answer = Annotated[CallToolResult, dict[str, Any]]
"""The structured content is an object, always; a newer service may put more into it."""

_MISSING = "There is no token. Set MESH_JWT_TOKEN, MESH_JWT_TOKEN_FILE, or MESH_TOKEN_URL with MESH_CLIENT_ID."
# A tool may wait for minutes, and holds no more than its thread: many may, without keeping the others from theirs.
_THREADS = anyio.CapacityLimiter(200)
_ADVICE = {
    401: "The token is not valid, or has ended: get a new one.",
    403: "This token may not do that.",
    404: "There is no such thing, or this token may not see it.",
}
_NEXT = {
    "already-requested": "Do not ask again: await_approval {approval_id}, then consume_approval with the same action.",
    "already-rejected": "People said no: do not do it, and do not ask again. An operator can reopen it.",
    "approval-lapsed": "Do not do it: request_approval again if it is still wanted.",
}
"""What a model does next, by the kind of refusal, with the members of the problem."""


class Mistake(MeshError):  # noqa: N818
    """An argument that makes no sense, found before anything was sent."""


def told(sentence: str, content: Mapping[str, Any]) -> Answer:
    """A success: readers of text find the same there."""
    text = TextContent(type="text", text=f"{sentence}\n{json.dumps(content, ensure_ascii=False)}")
    return CallToolResult(content=[text], structured_content={**content})


def failed(error: MeshError) -> Answer:
    """A failure. Where nobody knows whether it was done, the key is told by which to find out."""
    kind, advice = "mistake", ""
    content: dict[str, Any] = {}
    if isinstance(error, Refused):
        kind = error.slug or str(error.status)
        advice = _NEXT.get(kind, _ADVICE.get(error.status, ""))
        advice = advice.format_map({"approval_id": "it", **error.problem.members})
        content = _document(error.problem)
    elif isinstance(error, Unreachable):
        kind = "unreachable"
    elif isinstance(error, NoToken):
        kind = "no-token"
    elif not isinstance(error, Mistake):
        kind = "not-the-service"
    content = {"error": kind, "message": str(error), **content}
    lines = [f"Failed: {error}", advice]
    if error.maybe_done and error.key:
        content["idempotency_key"] = error.key
        lines.append(f"It may or may not have been done. Call again with idempotency_key={error.key}: it is done once.")
    text = "\n".join(filter(None, lines))
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=content, is_error=True)


def insist_on_token(source: object) -> None:
    """Raises NoToken where there is none."""
    if source is None:
        raise NoToken(_MISSING)


def _document(problem: Problem) -> dict[str, Any]:
    """The problem as the service told it, but for what is said anyway."""
    named = {"title": problem.title, "detail": problem.detail, "request_id": problem.request_id}
    said = {name: value for name, value in named.items() if value}
    return {**problem.members, "status": problem.status, **said}


def answering(tool: Callable[P, Answer]) -> Callable[P, Awaitable[Answer]]:
    """A tool whose refusals are answers. It runs in a thread of its own, since the client waits for the network."""

    @functools.wraps(tool)
    async def answer(*args: P.args, **kwargs: P.kwargs) -> Answer:
        try:
            return await anyio.to_thread.run_sync(functools.partial(tool, *args, **kwargs), limiter=_THREADS)
        except CancelledError:
            # The client cancelled the call, and its request to the service was cancelled with it.
            await anyio.lowlevel.checkpoint()
            raise
        except MeshError as error:
            return failed(error)
        except ValueError as error:
            return failed(Mistake(str(error)))

    return answer
