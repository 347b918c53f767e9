"""Keyed calls, and looking at what they leave."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from django.db import connection
from django.test import RequestFactory
from psycopg.types.json import Jsonb

from orchestrator.actors import Actor
from orchestrator.idempotency.authentication import Store, StoredAnswer, code, written
from orchestrator.idempotency.claim import Answer, Key, key_of, stored_answer
from tests.database import service_connection, superuser_connection
from tests.sessions_app.session_calls import somebody

NEW = {"agent_role": "finance", "metadata": {"quarter": "Q4"}}
KEY = "close-the-quarter"
KEPT = {"Content-Type", "Location", "ETag"}


def opened() -> int:
    """How many sessions there are, seen from another connection."""
    return _count("SELECT count(*) FROM sessions")


def events() -> int:
    """How many events there are."""
    return _count("SELECT count(*) FROM audit_events")


def remembered() -> int:
    """How many answers are remembered."""
    return _count("SELECT count(*) FROM idempotency_records")


def _count(query: str) -> int:
    with service_connection() as beside:
        row = beside.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def assert_first(answer: Any, status: int = 201) -> Any:
    """An answer that is nobody's replay."""
    assert answer.status_code == status, answer.content
    assert "Idempotent-Replayed" not in answer.headers
    return answer


def assert_replay(again: Any, first: Any) -> None:
    """The same answer, byte for byte, with the headers that count and the mark."""
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    for name in KEPT:
        assert again.headers.get(name) == first.headers.get(name), name


def assert_refused(answer: Any, status: int, slug: str) -> Any:
    """A refusal of that kind."""
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}"), answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer


def key_for(raw: str = KEY, body: Any = None, path: str = "/sessions", actor: Actor | None = None) -> Key:
    """What a POST of alice's with this key claims."""
    sent = NEW if body is None else body
    return key_of(RequestFactory().post(path), actor or somebody(), raw, sent)


def in_claim(beside: psycopg.Connection[Any], key: Key) -> str:
    """Claim a key on another connection, in the transaction that is open there."""
    row = beside.execute("SELECT outcome FROM idempotency_reserve(%s, %s)", [key.k, key.fp]).fetchone()
    assert row is not None
    return str(row[0])


def keep(beside: psycopg.Connection[Any], key: Key, status: int = 201, body: bytes = b"{}", seconds: int = 60) -> None:
    """Remember an answer, as the service does."""
    now = datetime.now(UTC)
    answer = Answer(status, {"Content-Type": "application/json"}, body)
    stored = replace(
        stored_answer(key, answer, now=now, request_id="another"), expires_at=written(now + timedelta(seconds=seconds))
    )
    put(beside, stored, code(stored, Store.DATABASE))


def put(beside: psycopg.Connection[Any], stored: StoredAnswer, mac: bytes | None) -> None:
    """Write a record with that code, or without one as the version before does."""
    values = [stored.k, stored.fp, stored.status, Jsonb(stored.headers), stored.body, stored.request_id]
    beside.execute(
        "INSERT INTO idempotency_records (k, fp, status, headers, body, request_id, created_at, expires_at, mac)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [*values, stored.created_at, stored.expires_at, mac],
    )


@contextmanager
def held(key: Key) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's transaction that has claimed the key and goes on."""
    with service_connection() as beside:
        beside.execute("BEGIN")
        assert in_claim(beside, key) == "first"
        yield beside
        if not beside.closed:
            beside.execute("ROLLBACK")


def let_expire() -> None:
    """Let the time of everything remembered be over."""
    with service_connection() as beside:
        beside.execute("UPDATE idempotency_records SET expires_at = now() - interval '1 ms'")


@contextmanager
def while_locked(session_id: object) -> Iterator[None]:
    """Whoever moves that session waits."""
    with superuser_connection() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM sessions WHERE id = %s FOR UPDATE", [session_id])
        yield
        holder.execute("ROLLBACK")


def aside(call: Callable[[], Any]) -> Future[Any]:
    """Begin a call on a thread and a connection of its own."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        finally:
            connection.close()

    threading.Thread(target=run, daemon=True).start()
    return future


def wait_for_waiters(count: int = 1) -> None:
    """Until so many wait for a lock in this database."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 2.5
    with superuser_connection() as watcher:
        while time.monotonic() < deadline:
            row = watcher.execute(waiting).fetchone()
            if row is not None and row[0] >= count:
                return
            time.sleep(0.005)
    raise AssertionError("Nobody waits.")


def wait_until_free() -> None:
    """Until no key is claimed: a backend ends when it sees that its client is gone."""
    locks = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    deadline = time.monotonic() + 5
    with superuser_connection() as beside:
        while beside.execute(locks).fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.01)


class OnOpening:
    """A trigger on sessions whose body a test writes; it runs as a superuser, at the INSERT or at COMMIT."""

    def __init__(self, beside: psycopg.Connection[Any]) -> None:
        self.beside = beside

    def does(self, body: str, *, at_commit: bool = False) -> None:
        """`nextval('openings')` counts how often it came to this."""
        how = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
        self.beside.execute(f"""
            CREATE SEQUENCE openings;
            CREATE FUNCTION on_opening() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN {body} RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER on_opening AFTER INSERT ON sessions {how}
              FOR EACH ROW EXECUTE FUNCTION on_opening();""")

    def no_more(self) -> None:
        """Take it away."""
        self.beside.execute("DROP FUNCTION IF EXISTS on_opening CASCADE")
        self.beside.execute("DROP SEQUENCE IF EXISTS openings")

    def times(self) -> int:
        """How often a session was inserted, committed or not."""
        row = self.beside.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM openings").fetchone()
        assert row is not None
        return int(row[0])
