"""Twins: requests with one key, at one time."""

import time
from concurrent.futures import Future
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.api import Api
from tests.database import superuser_connection
from tests.orchestrator.idempotency.keyed import (
    KEY,
    NEW,
    OnOpening,
    aside,
    assert_first,
    assert_refused,
    assert_replay,
    events,
    held,
    key_for,
    opened,
    remembered,
    wait_for_waiters,
    while_locked,
)
from tests.sessions_app.session_calls import path, session_in

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE_SECONDS = 1.5
"""Less than whoever waits for a lock would, which is 3 s, and far more than an answer takes on a busy machine."""


def assert_in_flight(answer: Any) -> None:
    assert_refused(answer, 409, "request-in-flight")
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["retry_after"] == 1
    assert "Idempotent-Replayed" not in answer.headers


def test_a_twin_is_told_at_once_that_the_first_still_runs_and_then_its_answer(agent: Api) -> None:
    session = session_in("pending")

    def move() -> Any:
        return Api(agent.headers["Authorization"].split()[1]).put(
            path(session), {"status": "active"}, idempotency_key=KEY
        )

    with while_locked(session.id):
        running: Future[Any] = aside(move)
        wait_for_waiters()
        began = time.monotonic()
        for _ in range(3):
            assert_in_flight(move())
        assert time.monotonic() - began < AT_ONCE_SECONDS
        assert not running.done()
    first = assert_first(running.result(5), 200)
    assert_replay(move(), first)
    assert (events(), remembered()) == (2, 1)


def test_a_twin_is_told_so_while_the_first_commits(agent: Api, on_opening: OnOpening) -> None:
    on_opening.does("PERFORM pg_advisory_xact_lock(42);", at_commit=True)

    def opening() -> Any:
        return Api(agent.headers["Authorization"].split()[1]).post("/sessions", NEW, idempotency_key=KEY)

    with superuser_connection() as holder:
        holder.execute("SELECT pg_advisory_lock(42)")
        running: Future[Any] = aside(opening)
        wait_for_waiters()
        assert_in_flight(opening())
        holder.execute("SELECT pg_advisory_unlock(42)")
        first = assert_first(running.result(5))
    assert_replay(opening(), first)
    assert opened() == 1


def test_a_twin_with_another_body_is_told_the_same_while_the_first_runs(agent: Api) -> None:
    with held(key_for()):
        assert_in_flight(agent.post("/sessions", {**NEW, "metadata": {}}, idempotency_key=KEY))
    assert_first(agent.post("/sessions", {**NEW, "metadata": {}}, idempotency_key=KEY))


def test_a_twin_holds_nothing_when_it_is_refused(agent: Api) -> None:
    with held(key_for()):
        assert_in_flight(agent.post("/sessions", NEW, idempotency_key=KEY))
        with superuser_connection() as beside:
            locks = beside.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = %s", [backend()]
            ).fetchone()
            assert locks == (0,)
    assert (opened(), remembered()) == (0, 0)


def test_a_twin_costs_one_statement_and_leaves_no_answer(agent: Api) -> None:
    """Looking twice, it might take the key once the first is rolled back, and remember that it was in flight."""
    with held(key_for()), CaptureQueriesContext(connection) as captured:
        assert_in_flight(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert [query["sql"].split()[0] for query in captured.captured_queries] == ["BEGIN", "SELECT", "ROLLBACK"]
    assert remembered() == 0


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_other_keys_go_on_meanwhile(agent: Api) -> None:
    with held(key_for()):
        assert_first(agent.post("/sessions", NEW, idempotency_key="another"))
        assert_first(agent.post("/sessions", NEW))


def test_the_key_is_free_once_the_first_is_rolled_back(agent: Api) -> None:
    with held(key_for()):
        assert_in_flight(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert opened() == 1


def test_the_key_is_free_once_the_first_ones_connection_is_gone(agent: Api) -> None:
    with held(key_for()) as first, superuser_connection() as beside:
        assert_in_flight(agent.post("/sessions", NEW, idempotency_key=KEY))
        beside.execute("SELECT pg_terminate_backend(%s, 5000)", [first.info.backend_pid])
        assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
        first.close()
    assert opened() == 1


def test_of_many_at_once_one_has_the_effect(agent: Api) -> None:
    bearer = agent.headers["Authorization"].split()[1]
    for round_ in range(4):
        key = f"{KEY}-{round_}"
        calls = [
            aside(lambda key=key: Api(bearer).post("/sessions", NEW, idempotency_key=key))  # type: ignore[misc]
            for _ in range(8)
        ]
        answers = [call.result(20) for call in calls]
        done = [answer for answer in answers if answer.status_code == 201]
        assert len({answer.content for answer in done}) == 1
        assert sum("Idempotent-Replayed" not in answer.headers for answer in done) == 1
        for answer in answers:
            if answer.status_code != 201:
                assert_in_flight(answer)
        assert opened() == remembered() == round_ + 1


# The connection lost.


def test_a_connection_lost_inside_is_a_503_and_the_key_is_free(agent: Api, on_opening: OnOpening) -> None:
    on_opening.does("PERFORM pg_terminate_backend(pg_backend_pid());")
    answer = assert_refused(agent.post("/sessions", NEW, idempotency_key=KEY), 503, "service-unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert (opened(), remembered()) == (0, 0)
    on_opening.no_more()
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))


def test_a_connection_lost_at_commit_is_a_503_and_the_key_is_free(agent: Api, on_opening: OnOpening) -> None:
    on_opening.does("PERFORM pg_terminate_backend(pg_backend_pid());", at_commit=True)
    assert_refused(agent.post("/sessions", NEW, idempotency_key=KEY), 503, "service-unavailable")
    assert (opened(), remembered()) == (0, 0)
    on_opening.no_more()
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))


def test_a_database_that_is_away_is_a_503_without_waiting(agent: Api, settings: Any) -> None:
    place = connection.settings_dict
    host = place["HOST"]
    connection.close()
    place["HOST"] = "/nowhere"
    began = time.monotonic()
    try:
        assert_refused(agent.post("/sessions", NEW, idempotency_key=KEY), 503, "service-unavailable")
    finally:
        connection.close()
        place["HOST"] = host
    assert time.monotonic() - began < AT_ONCE_SECONDS
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
