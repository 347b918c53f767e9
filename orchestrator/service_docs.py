"""What the API's document says of the service's own paths, which are plain Django views."""

from typing import Any

from orchestrator import __version__
from orchestrator.health import LINKS
from orchestrator.openapi_headers import Schema, told
from orchestrator.problem_schemas import refusals
from orchestrator.problems import Problem, ServiceUnavailable


def paths() -> dict[str, Schema]:
    """The paths that tell how the service is, for anybody."""
    return {
        "/": _read(
            "get_index",
            "What this is",
            "The service, its version, and where to go from here.",
            _object(service=_one_of("orchestrator"), version=_VERSION, links=_LINKS),
            {"service": "orchestrator", "version": __version__, "links": LINKS},
        ),
        "/status": _read(
            "get_status",
            "Is it there?",
            "Touches nothing.",
            _object(status=_one_of("ok"), version=_VERSION),
            {"status": "ok", "version": __version__},
        ),
        "/livez": _read(
            "get_livez",
            "Does the process answer?",
            "For whoever restarts it.",
            _object(status=_one_of("ok")),
            {"status": "ok"},
        ),
        "/readyz": _read(
            "get_readyz",
            "May requests be sent here?",
            "Refuses without a database, and while migrations are not applied. Names the maintenance jobs that are"
            " overdue, which refuse nothing.",
            _object(status=_one_of("ok"), overdue_jobs={"type": "array", "items": {"type": "string"}}),
            {"status": "ok", "overdue_jobs": []},
            ServiceUnavailable,
        ),
        "/health": _health(),
    }


def _health() -> Schema:
    path = _read(
        "get_health",
        "How is it?",
        "For monitors and people. `degraded` is: Redis is away, a maintenance job is overdue, or `audit` is.",
        _HEALTH,
        {
            "status": "healthy",
            "version": __version__,
            "database": "connected",
            "redis": "disabled",
            "audit": {"status": "healthy", "seal_lag_seconds": 0.0, "problems": []},
            "jobs": {"seal_trail": {"last_success_age_seconds": 4.2, "overdue": False, "poison_rows": 0}},
        },
    )
    away = {"status": "unhealthy", "version": __version__, "database": "error", "redis": "disabled"}
    unhealthy = _answer("The database is away.", _HEALTH, away)
    unhealthy["headers"] = told("Retry-After")
    path["get"]["responses"]["503"] = unhealthy
    return path


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


_VERSION: Schema = {"type": "string", "description": "The service's version."}
_LINKS: Schema = {"type": "object", "additionalProperties": {"type": "string", "format": "uri-reference"}}
_HEALTH = _object(
    status=_one_of("healthy", "degraded", "unhealthy"),
    version=_VERSION,
    database=_one_of("connected", "error"),
    redis=_one_of("connected", "disabled", "error"),
)
_HEALTH["properties"]["audit"] = {
    "type": ["object", "null"],
    "description": "How long the oldest event that waits for a seal has waited. Null where that cannot be told; absent"
    " where the database is away.",
    "properties": {
        "status": _one_of("healthy", "degraded"),
        "seal_lag_seconds": {"type": "number", "minimum": 0},
        "problems": {
            "type": "array",
            "items": {"type": "string"},
            "description": "What keeps seals from being made, and what the last recorded verification found.",
        },
    },
    "required": ["status", "seal_lag_seconds", "problems"],
}

_HEALTH["properties"]["jobs"] = {
    "type": ["object", "null"],
    "description": "Each maintenance job, by its name. Null where that cannot be told; absent where the database is"
    " away.",
    "additionalProperties": _object(
        last_success_age_seconds={
            "type": ["number", "null"],
            "minimum": 0,
            "description": "How long ago the job last succeeded; null where it never did.",
        },
        overdue={"type": "boolean", "description": "Whether the job has not succeeded for too long."},
        poison_rows={"type": "integer", "minimum": 0, "description": "How many rows the job cannot move."},
    ),
}


def _read(name: str, summary: str, description: str, schema: Schema, example: Any, *kinds: type[Problem]) -> Schema:
    operation = {
        "operationId": name,
        "summary": summary,
        "description": description,
        "tags": ["service"],
        "security": [],
        "responses": {"200": _answer("As asked.", schema, example)},
        **refusals(*kinds),
    }
    return {"get": operation}


def _answer(description: str, schema: Schema, example: Any) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}
