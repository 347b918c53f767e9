"""How the service is: for load balancers, for monitors, for people."""

from functools import cache

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from orchestrator import __version__
from orchestrator.problem_responses import reads_only, response
from orchestrator.problems import ServiceUnavailable
from orchestrator.redis import redis

LINKS = {
    "sessions": "/sessions",
    "tasks": "/tasks",
    "approvals": "/approvals",
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
    except (DatabaseError, InterfaceError):
        connected = False
    cached = _ask_redis()
    well = "degraded" if cached == "error" else "healthy"
    members = {
        "status": well if connected else "unhealthy",
        "version": __version__,
        "database": "connected" if connected else "error",
        "redis": cached,
    }
    return JsonResponse(members, status=200) if connected else _unhealthy(members)


def _unhealthy(members: dict[str, str]) -> HttpResponse:
    return JsonResponse(members, status=503, headers={"Retry-After": "1"})


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


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
