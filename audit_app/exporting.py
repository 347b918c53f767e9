"""The trail as a stream: in batches by keyset, in as much memory as one batch takes, however long it is."""

import csv
import io
import json
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from audit_app import feed
from audit_app.models import AuditEvent
from audit_app.serializers import EVENT_NAMES, event_out
from orchestrator import boundary
from orchestrator.actors import Actor
from orchestrator.fair_shares import FairShares
from orchestrator.pagination import Order, Ordering
from orchestrator.problems import ServiceUnavailable, TooManyRequests

BATCH = 1_000
RETRY_AFTER_SECONDS = 5
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


@cache
def slots() -> FairShares:
    """Return the slots for exports of this process: each export holds a thread until its reader has all of it."""
    return FairShares(settings.MAX_EXPORTS)


class Export:
    """The content of an export. It holds a slot until it is read to its end, closed or forgotten."""

    def __init__(self, written: Iterator[bytes], actor: Actor) -> None:
        """Begin the export. Raises ServiceUnavailable, and TooManyRequests where the reader has its share of slots."""
        if not slots().acquire(actor.identity):
            if slots().has_reached_share(actor.identity):
                detail = "You have as many exports at once as you may: wait for one to end."
                raise TooManyRequests(RETRY_AFTER_SECONDS, {}, detail)
            raise ServiceUnavailable("As many exports run as may.", retry_after=RETRY_AFTER_SECONDS)
        self.close = weakref.finalize(self, slots().release, actor.identity)
        try:
            self._content = begun(written)
        except BaseException:
            # Not when the exception is forgotten: it refers to this object.
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._content
        finally:
            self.close()


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
