"""Pages: by number with a total, or by cursor at the same cost anywhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

from django.core import signing
from django.db import models
from django.db.models.expressions import RawSQL

from orchestrator.answer_size import AnswerSize
from orchestrator.problems import InvalidRequest

SMALLEST, LARGEST, USUAL = 1, 100, 20
PARAMETERS = frozenset({"page", "page_size", "cursor"})

Row = TypeVar("Row", bound=models.Model)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Python reads no longer numbers, and no request line is that long.
_LONGEST_NUMBER = 4000


class Ordering(Protocol):
    """An order of rows that a cursor walks: it names the place of each row, and finds what comes after a place."""

    @property
    def keys(self) -> tuple[str, ...]:
        """As `order_by()` takes them."""

    def mark(self, row: Any) -> list[Any]:
        """Return the place of a row as JSON values, for a cursor."""

    def beyond(self, mark: Sequence[Any]) -> RawSQL:
        """Return the condition to come after the place of a cursor."""


@dataclass(frozen=True)
class Order:
    """By which moment rows are listed, and which end comes first. Rows of one moment are told apart by their ids."""

    column: str
    newest_first: bool = True

    @property
    def keys(self) -> tuple[str, str]:
        """As `order_by()` takes them."""
        return (f"-{self.column}", "-id") if self.newest_first else (self.column, "id")

    def mark(self, row: Any) -> list[Any]:
        """Return the row's moment in microseconds since 1970, and its id in hex."""
        return [(getattr(row, self.column) - _EPOCH) // timedelta(microseconds=1), row.id.hex]

    def beyond(self, mark: Sequence[Any]) -> RawSQL:
        """The rows that come after a place, as a comparison of rows: written as ORs it would walk to its place."""
        microseconds, pk = mark
        sign, at = "<" if self.newest_first else ">", _EPOCH + timedelta(microseconds=microseconds)
        return RawSQL(f"({self.column}, id) {sign} (%s, %s)", [at, UUID(pk)], models.BooleanField())  # noqa: S611


CREATED = Order("created_at")


@dataclass(frozen=True)
class Wanted:
    """Which page a caller asks for: one with a number, or what comes after a cursor ("" is the start)."""

    size: int
    number: int | None
    cursor: str | None


def wanted(query: Mapping[str, str]) -> Wanted:
    """What the query asks for; `limit`, where a list takes it, is another word for `page_size`.

    Page and size are clamped, not refused. Raises InvalidRequest.
    """
    if "cursor" in query and "page" in query:
        raise InvalidRequest([("cursor", "It cannot be combined with page.")])
    if "limit" in query and "page_size" in query:
        raise InvalidRequest([("limit", "It cannot be combined with page_size.")])
    size = min(max(_number(query, "limit" if "limit" in query else "page_size", USUAL), SMALLEST), LARGEST)
    if "cursor" in query:
        return Wanted(size, None, query["cursor"])
    return Wanted(size, max(_number(query, "page", 1), 1), None)


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER):
        raise InvalidRequest([(name, "It must be a whole number.")])
    return int(text)


def page(
    rows: models.QuerySet[Row],
    ask: Wanted,
    *,
    name: str,
    scope: str,
    shapes: Callable[[Sequence[Row]], Sequence[Any]],
    order: Ordering = CREATED,
) -> dict[str, Any]:
    """One page, newest first unless the order says otherwise, as the contract has it under `name`.

    `shapes` makes what goes out of the rows that are shown. `scope` is what a cursor is bound to (tenant and filters):
    used with another it is refused. By number it takes two queries, by cursor one. Raises InvalidRequest for a cursor
    that is not ours or not for this list, AnswerTooLarge where the rows hold too many bytes.
    """
    size = AnswerSize("Ask for a smaller page_size.")
    ordered = rows.order_by(*order.keys)
    if ask.number is None:
        after = ordered.filter(order.beyond(_mark(ask.cursor, scope))) if ask.cursor else ordered
        found = size.rows(after[: ask.size + 1])
        told: dict[str, Any] = {"page_size": ask.size}
    else:
        total = rows.order_by().count()
        start = (ask.number - 1) * ask.size
        # A number beyond the end needs no query, and may be too large for one.
        found = size.rows(ordered[start : start + ask.size + 1]) if start < total else []
        told = {"total": total, "page": ask.number, "page_size": ask.size}
    shown = found[: ask.size]
    following = _cursor(shown[-1], scope, order) if len(found) > ask.size else None
    return {name: shapes(shown), **told, "next_cursor": following}


def _cursor(row: Any, scope: str, order: Ordering) -> str:
    return signing.dumps(order.mark(row), salt=f"cursor:{scope}")


def _mark(cursor: str, scope: str) -> Sequence[Any]:
    try:
        found: Sequence[Any] = signing.loads(cursor, salt=f"cursor:{scope}")
    except signing.BadSignature as error:
        raise InvalidRequest([("cursor", "It is not a cursor of this list with these filters.")]) from error
    return found
