"""Sweeps against each other, against callers, and against their own sudden end."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection

from sessions_app.duties import EXPIRE_SESSIONS
from sessions_app.models import Session
from sessions_app.sweeping import sweep
from tests import seeding
from tests.api import Api, token
from tests.database import service_connection, superuser_connection
from tests.gunicorn_server import HERE, environment
from tests.sessions_app.session_calls import LEGAL, events_of, path, stored
from tests.work import assert_chain_holds, events, hash_of, in_a_thread, wait_for_a_waiter

pytestmark = pytest.mark.django_db(transaction=True)

PAST = timedelta(seconds=-1)
SWEEPERS = 4
MANY = 4_000


def wait_until(condition: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "It does not come."
        time.sleep(0.001)


def assert_path_is_whole(pk: Any) -> None:
    """One event for each version, each by a legal move from where the last led, and the row is where they end."""
    trail, row = events_of(pk), stored(pk)
    assert [event.seq for event in trail] == list(range(1, row["version"] + 1))
    for before, after in pairwise(trail):
        assert after.from_status == before.to_status
        assert bytes(after.prev_hash or b"") == bytes(before.hash)
        assert after.to_status in LEGAL[str(before.to_status)]
    assert (row["status"], bytes(row["audit_head"])) == (trail[-1].to_status, bytes(trail[-1].hash))


# Sweeps against each other.


def assert_each_expired_once(rows: list[Session]) -> None:
    """Every session of these is expired, by one event that follows its first, and nothing else was recorded."""
    found = events("event_type = 'session.expired'")
    assert sorted(event["subject_id"] for event in found) == sorted(row.pk for row in rows)
    assert {event["seq"] for event in found} == {2}
    assert len(events()) == 2 * len(rows)
    heads = dict(Session.objects.filter(status="expired", version=2).values_list("pk", "audit_head"))
    firsts = {row.pk: bytes(row.audit_head) for row in rows}
    for event in found:
        pk = event["subject_id"]
        assert bytes(event["prev_hash"]) == firsts[pk]
        assert bytes(heads[pk]) == bytes(event["hash"]) == hash_of(firsts[pk], event["body"])


def start_sweep(name: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", "expire_sessions"],
        cwd=HERE,
        env={**environment(), "PGAPPNAME": name},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_of_four_sweeps_with_one_killed_each_session_is_expired_once() -> None:
    rows = seeding.sessions(MANY, lasting=PAST)
    with ExitStack() as stack:
        running = {name: stack.enter_context(start_sweep(name)) for name in (f"sweep {n}" for n in range(SWEEPERS))}
        for each in running.values():
            stack.callback(each.kill)
        victim = running.pop(_at_work())
        victim.kill()
        left = Session.objects.filter(status="pending").count()
        said = [each.communicate(timeout=30) for each in running.values()]
    assert victim.returncode == -9
    assert 0 < left < MANY
    assert [each.returncode for each in running.values()] == [0] * 3, said
    assert all(out.endswith(" expired.\n") for out, _ in said)
    assert_each_expired_once(rows)


def _at_work() -> str:
    """A sweep that has some batches behind it, and has locked the rows of another and not committed."""
    writing = (
        "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'sweep %'"
        " AND backend_xid IS NOT NULL AND datname = current_database()"
        " AND (SELECT count(*) FROM sessions WHERE status = 'expired') > 0"
    )
    with superuser_connection() as watcher:
        deadline = time.monotonic() + 20
        while (found := watcher.execute(writing).fetchone()) is None:
            assert time.monotonic() < deadline, "None is at work."
    return str(found[0])


def test_two_sweeps_at_once_share_the_work() -> None:
    rows = seeding.sessions(1_000, lasting=PAST)
    sweeps = [in_a_thread(lambda: sweep(EXPIRE_SESSIONS)) for _ in range(2)]
    outcomes = [sweeping.result(20) for sweeping in sweeps]
    assert sum(outcome.moved for outcome in outcomes) == 1_000
    assert [outcome.poison for outcome in outcomes] == [{}, {}]
    assert_each_expired_once(rows)


def test_a_sweep_takes_over_what_a_killed_one_held() -> None:
    rows = seeding.sessions(250, lasting=PAST)
    killed = service_connection()
    killed.execute("BEGIN")
    killed.execute("SELECT 1 FROM sessions ORDER BY expires_at LIMIT 200 FOR NO KEY UPDATE")
    sweeping = in_a_thread(lambda: sweep(EXPIRE_SESSIONS))
    wait_until(lambda: Session.objects.filter(status="expired").count() == 50)
    assert not sweeping.done()
    with superuser_connection() as beside:
        beside.execute("SELECT pg_terminate_backend(%s)", [killed.info.backend_pid])
    killed.close()
    assert sweeping.result(10).moved == 250
    assert_each_expired_once(rows)


# Sweeps against callers.


@pytest.fixture
def activate() -> Callable[[Session], Any]:
    """The call, with a token made beforehand, so that nothing but the call takes time."""
    bearer = token("alice")
    return lambda session: Api(bearer).put(path(session), {"status": "active"})


def test_expiry_against_activation_ends_in_expiry_by_a_legal_path(activate: Callable[[Session], Any]) -> None:
    # All fall due at the same moment; the activations come from well before it until well after.
    rows = seeding.sessions(32, lasting=timedelta(milliseconds=400))

    def call(which: list[Session]) -> list[Any]:
        return [_paced(began + 0.04 * n, lambda row=row: activate(row)) for n, row in enumerate(which)]  # type: ignore[misc]

    began, expired = time.monotonic(), 0
    callers = [in_a_thread(lambda which=rows[n::2]: call(which)) for n in range(2)]  # type: ignore[misc]
    while expired < len(rows):
        assert time.monotonic() < began + 20
        expired += sweep(EXPIRE_SESSIONS).moved
    answers: list[Any] = [None] * len(rows)
    answers[0::2], answers[1::2] = (caller.result(20) for caller in callers)
    assert {answer.status_code for answer in answers} == {200, 409}
    for row, answer in zip(rows, answers, strict=True):
        assert_path_is_whole(row.pk)
        words = [event.event_type for event in events_of(row.pk)]
        if answer.status_code == 200:
            assert words == ["session.created", "session.activated", "session.expired"]
            assert events_of(row.pk)[1].timestamp < row.expires_at
        else:
            assert words == ["session.created", "session.expired"]
            assert answer.json()["type"] == "/problems/session-expired"


def _paced(moment: float, call: Callable[[], Any]) -> Any:
    time.sleep(max(0.0, moment - time.monotonic()))
    return call()


def test_a_caller_who_waits_for_a_sweep_is_told_that_it_expired(activate: Callable[[Session], Any]) -> None:
    (session,) = seeding.sessions(lasting=PAST)
    with superuser_connection() as beside, beside.transaction():
        # The sweep stands still at its event, with the session locked and changed.
        beside.execute("LOCK TABLE audit_events IN SHARE MODE")
        sweeping = in_a_thread(lambda: sweep(EXPIRE_SESSIONS))
        wait_for_a_waiter()
        caller = in_a_thread(lambda: activate(session))
        time.sleep(0.05)
        assert not caller.done()
    assert sweeping.result(5).moved == 1
    answer = caller.result(5)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/session-expired")
    assert_chain_holds(session)


def test_time_that_passes_while_a_caller_waits_for_the_lock_counts(activate: Callable[[Session], Any]) -> None:
    # The holder only looks: the row is the same when the lock comes free, but its time is over.
    (session,) = seeding.sessions(lasting=timedelta(milliseconds=300))
    with service_connection() as holder, holder.transaction():
        holder.execute("SELECT 1 FROM sessions WHERE id = %s FOR NO KEY UPDATE", [session.pk])
        caller = in_a_thread(lambda: activate(session))
        wait_for_a_waiter()
        wait_until(lambda: _is_past(session))
    answer = caller.result(5)
    assert answer.status_code == 409, answer.content
    assert answer.json()["type"] == "/problems/session-expired"
    assert (stored(session.pk)["status"], stored(session.pk)["version"]) == ("pending", 1)


def test_an_event_is_dated_after_the_wait_for_the_lock(activate: Callable[[Session], Any]) -> None:
    (session,) = seeding.sessions()
    with service_connection() as holder, holder.transaction():
        holder.execute("SELECT 1 FROM sessions WHERE id = %s FOR NO KEY UPDATE", [session.pk])
        caller = in_a_thread(lambda: activate(session))
        wait_for_a_waiter()
        row = holder.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    assert caller.result(5).status_code == 200
    assert events_of(session.pk)[-1].timestamp > row[0]


def _is_past(session: Session) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s < clock_timestamp()", [session.expires_at])
        return bool(cursor.fetchone()[0])
