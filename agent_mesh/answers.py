"""What a tool answers: a sentence and JSON as text, the same as structured content, and failures marked as such."""

import functools
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, ParamSpec

import anyio
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


class Mistake(MeshError):  # noqa: N818
    """An argument that makes no sense, found before anything was sent."""


class Unsettled(MeshError):  # noqa: N818
    """A write that failed, with the key that it was under."""

    def __init__(self, error: MeshError, key: str) -> None:
        super().__init__(str(error))
        self.error, self.key = error, key


@contextmanager
def under(key: str) -> Iterator[str]:
    """A write under a key: raises Unsettled for any MeshError, so that the key can be told."""
    try:
        yield key
    except MeshError as error:
        raise Unsettled(error, key) from error


def told(sentence: str, content: Mapping[str, Any]) -> Answer:
    """A success: readers of text find the same there."""
    text = TextContent(type="text", text=f"{sentence}\n{json.dumps(content, ensure_ascii=False)}")
    return CallToolResult(content=[text], structured_content={**content})


def failed(error: MeshError, key: str = "") -> Answer:
    """A failure. Where nobody knows whether it was done, the key is told by which to find out."""
    kind, advice, unknown = "mistake", "", False
    content: dict[str, Any] = {}
    if isinstance(error, Refused):
        kind, advice = error.slug or str(error.status), _ADVICE.get(error.status, "")
        content, unknown = _document(error.problem), error.status >= 500
    elif isinstance(error, Unreachable):
        kind, unknown = "unreachable", True
    elif isinstance(error, NoToken):
        kind = "no-token"
    elif not isinstance(error, Mistake):
        kind, unknown = "not-the-service", True
    content = {"error": kind, "message": str(error), **content}
    lines = [f"Failed: {error}", advice]
    if unknown and key:
        content["idempotency_key"] = key
        lines.append(f"It may or may not have been done. Call again with idempotency_key={key}: it is done once.")
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
        except Unsettled as unsettled:
            return failed(unsettled.error, unsettled.key)
        except MeshError as error:
            return failed(error)
        except ValueError as error:
            return failed(Mistake(str(error)))

    return answer
