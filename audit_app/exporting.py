"""The trail as a stream: in batches by keyset, in as much memory as one batch takes, however long it is."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.db.models import QuerySet

from audit_app.models import AuditEvent
from audit_app.serializers import event_out
from orchestrator.pagination import Order

BATCH = 1_000
OLDEST_FIRST = Order("timestamp", newest_first=False)

# What a spreadsheet would run as a formula (OWASP, CSV Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def batches(rows: QuerySet[AuditEvent]) -> Iterator[list[AuditEvent]]:
    """All of them, the oldest first; each batch is a query of its own, and no transaction is held between two."""
    ordered = rows.order_by(*OLDEST_FIRST.keys).defer("body")
    batch = list(ordered[:BATCH])
    while batch:
        yield batch
        last = batch[-1]
        batch = list(ordered.filter(OLDEST_FIRST.after(last.timestamp, last.pk))[:BATCH]) if len(batch) == BATCH else []


def ndjson(rows: QuerySet[AuditEvent]) -> Iterator[bytes]:
    """A line of JSON for each event."""
    for batch in batches(rows):
        lines = (json.dumps(event_out(event), ensure_ascii=False, separators=(",", ":")) for event in batch)
        yield "".join(f"{line}\n" for line in lines).encode()


def as_csv(rows: QuerySet[AuditEvent]) -> Iterator[bytes]:
    """A line of comma-separated values for each event (RFC 4180), under a line of names; `changes` is JSON."""
    head = True
    for batch in batches(rows):
        shapes = [event_out(event) for event in batch]
        text = io.StringIO()
        writer = csv.writer(text)
        if head:
            writer.writerow(shapes[0])
        writer.writerows(_cells(shape.values()) for shape in shapes)
        head = False
        yield text.getvalue().encode()
    if head:
        yield b""


def _cells(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else "" if value is None else str(value)
        # A quote in front is how spreadsheets are told that it is a text.
        yield f"'{text}" if text.startswith(_FORMULA) else text


FORMATS: Mapping[str, tuple[str, Callable[[QuerySet[AuditEvent]], Iterator[bytes]]]] = {
    "ndjson": ("application/x-ndjson", ndjson),
    "csv": ("text/csv; charset=utf-8", as_csv),
}
"""The media type of each, and how it is made."""
