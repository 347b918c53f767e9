"""GET /, /status, /livez, /readyz, /health, and everything else while the database is away."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import ANY

import pytest
from django.db import connection

from orchestrator import __version__, health
from orchestrator.maintenance.jobs import all_jobs
from tests.api import Api
from tests.database import owner_connection, superuser_connection
from tests.orchestrator.served import served

database = pytest.mark.django_db(transaction=True)

ROW = f"/sessions/{uuid.UUID(int=0)}"
BODY = {"agent_role": "finance"}
DRIVER_WORDS = ("psycopg", "connection", "socket", "/nowhere", "server", "refused", "postgres", "no such", "select")


@contextmanager
def database_away() -> Iterator[None]:
    """Every connect fails in here, as when PostgreSQL is stopped."""
    place = connection.settings_dict
    host = place["HOST"], place["OPTIONS"].get("host")
    connection.close()
    place["HOST"] = "/nowhere"
    try:
        yield
    finally:
        connection.close()
        place["HOST"] = host[0]


def assert_unavailable(answer: Any) -> None:
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == "/problems/service-unavailable"
    assert int(answer.headers["Retry-After"]) == document["retry_after"] >= 1
    assert_no_driver_text(answer)


def assert_no_driver_text(answer: Any) -> None:
    told = answer.content.decode().replace("/problems/service-unavailable", "").lower()
    assert not [word for word in DRIVER_WORDS if word in told]


@pytest.fixture
def anyone() -> Api:
    """A caller without a token."""
    return Api(None)


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """That no migration waits is remembered for the life of a process: each test finds out for itself."""
    health._insist_on_migrations.cache_clear()
    yield
    health._insist_on_migrations.cache_clear()


# No database: whoever reached it would answer 500.


def test_status_livez_and_the_front_page_touch_nothing(anyone: Api) -> None:
    assert anyone.get("/status").json() == {"status": "ok", "version": __version__}
    assert anyone.get("/livez").json() == {"status": "ok"}
    front = anyone.get("/")
    assert front.status_code == 200
    assert front.json()["version"] == __version__
    assert front.json()["links"]["health"] == "/health"


@pytest.mark.parametrize("path", ["/", "/status", "/livez"])
def test_head_answers_like_get_without_a_body(anyone: Api, path: str) -> None:
    answer = anyone.send("HEAD", path)
    assert (answer.status_code, answer.content) == (200, b"")


@database
def test_is_healthy_and_ready_with_its_database(anyone: Api, jobs_done: None) -> None:
    answer = anyone.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "healthy",
        "version": __version__,
        "database": "connected",
        "redis": "disabled",
        "audit": {"status": "healthy", "seal_lag_seconds": 0.0, "problems": []},
        "jobs": {job.name: {"last_success_age_seconds": ANY, "overdue": False, "poison_rows": 0} for job in all_jobs()},
    }
    ready = anyone.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "overdue_jobs": []})


@database
def test_is_degraded_and_ready_while_a_job_is_overdue(anyone: Api, jobs_done: None) -> None:
    first, second, *_ = all_jobs()
    with superuser_connection() as beside:
        late = "UPDATE maintenance_jobs SET last_success_at = now() - make_interval(secs => %s) WHERE name = %s"
        beside.execute(late, [first.overdue_seconds + 5, first.name])
        beside.execute(late, [second.overdue_seconds - 30, second.name])
    answer = anyone.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    jobs = answer.json()["jobs"]
    assert [name for name, job in jobs.items() if job["overdue"]] == [first.name]
    assert jobs[first.name]["last_success_age_seconds"] > first.overdue_seconds
    ready = anyone.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "overdue_jobs": [first.name]})


@database
def test_is_degraded_while_the_trail_cannot_be_sealed(anyone: Api, jobs_done: None) -> None:
    with superuser_connection() as beside:
        beside.execute("INSERT INTO audit_sealer_state VALUES ('sealer', 'anchor-missing', now())")
    answer = anyone.get("/health").json()
    assert (answer["status"], answer["audit"]["problems"]) == ("degraded", ["anchor-missing"])
    assert anyone.get("/readyz").status_code == 200


@database
def test_is_degraded_where_no_job_ever_ran(anyone: Api) -> None:
    answer = anyone.get("/health").json()
    assert answer["status"] == "degraded"
    assert {job["last_success_age_seconds"] for job in answer["jobs"].values()} == {None}
    assert anyone.get("/readyz").json()["overdue_jobs"] == [job.name for job in all_jobs()]


@database
def test_is_unhealthy_and_not_ready_without_its_database_and_recovers(anyone: Api, jobs_done: None) -> None:
    with database_away():
        answer = anyone.get("/health")
        assert answer.status_code == 503
        assert answer.json() == {
            "status": "unhealthy",
            "version": __version__,
            "database": "error",
            "redis": "disabled",
        }
        assert int(answer.headers["Retry-After"]) >= 1
        assert_unavailable(anyone.get("/readyz"))
        assert anyone.get("/status").status_code == 200
        assert anyone.get("/livez").status_code == 200
    assert anyone.get("/health").json()["status"] == "healthy"
    assert anyone.get("/readyz").status_code == 200


@database
def test_a_database_that_takes_no_writes_is_as_good_as_none_and_is_left(agent: Api, anyone: Api) -> None:
    assert anyone.get("/readyz").status_code == 200
    calls: list[Callable[[], Any]] = [
        lambda: anyone.get("/readyz"),
        lambda: anyone.get("/health"),
        lambda: agent.post("/sessions", BODY),
        lambda: agent.post("/sessions", BODY, idempotency_key="k"),
        lambda: agent.post("/tasks/claim", {}),
    ]
    for call in calls:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
        answer = call()
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        # The next call finds the primary, if there is one: it connects anew.
        assert agent.post("/sessions", BODY).status_code == 201


@database
def test_is_not_ready_without_its_database_even_when_it_was_ready_before(anyone: Api) -> None:
    assert anyone.get("/readyz").status_code == 200
    with database_away():
        assert_unavailable(anyone.get("/readyz"))


@database
@pytest.mark.parametrize(
    ("method", "path", "body", "otherwise"),
    [("GET", ROW, None, 404), ("POST", "/sessions", BODY, 201), ("PUT", ROW, {}, 404)],
)
def test_reads_and_writes_are_503_while_the_database_is_away(
    agent: Api, method: str, path: str, body: Any, otherwise: int
) -> None:
    assert agent.send(method, path, body).status_code == otherwise
    with database_away():
        assert_unavailable(agent.send(method, path, body))
    assert agent.send(method, path, body).status_code == otherwise


@database
def test_what_needs_no_database_is_refused_all_the_same(agent: Api, anyone: Api) -> None:
    with database_away():
        assert anyone.get(ROW).status_code == 401
        assert agent.get("/nowhere").status_code == 404
        assert agent.get("/sessions/1").status_code == 400
        assert agent.send_raw("POST", "/sessions", b"{").status_code == 400
        assert anyone.get("/problems/service-unavailable").status_code == 200


@database
def test_a_connection_that_was_cut_is_made_anew_by_the_next_request(agent: Api, jobs_done: None) -> None:
    agent.post("/sessions", BODY)
    with superuser_connection() as superuser:
        cut = superuser.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert cut is not None
    assert cut[0] >= 1
    # Through WSGI, where each request begins by looking at the connection. Django's test client leaves that out.
    status, _, content = served("GET", "/health")
    assert (status, json.loads(content)["status"]) == (200, "healthy")
    assert agent.post("/sessions", BODY).status_code == 201


@database
def test_is_not_ready_while_a_migration_waits(anyone: Api) -> None:
    with owner_connection() as owner:
        taken = owner.execute("DELETE FROM django_migrations WHERE app = 'sessions_app' RETURNING *").fetchall()
        assert taken
        try:
            answer = anyone.get("/readyz")
            assert anyone.get("/health").status_code == 200
        finally:
            with owner.cursor() as cursor:
                cursor.executemany("INSERT INTO django_migrations VALUES (%s, %s, %s, %s)", taken)
    assert_unavailable(answer)
    assert anyone.get("/readyz").status_code == 200
