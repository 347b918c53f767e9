"""What people type into the search box and the filters."""

from collections.abc import Iterator
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import smart_split, unescape_string_literal
from unfold.contrib.filters.admin import TextFilter

from orchestrator import ids, names

MOST_WORDS = 10
"""How many words a search may have: each is a condition of its own."""

_UUID_LENGTH = 36


def terms(text: str) -> Iterator[str]:
    """The words of a search; what is in quotes is one word."""
    for term in smart_split(text):
        quoted = len(term) > 1 and term[0] == term[-1] and term[0] in "\"'"
        yield unescape_string_literal(term) if quoted else term


def as_uuid(text: str) -> UUID | None:
    """A UUID in its usual form, in any case."""
    try:
        return UUID(text) if len(text) == _UUID_LENGTH else None
    except ValueError:
        return None


def exactly(column: str) -> type["Exactly"]:
    """The filter by a text that this column must equal."""
    return type(column, (Exactly,), {"title": column.replace("_", " "), "parameter_name": column})


class Exactly(TextFilter):  # type: ignore[misc]  # unfold has no types
    """A text that a column must equal: `parameter_name` is the column's name."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Nothing where nothing was typed."""
        typed = names.normal((self.value() or "").strip())
        return queryset.filter(**{self.parameter_name: typed}) if typed else queryset


def identified(column: str, noun: str) -> type["Identified"]:
    """Return the filter by an id that this column must equal; a noun may stand before the id."""
    title = column.replace("_", " ").replace(" id", "")
    return type(column, (Identified,), {"title": title, "parameter_name": column, "noun": noun})


class Identified(TextFilter):  # type: ignore[misc]  # unfold has no types
    """An id that a column must equal: `parameter_name` is the column's name."""

    noun: ClassVar[str]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return all rows where nothing was typed, and none for what is no id."""
        typed = (self.value() or "").strip()
        if not typed:
            return queryset
        pk = ids.read(typed, self.noun)
        return queryset.none() if pk is None else queryset.filter(**{self.parameter_name: pk})
