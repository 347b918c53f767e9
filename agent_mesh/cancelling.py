"""HTTP requests that end with the MCP call that makes them."""

import anyio
import anyio.from_thread
import httpx


class CancellableTransport(httpx.BaseTransport):
    """Sends requests of the threads of tools in the event loop of the MCP server.

    Where the client cancels a call, its request is cancelled too: the connection is closed, and the service sees that
    the caller has hung up. A thread that waits for a socket itself could not be cancelled.
    """

    def __init__(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self._http = httpx.AsyncClient(limits=limits, follow_redirects=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer, all of it. Raises httpx.TransportError, and CancelledError of concurrent.futures."""
        return anyio.from_thread.run(self._send, request)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        response = await self._http.send(request, stream=True)
        try:
            content = b"".join([piece async for piece in response.aiter_raw()])
        finally:
            await response.aclose()
        return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(content))


def sleep(seconds: float) -> None:
    """Sleep in the thread of a tool, until the call is cancelled. Raises CancelledError of concurrent.futures."""
    anyio.from_thread.run(anyio.sleep, seconds)
