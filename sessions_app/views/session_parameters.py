"""What the API's document says of the parameters of /sessions."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample

from orchestrator.openapi_parameters import id_of, made, pages, query, status
from sessions_app.models.session import SessionStatus

ID = id_of("session")

FILTERS = [
    status(SessionStatus),
    query("agent_role", OpenApiTypes.STR, "The role, as it stands."),
    query("task_id", OpenApiTypes.UUID, "The task that it points to."),
    *made("opened", "sessions"),
    query(
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
PAGES = pages("session")
