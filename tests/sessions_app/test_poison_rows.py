"""A row that a sweep cannot move, or that takes too long: it stops no other, and is tried again ever more rarely."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from orchestrator.maintenance import poison, records
from orchestrator.maintenance.jobs import all_jobs
from orchestrator.problems import ServiceUnavailable
from sessions_app import sweeping
from sessions_app.duties import EXPIRE_SESSIONS, REQUEUE_LAPSED
from sessions_app.jobs import settle_lapsed_leases
from sessions_app.models import Recorded, Session
from sessions_app.sweeping import Outcome, sweep
from tests.database import owner_connection, superuser_connection
from tests.sessions_app.session_calls import overdue_session
from tests.sessions_app.task_calls import FINN, MONA, claimed, lapse, routed, stored
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def stubborn(row: Recorded, does: str = "RAISE EXCEPTION 'it is stuck'") -> Iterator[None]:
    """Let every change of a row fail, or do something else of PL/pgSQL first."""
    table = row._meta.db_table
    with owner_connection() as owner:
        owner.execute(
            "CREATE FUNCTION stubborn() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN IF OLD.id = '{row.pk}' THEN {does}; END IF; RETURN NEW; END $$"
        )
        owner.execute(f"CREATE TRIGGER stubborn BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION stubborn()")
        owner.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER stubborn")
        try:
            yield
        finally:
            owner.execute(f"DROP TRIGGER stubborn ON {table}; DROP FUNCTION stubborn()")


def entry(row: Recorded) -> Any:
    """How often a row failed, and for how many seconds it is left alone."""
    with superuser_connection() as beside:
        return beside.execute(
            "SELECT failures, extract(epoch FROM retry_at - clock_timestamp())::float FROM maintenance_poison_rows"
            " WHERE row_id = %s",
            [row.pk],
        ).fetchone()


def end_pauses() -> None:
    with superuser_connection() as beside:
        beside.execute("UPDATE maintenance_poison_rows SET retry_at = clock_timestamp()")


def status(row: Recorded) -> str:
    return str(Session.objects.get(pk=row.pk).status)


def test_is_reported_each_time_and_tried_again_after_pauses_that_double() -> None:
    bad = overdue_session("active")
    with stubborn(bad):
        for failures, pause in ((1, 30), (2, 60), (3, 120)):
            for _ in range(2):
                outcome = sweep(EXPIRE_SESSIONS)
                assert (outcome.moved, list(outcome.poison)) == (0, [bad.pk])
                assert "it is stuck" in outcome.poison[bad.pk]
            known, seconds = entry(bad)
            assert (known, pause - 20 < seconds <= pause) == (failures, True)
            end_pauses()
    assert sweep(EXPIRE_SESSIONS) == Outcome(moved=1)
    assert entry(bad) is None
    assert_chain_holds(bad)


def test_a_pause_is_never_longer_than_an_hour() -> None:
    bad = overdue_session("active")
    for _ in range(12):
        poison.record(EXPIRE_SESSIONS.job, bad.pk, "stuck")
    failures, seconds = entry(bad)
    assert (failures, 3590 < seconds <= 3600) == (12, True)


def test_while_it_is_left_alone_the_others_are_moved_as_a_batch(caplog: pytest.LogCaptureFixture) -> None:
    bad = overdue_session("active")
    with stubborn(bad):
        sweep(EXPIRE_SESSIONS)
        good = [overdue_session("active") for _ in range(3)]
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            assert sweep(EXPIRE_SESSIONS).moved == 3
        assert not caplog.records
    assert [status(row) for row in good] == ["expired"] * 3


def test_one_that_is_not_due_any_more_is_forgotten() -> None:
    bad = overdue_session("active")
    poison.record(EXPIRE_SESSIONS.job, bad.pk, "stuck")
    poison.record(EXPIRE_SESSIONS.job, UUID(int=1), "gone")
    assert list(sweep(EXPIRE_SESSIONS).poison) == [bad.pk]
    assert [one.row_id for one in poison.known(EXPIRE_SESSIONS.job)] == [bad.pk]


def test_each_job_counts_the_rows_that_it_cannot_move() -> None:
    poison.record(REQUEUE_LAPSED.job, UUID(int=1), "stuck")
    poison.record(REQUEUE_LAPSED.job, UUID(int=2), "stuck")
    poison.record(EXPIRE_SESSIONS.job, UUID(int=1), "stuck")
    counts = {state.job.name: state.poison_rows for state in records.states(all_jobs()) if state.poison_rows}
    assert counts == {"expire_sessions": 1, "settle_lapsed_leases": 2}


@pytest.mark.slow
def test_a_lease_that_takes_too_long_to_settle_stops_no_other_tenants_lease() -> None:
    """Within two intervals of five seconds, which is how often the sweeper comes by."""
    others = replace(MONA, tenant="other"), replace(FINN, tenant="other")
    bad, good = claimed(), [claimed(routed(by=others[0]), by=others[1]) for _ in range(3)]
    for held in (bad, *good):
        lapse(held.task)
    with stubborn(bad.task, "PERFORM pg_sleep(30)"):
        outcome = sweep(REQUEUE_LAPSED)
        assert (outcome.moved, outcome.poison) == (3, {bad.task.pk: "It takes too long."})
        assert [stored(held.task).status for held in good] == ["pending"] * 3
        assert stored(bad.task).status == "active"
    end_pauses()
    assert settle_lapsed_leases().endswith("1 put back after their lease.")


@pytest.mark.slow
def test_where_every_row_takes_too_long_the_database_is_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "MAX_TIMEOUTS", 2)
    rows = [overdue_session("active") for _ in range(4)]
    with stubborn(rows[0], "NULL"), owner_connection() as owner:
        owner.execute(
            "CREATE OR REPLACE FUNCTION stubborn() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$"
        )
        with pytest.raises(ServiceUnavailable):
            sweep(EXPIRE_SESSIONS)
    assert len(poison.known(EXPIRE_SESSIONS.job)) == 2
    end_pauses()
    assert sweep(EXPIRE_SESSIONS) == Outcome(moved=4)
