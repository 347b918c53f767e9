"""Read bodies whole, or refuse them."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, UnreadablePostError

from orchestrator.problems import BadRequest, BodyTooLarge


class WholeBody:
    """The body as the server hands it on. Whatever ends it early is an OSError, as Django expects."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int | None = None) -> bytes:
        """Return up to `size` bytes. Raises OSError."""
        return self._checked(lambda: self._stream.read() if size is None else self._stream.read(size))

    def readline(self, size: int | None = None) -> bytes:
        """Return a line of up to `size` bytes. Raises OSError."""
        return self._checked(lambda: self._stream.readline() if size is None else self._stream.readline(size))

    def _checked(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except Exception as error:
            # gunicorn's own errors about chunks are of many kinds, and would be answered by it, in HTML.
            raise OSError(f"the body cannot be read: {type(error).__name__}") from error


def whole_body(request: HttpRequest) -> bytes:
    """The body, all of it. Raises BadRequest where it ended early or stalled, BodyTooLarge where it is too long."""
    try:
        body = request.body
    except UnreadablePostError as error:
        raise BadRequest("The body ended early, stalled, or was cut into malformed chunks.") from error
    if len(body) > settings.MAX_BODY_BYTES:
        raise BodyTooLarge(settings.MAX_BODY_BYTES)
    # RFC 9112, section 8: a message that is not complete must not be acted on as if it were.
    if not request.META.get("orchestrator.chunked") and len(body) != int(request.META.get("CONTENT_LENGTH") or 0):
        raise BadRequest("The body is shorter than its Content-Length.")
    return body
