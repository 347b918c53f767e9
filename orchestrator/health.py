"""How the service is: for load balancers, for monitors, for people."""

from collections.abc import Callable
from functools import cache
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.module_loading import import_string

from orchestrator import __version__
from orchestrator.database_term import StaleDatabaseError
from orchestrator.maintenance import measuring
from orchestrator.problem_responses import reads_only, response
from orchestrator.problems import DatabaseStale, ServiceUnavailable
from orchestrator.redis import redis

T = TypeVar("T")

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
    """GET /readyz: 503 without a database or with migrations that are not applied. Names the jobs that are overdue."""
    try:
        _ask_database()
        _insist_on_migrations()
        overdue = measuring.overdue()
    except StaleDatabaseError:
        return response(DatabaseStale(), request)
    except (DatabaseError, InterfaceError):
        return response(ServiceUnavailable("The database cannot be reached."), request)
    except ServiceUnavailable as problem:
        return response(problem, request)
    # Requests are served all the same, so a balancer must not take every process out because the sweeper is gone.
    return JsonResponse({"status": "ok", "overdue_jobs": overdue})


@reads_only
def health(request: HttpRequest) -> HttpResponse:
    """GET /health: 200 when healthy or degraded, 503 when the database is away.

    Degraded is: Redis is configured and away, a maintenance job is overdue, or a detail says that it is degraded.
    """
    try:
        _ask_database()
        connected = True
    except (DatabaseError, InterfaceError, ServiceUnavailable):
        connected = False
    cached = _ask_redis()
    members: dict[str, object] = {
        "status": "unhealthy",
        "version": __version__,
        "database": "connected" if connected else "error",
        "redis": cached,
    }
    if not connected:
        return _unhealthy(members)
    details = {name: _detail(import_string(where)) for name, where in settings.HEALTH_DETAILS.items()}
    jobs = _detail(measuring.health)
    is_degraded = (
        cached == "error"
        or any(job["overdue"] for job in (jobs or {}).values())
        or any(isinstance(one, dict) and one.get("status") == "degraded" for one in details.values())
    )
    members["status"] = "degraded" if is_degraded else "healthy"
    return JsonResponse({**members, **details, "jobs": jobs})


def _detail(read: Callable[[], T]) -> T | None:
    """Return a detail, or None where it cannot be read: the service is no less healthy for that."""
    try:
        return read()
    except (DatabaseError, InterfaceError, ServiceUnavailable):
        return None


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
