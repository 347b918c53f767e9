"""The trail as a stream: in batches by keyset, in as much memory as one batch takes, however long it is."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from django.db.models import QuerySet

from audit_app import feed
from audit_app.models import AuditEvent
from audit_app.serializers import EVENT_NAMES, event_out
from orchestrator import boundary
from orchestrator.pagination import Order, Ordering

BATCH = 1_000
HISTORY = Order("timestamp", newest_first=False)

# What a spreadsheet would run as a formula (OWASP, CSV Injection); the wide signs where it reads Japanese. Some strip
# white space and what is not seen from the front before they look.
_FORMULA = re.compile(r"[\t\r\n]|[\s\x00-\x1f\u00ad\u180e\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠]")


@dataclass(frozen=True, slots=True)
class Listed:
    """Events, and the order in which they are given."""

    rows: QuerySet[AuditEvent]
    order: Ordering


def from_the_oldest(rows: QuerySet[AuditEvent], filters: Mapping[str, str], tenant: str) -> Listed:
    """Return events with the oldest first: the feed or, with `subject_id`, the history of one row by time.

    The events of a row need no horizon: each waits for the transaction of the one before it.
    """
    if "subject_id" in filters:
        return Listed(rows, HISTORY)
    return Listed(feed.settled(rows, filters, tenant), feed.ORDER)


def batches(found: Listed) -> Iterator[list[AuditEvent]]:
    """Yield all of them in order; each batch is a query of its own, without a transaction around two of them."""
    ordered = found.rows.order_by(*found.order.keys).defer("body")
    batch = list(ordered[:BATCH])
    while batch:
        yield batch
        beyond = found.order.beyond(found.order.mark(batch[-1]))
        batch = list(ordered.filter(beyond)[:BATCH]) if len(batch) == BATCH else []


def ndjson(found: Listed) -> Iterator[bytes]:
    """A line of JSON for each event."""
    for batch in batches(found):
        lines = (json.dumps(event_out(event), ensure_ascii=False, separators=(",", ":")) for event in batch)
        yield "".join(f"{line}\n" for line in lines).encode()


def as_csv(found: Listed) -> Iterator[bytes]:
    """A line of comma-separated values for each event (RFC 4180), under a line of names; `changes` is JSON.

    All are in quotes, so that a semicolon or a tab begins no cell where a spreadsheet divides by these.
    """
    yield _lines([EVENT_NAMES])
    for batch in batches(found):
        yield _lines(_cells(event_out(event).values()) for event in batch)


def _lines(cells: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(cells)
    return text.getvalue().encode()


def _cells(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else "" if value is None else str(value)
        # A quote in front is how spreadsheets are told that it is a text.
        yield f"'{text}" if _FORMULA.match(text) else text


def begun(written: Iterator[bytes]) -> Iterator[bytes]:
    """The same, its beginning made already: what goes wrong before it is an answer of its own, and not a body cut off.

    Raises ServiceUnavailable where the database is away.
    """
    beginning = boundary.read(lambda: list(islice(written, 2)))
    return chain(beginning, written)


FORMATS: Mapping[str, tuple[str, Callable[[Listed], Iterator[bytes]]]] = {
    "ndjson": ("application/x-ndjson", ndjson),
    "csv": ("text/csv; charset=utf-8; header=present", as_csv),
}
"""The media type of each (RFC 4180, section 3), and how it is made."""
