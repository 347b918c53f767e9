"""Bound how many bytes of documents one answer holds."""

import json
from collections.abc import Iterator
from functools import cache
from typing import TypeVar

from django.db import models
from django.db.models.query import ModelIterable

from orchestrator.problems import AnswerTooLarge

MAX_BYTES = 4 * 1024 * 1024
"""How many bytes of JSON documents and texts the rows of one answer may hold together."""

_SHORT_COLUMNS_BYTES = 512
"""About what the other columns of a row come to in an answer."""

Row = TypeVar("Row", bound=models.Model)


class AnswerSize:
    """Counts the bytes of the rows that one answer shows.

    `advice` says how the caller gets smaller answers, such as "Ask for a smaller page_size.".
    """

    def __init__(self, advice: str) -> None:
        self._advice, self._bytes = advice, 0

    def rows(self, query: "models.QuerySet[Row]") -> list[Row]:
        """Return the rows of a query. Raises AnswerTooLarge as soon as they hold more than MAX_BYTES."""
        return list(self._counted(query))

    def _counted(self, query: "models.QuerySet[Row]") -> Iterator[Row]:
        # ModelIterable decodes the documents of one row at a time: what comes after the bound is never decoded.
        each: Iterator[Row] = iter(ModelIterable(query))
        for row in each:
            self._bytes += _bytes_of(row)
            if self._bytes > MAX_BYTES:
                raise AnswerTooLarge(MAX_BYTES, self._advice)
            yield row


def _bytes_of(row: models.Model) -> int:
    loaded = row.__dict__
    # A deferred column is not shown, and reading it would be a query.
    long = sum(_length(loaded[name]) for name in _long_columns(type(row)) if loaded.get(name))
    return _SHORT_COLUMNS_BYTES + long


def _length(value: object) -> int:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode())


@cache
def _long_columns(kind: type[models.Model]) -> tuple[str, ...]:
    """Return the columns whose length callers choose."""
    return tuple(field.attname for field in kind._meta.fields if isinstance(field, models.JSONField | models.TextField))
