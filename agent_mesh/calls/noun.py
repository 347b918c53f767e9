"""What the calls on each noun have in common: reading, writing once, and lists."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from agent_mesh.connection import Call, Connection, new_key
from agent_mesh.shapes import Approval


class Noun:
    """The calls on one noun, over a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _read(self, path: str, query: Mapping[str, Any] | None = None, *, wait: float = 0.0) -> Any:
        return self._connection.send(Call("GET", path, query or {}, wait=wait)).body

    def _read_if_changed(self, path: str, version: int) -> Any:
        """None where it is still at that version."""
        return self._connection.send(Call("GET", path, known_version=version)).body

    def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        key: str | None,
        version: int | None = None,
        media_type: str = "application/json",
    ) -> Any:
        """Under one key for as long as it takes: the caller's, or one that is made here."""
        sent = None if body is None else {name: value for name, value in body.items() if value is not None}
        call = Call(method, path, {}, sent, key or new_key(), version, media_type=media_type)
        return self._connection.send(call).body

    def _delete(self, path: str, reason: str, *, version: int | None, key: str | None) -> Approval | None:
        """Return None for 204, and for 202 the request to a second person. Raise ValueError for an empty reason."""
        if not reason.strip():
            raise ValueError("reason is empty: say why it is deleted.")
        call = Call("DELETE", path, {"reason": reason}, key=key or new_key(), version=version)
        return cast(Approval | None, self._connection.send(call).body)

    def _walk(self, path: str, noun: str, query: Mapping[str, Any], page_size: int) -> Iterator[Any]:
        """All of a list, from cursor to cursor."""
        cursor: str | None = ""
        while cursor is not None:
            page = self._read(path, {**query, "cursor": cursor, "page_size": page_size})
            yield from page[noun]
            cursor = page["next_cursor"]
