"""What the API's document says of the parameters that all lists have."""

from typing import Any

from django.db.models import TextChoices
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from orchestrator.pagination import LARGEST, SMALLEST, USUAL


def query(name: str, schema: Any, description: str, **more: Any) -> OpenApiParameter:
    """A query parameter."""
    return OpenApiParameter(name, schema, OpenApiParameter.QUERY, description=description, **more)


def id_of(noun: str) -> OpenApiParameter:
    """The id in a path."""
    return OpenApiParameter(
        "id", OpenApiTypes.UUID, OpenApiParameter.PATH, description=f"The {noun}'s id, in any case."
    )


def status(known: type[TextChoices]) -> OpenApiParameter:
    """The filter by states."""
    return query(
        "status",
        {"type": "array", "items": {"type": "string", "enum": known.values}, "minItems": 1},
        "One or more, with commas between them; in any case of letters.",
        explode=False,
        style="form",
    )


def made(verb: str, noun: str) -> list[OpenApiParameter]:
    """The filters by who made a row and when."""
    return [
        query(
            "created_by",
            {"type": "string", "pattern": r"^.+\|[^|]+$"},
            f"Who {verb} it: `<issuer>|<subject>`, as {noun} have it.",
        ),
        query("created_after", OpenApiTypes.DATETIME, f"{verb.capitalize()} at this moment or later."),
        query("created_before", OpenApiTypes.DATETIME, f"{verb.capitalize()} before this moment."),
    ]


def pages(noun: str) -> list[OpenApiParameter]:
    """How to ask for a page."""
    return [
        query(
            "page",
            {"type": "integer", "format": "int64", "default": 1},
            "The page's number, from 1. A smaller one is read as 1; one beyond the end is an empty page.",
        ),
        page_size("page_size", noun),
        query(
            "cursor",
            OpenApiTypes.STR,
            "Instead of `page`: the `next_cursor` of the page before, or empty for the first. A cursor goes with its"
            f" filters. It costs the same anywhere, and no {noun} comes twice or is missed while others are made.",
        ),
    ]


def page_size(name: str, noun: str) -> OpenApiParameter:
    """How many to a page."""
    return query(
        name,
        {"type": "integer", "format": "int64", **({"default": USUAL} if name == "page_size" else {})},
        f"How many {noun}s to a page. Less than {SMALLEST} is read as {SMALLEST}, more than {LARGEST} as {LARGEST};"
        " the answer says what it was read as.",
    )
