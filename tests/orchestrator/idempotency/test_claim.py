"""idempotency_reserve(): what the database itself guarantees, whoever calls it."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from orchestrator.idempotency.claim import Key
from tests.database import owner_connection, service_connection, superuser_connection
from tests.orchestrator.idempotency.keyed import in_claim, keep, key_for, remembered

pytestmark = pytest.mark.django_db(transaction=True)

THIS = key_for()
OTHER_REQUEST = Key(THIS.k, bytes(32))
OTHER_KEY = key_for("another")

Connection = psycopg.Connection[Any]


@contextmanager
def two() -> Iterator[tuple[Connection, Connection]]:
    """Two callers, each in a transaction."""
    with service_connection() as one, service_connection() as other:
        for beside in (one, other):
            beside.execute("BEGIN")
            beside.execute("SELECT 1")
        yield one, other
        for beside in (one, other):
            if not beside.closed:
                beside.execute("ROLLBACK")


def test_the_first_has_it_and_a_twin_does_not_wait() -> None:
    with two() as (one, other):
        assert in_claim(one, THIS) == "first"
        assert in_claim(other, THIS) == "in_flight"
        assert in_claim(other, OTHER_REQUEST) == "in_flight"
        assert in_claim(other, OTHER_KEY) == "first"


def test_a_transaction_that_has_claimed_may_claim_again() -> None:
    with two() as (one, _):
        assert [in_claim(one, THIS), in_claim(one, THIS)] == ["first", "first"]


def test_a_rollback_leaves_the_key_free() -> None:
    with two() as (one, other):
        in_claim(one, THIS)
        keep(one, THIS)
        one.execute("ROLLBACK")
        assert in_claim(other, THIS) == "first"


def test_a_connection_that_ends_leaves_the_key_free() -> None:
    with two() as (one, other), superuser_connection() as beside:
        in_claim(one, THIS)
        keep(one, THIS)
        beside.execute("SELECT pg_terminate_backend(%s, 5000)", [one.info.backend_pid])
        assert in_claim(other, THIS) == "first"
        one.close()


def test_what_is_committed_is_seen_by_a_transaction_that_began_before() -> None:
    with two() as (one, other):
        in_claim(one, THIS)
        keep(one, THIS, status=409, body=b"refused")
        one.execute("COMMIT")
        found = other.execute("SELECT * FROM idempotency_reserve(%s, %s)", [THIS.k, THIS.fp]).fetchone()
        assert found is not None
        assert (found[0], *found[2:5]) == ("replay", 409, {"Content-Type": "application/json"}, b"refused")


def test_another_request_under_the_key_gets_nothing_of_the_answer() -> None:
    with service_connection() as beside:
        keep(beside, THIS)
        found = beside.execute("SELECT * FROM idempotency_reserve(%s, %s)", [THIS.k, bytes(32)]).fetchone()
        assert found is not None
        assert (found[0], *found[2:]) == ("mismatch", *[None] * 7)


def test_past_its_time_an_answer_makes_room() -> None:
    with two() as (one, other):
        keep(other, THIS, seconds=-1)
        other.execute("COMMIT")
        assert in_claim(one, OTHER_REQUEST) == "first"
        keep(one, OTHER_REQUEST)
        one.execute("COMMIT")
    assert remembered() == 1


def test_an_answer_past_its_time_stays_where_the_next_is_rolled_back() -> None:
    with two() as (one, other):
        keep(other, THIS, seconds=-1)
        other.execute("COMMIT")
        in_claim(one, THIS)
        one.execute("ROLLBACK")
    assert remembered() == 1


def test_a_replay_takes_no_lock() -> None:
    with two() as (one, other):
        keep(other, THIS)
        other.execute("COMMIT")
        assert in_claim(one, THIS) == "replay"
        locks = one.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert locks.fetchone() == (0,)


def test_of_many_who_claim_and_record_at_once_each_key_has_one() -> None:
    keys = [key_for(f"key-{n}") for n in range(40)]
    found: Counter[tuple[bytes, str]] = Counter()
    ready = threading.Barrier(8)

    def claim_all() -> None:
        with service_connection() as beside:
            ready.wait(timeout=10)
            for key in keys:
                with beside.transaction():
                    outcome = in_claim(beside, key)
                    if outcome == "first":
                        keep(beside, key)
                found[key.k, outcome] += 1

    threads = [threading.Thread(target=claim_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [found[key.k, "first"] for key in keys] == [1] * len(keys)
    assert sum(found.values()) == 8 * len(keys)
    assert remembered() == len(keys)


def test_a_key_is_32_bytes() -> None:
    with service_connection() as beside, pytest.raises(psycopg.errors.CheckViolation):
        keep(beside, Key(b"short", bytes(32)))


def test_the_function_means_the_table_of_its_own_schema() -> None:
    with owner_connection() as owner:
        row = owner.execute(
            "SELECT proconfig, provolatile FROM pg_proc WHERE proname = 'idempotency_reserve'"
        ).fetchone()
    assert row is not None
    assert row[0] == ["search_path=public, pg_temp"]
    assert row[1] in ("v", b"v")
