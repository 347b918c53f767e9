"""boundary.write(): commits, rolls back, repeats, or says that the database is away."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, ProgrammingError, connection, transaction
from psycopg import sql

from audit_app.trail import Action
from orchestrator import boundary, roles
from orchestrator.problems import Forbidden, ServiceUnavailable
from sessions_app.models import Session
from sessions_app.transitions.change import changed, lock
from sessions_app.transitions.session import open_session
from tests import work
from tests.database import service_connection, superuser_connection

pytestmark = pytest.mark.django_db(transaction=True)

Work = Callable[[], object]


def _open() -> Session:
    """A session, in the boundary that is open."""
    return open_session(actor=work.actor(), role="finance", task=None, metadata={}, lasting=timedelta(days=1))


def _execute(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone() if cursor.description else None


def _kept() -> int:
    """How many sessions there are, seen from another connection."""
    with service_connection() as beside:
        row = beside.execute("SELECT count(*) FROM sessions").fetchone()
    assert row is not None
    return int(row[0])


def _then(*steps: Work) -> Work:
    """Open a session and go on with these steps."""

    def run() -> object:
        session = _open()
        for step in steps:
            step()
        return session

    return run


def _raise(error: BaseException) -> Work:
    def step() -> None:
        raise error

    return step


# Ends of a transaction.


def test_commits_what_was_done_and_hands_on_what_it_came_to() -> None:
    session = boundary.write(_open)
    assert isinstance(session, Session)
    assert _kept() == 1
    assert not connection.in_atomic_block


@pytest.mark.parametrize(
    "error", [Forbidden(), ValueError("ours"), KeyboardInterrupt()], ids=["refusal", "error", "^C"]
)
def test_rolls_back_and_hands_on_the_very_refusal_or_error(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised:
        boundary.write(_then(_raise(error)))
    assert raised.value is error
    assert _kept() == 0
    assert not connection.in_atomic_block


def test_an_error_of_the_database_is_not_mistaken_for_its_absence() -> None:
    with pytest.raises(ProgrammingError):
        boundary.write(_then(lambda: _execute("SELECT nothing FROM sessions")))
    assert _kept() == 0


def test_a_refusal_at_commit_is_an_error_of_ours_and_not_an_absence() -> None:
    session = work.open_session()
    with pytest.raises(IntegrityError):
        boundary.write(lambda: _execute(f"UPDATE sessions SET reason = 'another' WHERE id = '{session.pk}'"))
    work.assert_chain_holds(session)


def test_does_not_take_an_aborted_transaction_for_a_committed_one() -> None:
    # PostgreSQL answers COMMIT with a quiet ROLLBACK once a statement has failed.
    def swallow() -> Session:
        session = _open()
        try:
            _execute("SELECT 1 / 0")
        except DatabaseError:
            return session
        raise AssertionError("It divides by zero.")

    with pytest.raises(DatabaseError):
        boundary.write(swallow)
    assert _kept() == 0


def test_refuses_to_stand_inside_another() -> None:
    with pytest.raises(RuntimeError):
        boundary.write(_then(lambda: boundary.write(_open)))
    assert _kept() == 0


def test_refuses_to_stand_inside_a_transaction_of_somebody_else() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError):
        boundary.write(_open)
    assert _kept() == 0


# What a refusal asks for afterwards.


def test_what_a_refusal_asks_for_runs_after_the_rollback_and_is_kept() -> None:
    seen: list[tuple[int, bool]] = []

    def afterwards() -> None:
        seen.append((_kept(), connection.in_atomic_block))
        _open()

    refusal = Forbidden(afterwards=afterwards)
    with pytest.raises(Forbidden) as raised:
        boundary.write(_then(_open, _raise(refusal)))
    assert raised.value is refusal
    assert seen == [(0, True)]
    assert _kept() == 1


def test_what_a_refusal_asks_for_has_a_transaction_of_its_own() -> None:
    ids: list[Any] = []

    def tell() -> None:
        ids.append(_execute("SELECT pg_current_xact_id()::text"))

    with pytest.raises(Forbidden):
        boundary.write(_then(tell, _raise(Forbidden(afterwards=tell))))
    assert len(set(ids)) == 2


def test_what_a_refusal_asks_for_is_rolled_back_when_it_fails() -> None:
    with pytest.raises(ValueError, match="ours"):
        boundary.write(_raise(Forbidden(afterwards=_then(_raise(ValueError("ours"))))))
    assert _kept() == 0


def test_what_a_refusal_asks_for_is_repeated_like_any_work() -> None:
    attempts = _Attempts(failing=1, sqlstate="40P01")
    with pytest.raises(Forbidden):
        boundary.write(_raise(Forbidden(afterwards=attempts.run)))
    assert (attempts.count, _kept()) == (2, 1)


# Repetition.


class _Attempts:
    """Work that opens a session and then meets an SQLSTATE, the first `failing` times."""

    def __init__(self, failing: int, sqlstate: str) -> None:
        self.failing, self.sqlstate, self.count = failing, sqlstate, 0

    def run(self) -> Session:
        self.count += 1
        session = _open()
        if self.count <= self.failing:
            _execute(f"DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '{self.sqlstate}'; END $$")
        return session


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
@pytest.mark.parametrize("failing", [1, 2])
def test_repeats_the_whole_work_when_another_transaction_won(sqlstate: str, failing: int) -> None:
    attempts = _Attempts(failing, sqlstate)
    boundary.write(attempts.run)
    assert (attempts.count, _kept()) == (failing + 1, 1)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_gives_up_after_repeating_twice(sqlstate: str) -> None:
    attempts = _Attempts(100, sqlstate)
    with pytest.raises(ServiceUnavailable):
        boundary.write(attempts.run)
    assert (attempts.count, _kept()) == (3, 0)


@pytest.mark.parametrize("sqlstate", ["23505", "22012", "P0001", "57014", "55P03", "53100"])
def test_repeats_nothing_else(sqlstate: str) -> None:
    attempts = _Attempts(100, sqlstate)
    with pytest.raises((DatabaseError, ServiceUnavailable)):
        boundary.write(attempts.run)
    assert (attempts.count, _kept()) == (1, 0)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_repeats_what_was_lost_at_commit(at_commit: "_AtCommit", sqlstate: str) -> None:
    at_commit.does(f"""
        IF nextval('attempts') = 1 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '{sqlstate}'; END IF;""")
    boundary.write(_open)
    assert _kept() == 1
    assert _execute("SELECT last_value FROM attempts") == (2,)


@pytest.fixture
def quick_deadlocks() -> Iterator[None]:
    """Let connections made from here on find a deadlock after 20 ms instead of a second."""
    database = sql.Identifier(connection.settings_dict["NAME"])
    with superuser_connection() as beside:
        beside.execute(sql.SQL("ALTER DATABASE {} SET deadlock_timeout = '20ms'").format(database))
        yield
        beside.execute(sql.SQL("ALTER DATABASE {} RESET deadlock_timeout").format(database))


@pytest.mark.usefixtures("quick_deadlocks")
def test_both_sides_of_a_deadlock_succeed() -> None:
    one, other = work.open_session(), work.open_session()
    both_hold = threading.Barrier(2, timeout=5)
    attempts: list[str] = []

    def in_order(name: str, *rows: Session) -> Work:
        def run() -> None:
            attempts.append(name)
            first, second = rows
            held = lock(first)
            if attempts.count(name) == 1:
                both_hold.wait()
            for row in (held, lock(second)):
                with changed(row, Action.SESSION_CHANGED, actor=work.actor(name)) as fresh:
                    fresh.metadata = {**fresh.metadata, name: True}

        return run

    sides = [
        work.in_a_thread(lambda: boundary.write(in_order("alice", one, other))),
        work.in_a_thread(lambda: boundary.write(in_order("bob", other, one))),
    ]
    for side in sides:
        side.result(5)
    assert len(attempts) >= 3
    for session in (one, other):
        assert Session.objects.get(pk=session.pk).metadata == {"alice": True, "bob": True}
        work.assert_chain_holds(session)


# The database away.


def _backend() -> int:
    return int(_execute("SELECT pg_backend_pid()")[0])


def _end(backend: int) -> None:
    """End a connection from the server's side, and wait until it is gone."""
    with superuser_connection() as beside:
        beside.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])


def _assert_recovers() -> None:
    """The next write goes through, without anybody's help."""
    before = _kept()
    boundary.write(_open)
    assert _kept() == before + 1


def test_a_connection_lost_before_begin_is_unavailability() -> None:
    _end(_backend())
    with pytest.raises(ServiceUnavailable):
        boundary.write(_open)
    assert _kept() == 0
    _assert_recovers()


def test_a_connection_known_to_be_lost_is_unavailability_at_most_once() -> None:
    _end(_backend())
    with pytest.raises(DatabaseError):
        _execute("SELECT 1")
    with pytest.raises(ServiceUnavailable):
        boundary.write(_open)
    _assert_recovers()


def test_a_connection_refused_is_unavailability(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connection.close()
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(connection.settings_dict, "HOST", str(tmp_path))
        with pytest.raises(ServiceUnavailable):
            boundary.write(_open)
    _assert_recovers()


def test_a_connection_lost_inside_is_unavailability() -> None:
    with pytest.raises(ServiceUnavailable):
        boundary.write(_then(lambda: _end(_backend()), _open))
    assert _kept() == 0
    _assert_recovers()


def test_a_connection_lost_inside_and_not_minded_is_unavailability() -> None:
    def not_minding() -> None:
        _end(_backend())
        for _ in range(2):
            try:
                _execute("SELECT 1")
            except DatabaseError:
                continue

    with pytest.raises(ServiceUnavailable):
        boundary.write(_then(not_minding))
    assert _kept() == 0
    _assert_recovers()


def test_a_connection_lost_before_commit_is_unavailability() -> None:
    with pytest.raises(ServiceUnavailable):
        boundary.write(_then(lambda: _end(_backend())))
    assert _kept() == 0
    _assert_recovers()


def test_a_refusal_stands_when_its_rollback_finds_the_connection_lost() -> None:
    with pytest.raises(Forbidden):
        boundary.write(_then(lambda: _end(_backend()), _raise(Forbidden())))
    assert _kept() == 0
    _assert_recovers()


class _AtCommit:
    """A deferred trigger on sessions whose body a test writes; it runs as a superuser."""

    def __init__(self, beside: psycopg.Connection[Any]) -> None:
        self.beside = beside

    def does(self, body: str) -> None:
        self.beside.execute(f"""
            CREATE SEQUENCE attempts;
            GRANT SELECT ON attempts TO orchestrator_service;
            CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN {body} RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON sessions DEFERRABLE INITIALLY DEFERRED
              FOR EACH ROW EXECUTE FUNCTION at_commit();""")

    def no_more(self) -> None:
        self.beside.execute("DROP FUNCTION IF EXISTS at_commit CASCADE")
        self.beside.execute("DROP SEQUENCE IF EXISTS attempts")


@pytest.fixture
def at_commit() -> Iterator[_AtCommit]:
    """What happens at COMMIT, for as long as the test runs."""
    with superuser_connection() as beside:
        trigger = _AtCommit(beside)
        yield trigger
        trigger.no_more()


def test_a_connection_lost_at_commit_is_unavailability(at_commit: _AtCommit) -> None:
    at_commit.does("PERFORM pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(ServiceUnavailable):
        boundary.write(_open)
    assert _kept() == 0
    at_commit.no_more()
    _assert_recovers()


def test_a_commit_without_room_is_unavailability(at_commit: _AtCommit) -> None:
    at_commit.does("RAISE EXCEPTION 'full' USING ERRCODE = '53100';")
    with pytest.raises(ServiceUnavailable):
        boundary.write(_open)
    assert _kept() == 0
    at_commit.no_more()
    _assert_recovers()


def test_a_lock_that_is_not_to_be_had_is_unavailability() -> None:
    session = work.open_session()

    def wait() -> None:
        _execute("SET LOCAL lock_timeout = '20ms'")
        lock(session)

    with service_connection() as beside, beside.transaction():
        beside.execute("SELECT 1 FROM sessions WHERE id = %s FOR NO KEY UPDATE", [session.pk])
        with pytest.raises(ServiceUnavailable):
            boundary.write(_then(wait))
    assert _kept() == 1
    _assert_recovers()


def test_a_statement_that_takes_too_long_is_unavailability() -> None:
    with pytest.raises(ServiceUnavailable):
        boundary.write(
            _then(lambda: _execute("SET LOCAL statement_timeout = '20ms'"), lambda: _execute("SELECT pg_sleep(5)"))
        )
    assert _kept() == 0
    _assert_recovers()


def test_idling_in_a_transaction_too_long_is_unavailability() -> None:
    def idle() -> None:
        _execute("SET LOCAL idle_in_transaction_session_timeout = '20ms'")
        threading.Event().wait(0.1)

    with pytest.raises(ServiceUnavailable):
        boundary.write(_then(idle, _open))
    assert _kept() == 0
    _assert_recovers()


@pytest.mark.parametrize(
    "sqlstate", ["53100", "53200", "53300", "57P01", "57P03", "58030", "08006", "25006", "25P03", "25P04", "42P01"]
)
def test_a_database_out_of_room_shutting_down_or_not_ready_is_unavailability(sqlstate: str) -> None:
    with pytest.raises(ServiceUnavailable) as refusal:
        boundary.write(_Attempts(1, sqlstate).run)
    assert refusal.value.headers == {"Retry-After": "1"}
    assert "lost" not in refusal.value.detail
    assert _kept() == 0


# What the promises rest on.


@pytest.mark.parametrize(("name", "value"), roles.SERVICE_SETTINGS.items())
def test_the_settings_of_the_service_are_in_force(name: str, value: str) -> None:
    assert _execute(f"SHOW {name}") == (value,)
    with service_connection() as beside:
        assert beside.execute(f"SHOW {name}").fetchone() == (value,)


def test_the_settings_of_the_service_are_those_promised() -> None:
    assert roles.SERVICE_SETTINGS == {
        "statement_timeout": "10s",
        "lock_timeout": "3s",
        "idle_in_transaction_session_timeout": "15s",
        "client_connection_check_interval": "1s",
        "jit": "off",
    }


def test_the_settings_go_with_the_role_itself() -> None:
    stored = _execute(f"SELECT rolconfig FROM pg_roles WHERE rolname = '{roles.SERVICE}'")
    assert sorted(stored[0]) == sorted(f"{name}={value}" for name, value in roles.SERVICE_SETTINGS.items())


def test_the_service_is_in_nobody_else_s_place() -> None:
    assert _execute("SELECT current_user") == (roles.SERVICE,)
    rights = "rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication"
    assert _execute(f"SELECT {rights} FROM pg_roles WHERE rolname = current_user") == (False,) * 5
    assert _execute("SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole") == (0,)
    assert _execute("SELECT count(*) FROM pg_auth_members WHERE member = current_user::regrole") == (0,)


def test_the_isolation_is_read_committed() -> None:
    assert boundary.write(lambda: _execute("SHOW transaction_isolation")) == ("read committed",)
