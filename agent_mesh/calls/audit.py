"""The calls on /audit."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Unpack, cast

from agent_mesh.calls.noun import Noun
from agent_mesh.connection import Call, with_id
from agent_mesh.filters import EventFilters, Id, Moment, OrderedEventFilters
from agent_mesh.shapes import Event, EventPage, Ingested


class Audit(Noun):
    """The trail. Each call raises MeshError."""

    def get(self, event_id: Id) -> Event:
        """GET /audit/events/{id}"""
        return cast(Event, self._read(with_id("/audit/events/{id}", event_id)))

    def page(self, page: int = 1, page_size: int = 20, **filters: Unpack[OrderedEventFilters]) -> EventPage:
        """GET /audit/events by number, newest first unless ordered otherwise, with a total."""
        return cast(EventPage, self._read("/audit/events", {**filters, "page": page, "page_size": page_size}))

    def since(self, cursor: str = "", page_size: int = 100, **filters: Unpack[OrderedEventFilters]) -> EventPage:
        """GET /audit/events?cursor=: what comes after it; `next_cursor` leads on."""
        query = {**filters, "cursor": cursor, "page_size": page_size}
        return cast(EventPage, self._read("/audit/events", query))

    def walk(self, page_size: int = 100, **filters: Unpack[OrderedEventFilters]) -> Iterator[Event]:
        """GET /audit/events by cursor: all of them, none twice."""
        return self._walk("/audit/events", "events", filters, page_size)

    def export(self, **filters: Unpack[EventFilters]) -> Iterator[Event]:
        """GET /audit/export as NDJSON: all of them, the oldest first, in one answer that is read as it comes."""
        with self._connection.lines(Call("GET", "/audit/export", {**filters, "format": "ndjson"})) as lines:
            for line in lines:
                yield cast(Event, json.loads(line))

    def export_csv(self, **filters: Unpack[EventFilters]) -> Iterator[str]:
        """GET /audit/export as CSV, line by line, the names of the columns first."""
        with self._connection.lines(Call("GET", "/audit/export", {**filters, "format": "csv"})) as lines:
            yield from lines

    def ingest(
        self,
        source: str,
        category: str,
        action: str,
        *,
        subject: str | None = None,
        trace_id: str | None = None,
        timestamp: Moment | None = None,
        metadata: Mapping[str, Any] | None = None,
        content: Any = None,
        idempotency_key: str | None = None,
    ) -> Ingested:
        """POST /audit/ingest: hand in an event of another system."""
        body = {
            "source": source,
            "category": category,
            "action": action,
            "subject": subject,
            "traceId": trace_id,
            "timestamp": timestamp,
            "metadata": metadata,
            "content": content,
        }
        return cast(Ingested, self._write("POST", "/audit/ingest", body, key=idempotency_key))
