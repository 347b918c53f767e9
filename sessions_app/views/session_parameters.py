"""What the API's document says of the parameters of /sessions."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter

from orchestrator.pagination import LARGEST, SMALLEST, USUAL
from sessions_app.models.session import SessionStatus


def _query(name: str, schema: Any, description: str, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.QUERY, description=description, **more)


ID = OpenApiParameter("id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The session's id, in any case.")

FILTERS = [
    _query(
        "status",
        {"type": "array", "items": {"type": "string", "enum": SessionStatus.values}, "minItems": 1},
        "One or more, with commas between them; in any case of letters.",
        explode=False,
        style="form",
    ),
    _query("agent_role", OpenApiTypes.STR, "The role, as it stands."),
    _query("task_id", OpenApiTypes.UUID, "The task that it points to."),
    _query(
        "created_by",
        {"type": "string", "pattern": r"^.+\|[^|]+$"},
        "Who opened it: `<issuer>|<subject>`, as sessions have it.",
    ),
    _query("created_after", OpenApiTypes.DATETIME, "Opened at this moment or later."),
    _query("created_before", OpenApiTypes.DATETIME, "Opened before this moment."),
    _query(
        "metadata",
        {
            "type": "object",
            "propertyNames": {"pattern": r"^metadata\.[^.]+(\.[^.]+){0,29}$"},
            "additionalProperties": {"type": "string"},
        },
        "Any number of parameters `metadata.<path>=<value>`, such as `metadata.quarter=2026-Q4`: sessions with that"
        " value at that path (names with dots between them). The value is read as JSON where it is JSON, and as text;"
        " either matches. There is no parameter called `metadata`.",
        explode=True,
        style="form",
        # The first one is what Swagger UI sends unless told otherwise.
        examples=[
            OpenApiExample("none", {}, summary="None"),
            OpenApiExample("quarter", {"metadata.quarter": "2026-Q4"}, summary="By a quarter"),
        ],
    ),
]
PAGES = [
    _query(
        "page",
        {"type": "integer", "format": "int64", "default": 1},
        "The page's number, from 1. A smaller one is read as 1; one beyond the end is an empty page.",
    ),
    _query(
        "page_size",
        {"type": "integer", "format": "int64", "default": USUAL},
        f"How many sessions to a page. Less than {SMALLEST} is read as {SMALLEST}, more than {LARGEST} as {LARGEST};"
        " the answer says what it was read as.",
    ),
    _query(
        "cursor",
        OpenApiTypes.STR,
        "Instead of `page`: the `next_cursor` of the page before, or empty for the first. A cursor goes with its"
        " filters. It costs the same anywhere, and no session comes twice or is missed while others are opened.",
    ),
]
