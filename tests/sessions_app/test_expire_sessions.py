"""manage.py expire_sessions: what is due, in batches, past what cannot be expired."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from math import ceil
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestrator import boundary
from sessions_app.duties import EXPIRE_SESSIONS
from sessions_app.models import Session
from sessions_app.sweeping import BATCH, sweep
from sessions_app.transitions import session as transitions
from tests import seeding
from tests.database import service_connection, superuser_connection, without_trigger
from tests.gunicorn_server import HERE, environment
from tests.sessions_app.session_calls import TERMINAL, overdue_session, session_in, somebody, stored, unchanged
from tests.work import assert_chain_holds, chain, events, in_a_thread, insert, written_for

pytestmark = pytest.mark.django_db(transaction=True)

PAST = timedelta(seconds=-1)
AWAY = "postgresql:///orchestrator?host=/nowhere"


def expire(**options: Any) -> str:
    """What the command says at its end."""
    out = io.StringIO()
    call_command("expire_sessions", stdout=out, **options)
    return out.getvalue().strip()


def due(count: int = 1, **columns: Any) -> list[Session]:
    return seeding.sessions(count, lasting=PAST, **columns)


def expired() -> list[Any]:
    """The ids of what is expired, the longest overdue first."""
    return list(Session.objects.filter(status="expired").order_by("expires_at").values_list("pk", flat=True))


def poison(session: Session) -> None:
    """Make it impossible to expire: its chain goes on in the trail, though the row does not know."""
    with without_trigger("audit_events", "audit_events_are_true"), superuser_connection() as forger:
        insert(forger, "audit_events", written_for(session))


@contextmanager
def process(*arguments: str, **env: str) -> Iterator["subprocess.Popen[str]"]:
    """manage.py with these arguments, as a process of its own."""
    with subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=HERE,
        env={**environment(), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "It does not come."
        time.sleep(0.01)


# What it does.


def test_an_expired_session_is_recorded_as_the_jobs_doing() -> None:
    (session,) = due()
    assert expire() == "1 session expired."
    row = stored(session.id)
    assert (row["status"], row["version"], row["reason"]) == ("expired", 2, "Its time passed.")
    event = chain(session)[-1]
    assert (event["event_type"], event["from_status"], event["to_status"]) == ("session.expired", "pending", "expired")
    assert (event["actor_issuer"], event["actor_subject"]) == ("local", "job:expire_sessions")
    assert (event["actor_kind"], event["via"], event["tenant"]) == ("job", "job", "default")
    assert event["reason"] == "Its time passed."
    assert event["timestamp"] == row["updated_at"] > row["expires_at"]
    assert_chain_holds(session)


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 50])
def test_expires_all_that_is_due_in_batches(count: int) -> None:
    rows = due(count)
    (later,) = seeding.sessions()
    with CaptureQueriesContext(connection) as queries, unchanged(later.id):
        assert expire() == f"{count} session{'' if count == 1 else 's'} expired."
    assert expired() == [row.pk for row in rows]
    assert sum(sent["sql"].startswith("COPY") for sent in queries) == ceil(count / BATCH)
    assert len(events("event_type = 'session.expired'")) == count
    for row in rows[:: max(count // 10, 1)]:
        assert_chain_holds(row)


def test_expires_what_is_active_too() -> None:
    session = overdue_session("active")
    assert expire() == "1 session expired."
    assert (chain(session)[-1]["from_status"], stored(session.id)["status"]) == ("active", "expired")
    assert_chain_holds(session)


def test_leaves_alone_what_is_not_due_or_final() -> None:
    rows = [session_in("pending"), session_in("active"), *(overdue_session(state) for state in TERMINAL)]
    before = [stored(row.id) for row in rows]
    assert expire() == "0 sessions expired."
    assert [stored(row.id) for row in rows] == before


def test_expires_the_sessions_of_every_tenant() -> None:
    rows = [due(by=seeding.opener(tenant=tenant), role=role)[0] for tenant, role in (("default", "a"), ("other", "b"))]
    assert expire() == "2 sessions expired."
    assert [chain(row)[-1]["tenant"] for row in rows] == ["default", "other"]
    assert [chain(row)[-1]["role"] for row in rows] == ["a", "b"]
    for row in rows:
        assert_chain_holds(row)


def test_expires_once() -> None:
    rows = due(3)
    assert [expire(), expire()] == ["3 sessions expired.", "0 sessions expired."]
    assert [len(chain(row)) for row in rows] == [2, 2, 2]


def test_a_session_is_due_when_the_database_says_so() -> None:
    (session,) = seeding.sessions(lasting=timedelta(milliseconds=500))
    assert expire() == "0 sessions expired."
    with CaptureQueriesContext(connection) as queries:
        wait_until(lambda: expire() == "1 session expired.", seconds=5)
    event = chain(session)[-1]
    assert event["timestamp"] > stored(session.id)["expires_at"]
    reads = [sent["sql"] for sent in queries if '"expires_at" <= ' in sent["sql"]]
    assert reads
    assert all('"expires_at" <= (STATEMENT_TIMESTAMP())' in sql for sql in reads)


def test_tells_how_far_it_is_after_each_batch() -> None:
    due(BATCH + 3)
    told: list[int] = []
    assert sweep(EXPIRE_SESSIONS, progress=told.append).moved == BATCH + 3
    assert told == [BATCH, 3]


# --limit


@pytest.mark.parametrize("limit", [1, BATCH, BATCH + 1, 2 * BATCH + 49])
def test_a_limit_takes_the_longest_overdue(limit: int) -> None:
    rows = due(2 * BATCH + 50)
    assert expire(limit=limit) == f"{limit} session{'' if limit == 1 else 's'} expired."
    assert expired() == [row.pk for row in rows[:limit]]


def test_a_limit_above_what_is_due_takes_all() -> None:
    due(3)
    assert expire(limit=10) == "3 sessions expired."


@pytest.mark.parametrize("limit", [0, -1])
def test_refuses_a_limit_below_one(limit: int) -> None:
    (session,) = due()
    with unchanged(session.id), pytest.raises(CommandError, match="--limit"):
        expire(limit=limit)


# --dry-run


def test_a_dry_run_counts_and_changes_nothing() -> None:
    rows = due(3)
    seeding.sessions(2)
    before = [stored(row.id) for row in rows]
    with CaptureQueriesContext(connection) as queries:
        assert expire(dry_run=True) == "3 sessions are due."
    assert [sent["sql"].split()[0] for sent in queries] == ["SELECT"]
    assert [stored(row.id) for row in rows] == before


def test_a_dry_run_says_one_of_one() -> None:
    due()
    assert expire(dry_run=True) == "1 session is due."


def test_a_dry_run_in_a_loop_changes_nothing_either() -> None:
    (session,) = due()
    kept = {name: signal.signal(name, lambda *_: None) for name in (signal.SIGTERM, signal.SIGINT)}
    end = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    end.start()
    try:
        # Whether it goes on looking or refuses the two together.
        with unchanged(session.id), suppress(CommandError):
            expire(dry_run=True, loop=0.05)
    finally:
        end.join()
        for name, handler in kept.items():
            signal.signal(name, handler)


# A session that moves meanwhile.


def test_a_session_extended_meanwhile_is_left_alone() -> None:
    (session,) = seeding.sessions(lasting=timedelta(milliseconds=400))
    extended, over = threading.Event(), threading.Event()

    def extend() -> None:
        transitions.amend(session, actor=somebody(), lasting=timedelta(hours=1))
        extended.set()
        assert over.wait(5)

    extension = in_a_thread(lambda: boundary.write(extend))
    assert extended.wait(5)
    wait_until(_is_any_due)
    sweep = in_a_thread(expire)
    time.sleep(0.1)
    assert not sweep.done()
    over.set()
    extension.result(5)
    assert sweep.result(5) == "0 sessions expired."
    assert [event["event_type"] for event in chain(session)] == ["session.created", "session.changed"]
    assert_chain_holds(session)


def test_waits_for_what_another_holds_and_takes_it_if_the_other_is_gone() -> None:
    rows = due(3)
    holder = service_connection()
    holder.execute("BEGIN")
    holder.execute("SELECT 1 FROM sessions WHERE id = %s FOR NO KEY UPDATE", [rows[1].pk])
    sweep = in_a_thread(expire)
    wait_until(lambda: len(expired()) == 2)
    assert not sweep.done()
    holder.close()
    assert sweep.result(5) == "3 sessions expired."
    for row in rows:
        assert_chain_holds(row)


# What cannot be expired.


def test_one_that_cannot_be_expired_stops_no_other() -> None:
    rows = due(BATCH + 20)
    bad = [rows[0], rows[7], rows[BATCH + 3]]
    for row in bad:
        poison(row)
    with pytest.raises(CommandError) as failure:
        expire()
    assert failure.value.returncode == 1
    said = str(failure.value)
    assert said.startswith(f"{BATCH + 17} sessions expired, 3 could not be: ")
    assert all(str(row.id) in said for row in bad)
    assert "\n" not in said
    assert expired() == [row.pk for row in rows if row not in bad]
    for row in bad:
        assert (stored(row.id)["status"], stored(row.id)["version"]) == ("pending", 1)
    for row in rows[1:4]:
        assert_chain_holds(row)


def test_what_cannot_be_expired_is_reported_each_time() -> None:
    (row,) = due()
    poison(row)
    for _ in range(2):
        with pytest.raises(CommandError, match=f"0 sessions expired, 1 could not be: {row.id}"):
            expire()


def test_what_cannot_be_expired_takes_nothing_from_a_limit() -> None:
    rows = due(5)
    poison(rows[0])
    with pytest.raises(CommandError, match="2 sessions expired, 1 could not be"):
        expire(limit=2)
    assert expired() == [rows[1].pk, rows[2].pk]


def test_what_cannot_be_expired_makes_the_exit_code_one() -> None:
    good, bad = due(2)
    poison(bad)
    with process("expire_sessions") as running:
        _, said = running.communicate(timeout=30)
    assert running.returncode == 1
    assert f"CommandError: 1 session expired, 1 could not be: {bad.id}" in said
    assert expired() == [good.pk]


# As a process.


def test_ends_with_nought_and_a_sentence() -> None:
    due(3)
    with process("expire_sessions", "--limit", "2") as running:
        said, complained = running.communicate(timeout=30)
    assert (running.returncode, said, complained) == (0, "2 sessions expired.\n", "")


def test_says_in_a_sentence_that_the_database_is_away() -> None:
    calls = ((), ("--dry-run",))
    with ExitStack() as stack:
        running = [stack.enter_context(process("expire_sessions", *call, DATABASE_URL=AWAY)) for call in calls]
        for call, each in zip(calls, running, strict=True):
            said, complained = each.communicate(timeout=30)
            assert (each.returncode, said) == (1, ""), call
            assert "CommandError: The database cannot be reached" in complained, call
            assert "Traceback" not in complained, call


def test_in_a_loop_it_goes_on_until_it_is_told_to_end() -> None:
    due(3)
    with process("expire_sessions", "--loop", "0.05", PGAPPNAME="the loop") as running:
        wait_until(lambda: len(expired()) == 3)
        due(2)
        wait_until(lambda: len(expired()) == 5)
        # A database that goes away between two rounds is no end.
        with superuser_connection() as beside:
            ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'the loop'"
            assert beside.execute(ended).fetchall() == [(True,)]
        due(2)
        wait_until(lambda: len(expired()) == 7)
        assert running.poll() is None
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=5)
    assert running.returncode == 0
    counts = [int(line.split()[0]) for line in said.splitlines()]
    assert sum(counts) == 7
    assert all(counts)


def _is_any_due() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sessions WHERE expires_at <= clock_timestamp()")
        return cursor.fetchone() is not None
