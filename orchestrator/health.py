"""How the service is: for load balancers, for monitors, for people."""

from functools import cache

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.module_loading import import_string

from orchestrator import __version__
from orchestrator.problem_responses import reads_only, response
from orchestrator.problems import ServiceUnavailable
from orchestrator.redis import redis

LINKS = {
    "sessions": "/sessions",
    "tasks": "/tasks",
    "approvals": "/approvals",
    "audit": "/audit/events",
    "status": "/status",
    "health": "/health",
    "problems": "/problems",
    "api_docs": "/api-docs",
    "admin": "/admin/",
}


@reads_only
def index(request: HttpRequest) -> HttpResponse:
    """GET /: what this is and where to go from here."""
    return JsonResponse({"service": "orchestrator", "version": __version__, "links": LINKS})


@reads_only
def status(request: HttpRequest) -> HttpResponse:
    """GET /status: touches nothing."""
    return JsonResponse({"status": "ok", "version": __version__})


@reads_only
def livez(request: HttpRequest) -> HttpResponse:
    """GET /livez: the process answers."""
    return JsonResponse({"status": "ok"})


@reads_only
def readyz(request: HttpRequest) -> HttpResponse:
    """GET /readyz: 503 without a database or with migrations that are not applied."""
    try:
        _ask_database()
        _insist_on_migrations()
    except (DatabaseError, InterfaceError):
        return response(ServiceUnavailable("The database cannot be reached."), request)
    except ServiceUnavailable as problem:
        return response(problem, request)
    return JsonResponse({"status": "ok"})


@reads_only
def health(request: HttpRequest) -> HttpResponse:
    """GET /health: 200 when healthy or degraded, 503 when the database is away."""
    try:
        _ask_database()
        connected = True
    except (DatabaseError, InterfaceError, ServiceUnavailable):
        connected = False
    cached = _ask_redis()
    well = "degraded" if cached == "error" else "healthy"
    members: dict[str, object] = {
        "status": well if connected else "unhealthy",
        "version": __version__,
        "database": "connected" if connected else "error",
        "redis": cached,
    }
    if not connected:
        return _unhealthy(members)
    return JsonResponse({**members, **{name: _detail(where) for name, where in settings.HEALTH_DETAILS.items()}})


def _detail(where: str) -> object:
    """What an app tells of itself; null where it cannot. It is a detail: the service is no less healthy for it."""
    try:
        told: object = import_string(where)()
    except (DatabaseError, InterfaceError, ServiceUnavailable):
        return None
    return told


def _unhealthy(members: dict[str, object]) -> HttpResponse:
    return JsonResponse(members, status=503, headers={"Retry-After": "1"})


def _ask_database() -> None:
    """Raises ServiceUnavailable where it takes no writes: a standby, or the former primary, of which none is done."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        if cursor.fetchone() != ("off",):
            connection.close()
            raise ServiceUnavailable("The database takes no writes.")


def _ask_redis() -> str:
    shared = redis()
    if shared is None:
        return "disabled"
    return "connected" if shared.answers() else "error"


@cache
def _insist_on_migrations() -> None:
    """Raises ServiceUnavailable while a migration waits. Once none does, that holds for this process's life."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise ServiceUnavailable("Migrations are not applied.", retry_after=5)
