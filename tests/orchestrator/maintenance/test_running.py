"""Maintenance jobs side by side: a slow or failing one delays no other, and each records how it ends."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError

from orchestrator.maintenance import records, running
from orchestrator.maintenance.jobs import Incomplete, Job, all_jobs
from orchestrator.maintenance.running import JobRunner, Report, run_all
from orchestrator.problems import ServiceUnavailable
from tests.database import superuser_connection
from tests.work import in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)


def raising(error: Exception) -> Callable[[], str]:
    def run() -> str:
        raise error

    return run


def job(run: Callable[[], str] = lambda: "Done.", *, name: str = "tried", interval: float = 0) -> Job:
    return Job(name, run, interval)


def state(of: Job) -> records.State:
    return records.states([of])[0]


def set_back(column: str, seconds: float) -> None:
    with superuser_connection() as beside:
        beside.execute(f"UPDATE maintenance_jobs SET {column} = now() - make_interval(secs => %s)", [seconds])


def error_of(of: Job) -> Any:
    with superuser_connection() as beside:
        return beside.execute("SELECT last_error, failures FROM maintenance_jobs WHERE name = %s", [of.name]).fetchone()


def test_jobs_run_at_the_same_time_and_are_reported_in_their_order() -> None:
    both = threading.Barrier(2, timeout=10)

    def meet(word: str) -> Callable[[], str]:
        def run() -> str:
            both.wait()
            return word

        return run

    reports: list[Report] = []
    jobs = [job(meet("One."), name="one"), job(meet("Two."), name="two")]
    assert run_all(jobs, reports.append) == 0
    assert [report.sentence for report in reports] == ["One.", "Two."]


def test_a_job_that_hangs_delays_no_other_in_a_round() -> None:
    going_on, quick_is_done = threading.Event(), threading.Event()

    def hang() -> str:
        assert going_on.wait(10)
        return "At last."

    def quick() -> str:
        quick_is_done.set()
        return "Quick."

    round_ = in_a_thread(lambda: run_all([job(hang, name="hangs"), job(quick, name="quick")], lambda _: None))
    assert quick_is_done.wait(10)
    assert not round_.done()
    going_on.set()
    assert round_.result(10) == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CommandError("The trail cannot be sealed."), "The trail cannot be sealed."),
        (ServiceUnavailable("The database cannot be reached."), "The database cannot be reached."),
        (ValueError("odd\nand more"), "ValueError: odd"),
    ],
    ids=["command", "away", "fault"],
)
def test_a_job_that_fails_is_reported_and_recorded_and_the_others_are_done(error: Exception, said: str) -> None:
    bad, good = job(raising(error), name="bad"), job(name="good")
    reports: list[Report] = []
    assert run_all([bad, good], reports.append) == 1
    assert [(report.sentence, report.is_whole) for report in reports] == [(said, False), ("Done.", True)]
    assert (state(bad).age_seconds, state(bad).is_overdue, error_of(bad)) == (None, True, (said, 1))
    assert (state(good).age_seconds is not None, state(good).is_overdue) == (True, False)
    run_all([bad], reports.append)
    assert state(bad).failures == 2


def test_a_round_that_leaves_rows_is_a_success_and_not_whole() -> None:
    left = job(raising(Incomplete("1 could not be.")))
    reports: list[Report] = []
    assert run_all([left], reports.append) == 1
    assert [report.sentence for report in reports] == ["1 could not be."]
    assert state(left).age_seconds is not None


def test_a_success_ends_the_count_of_failures() -> None:
    run_all([job(raising(ValueError("odd")))], lambda _: None)
    run_all([job()], lambda _: None)
    assert (state(job()).failures, state(job()).is_overdue) == (0, False)


def test_a_job_of_an_interval_is_done_once_in_it() -> None:
    rare = job(interval=3600)
    assert JobRunner(rare).run() is not None
    assert JobRunner(rare).run() is None
    set_back("last_success_at", 3599)
    set_back("last_started_at", 3599)
    assert JobRunner(rare).run() is None
    set_back("last_success_at", 3601)
    assert JobRunner(rare).run() is not None


def test_a_job_of_an_interval_that_fails_is_tried_again_after_a_tenth_of_it() -> None:
    rare = job(raising(ValueError("odd")), interval=3600)
    assert JobRunner(rare).run() is not None
    assert JobRunner(rare).run() is None
    set_back("last_started_at", 361)
    assert JobRunner(rare).run() is not None


def test_of_several_processes_one_starts_a_job_of_an_interval() -> None:
    rare = job(interval=3600)
    started = [starting.result(10) for starting in [in_a_thread(lambda: records.start(rare)) for _ in range(6)]]
    assert sorted(started) == [False] * 5 + [True]


def test_a_looping_job_records_its_success_once_in_a_while_and_at_once_after_a_failure() -> None:
    errors: list[Exception] = []

    def run() -> str:
        if errors:
            raise errors.pop()
        return "Done."

    runner = JobRunner(job(run))
    runner.run()
    set_back("last_success_at", 10)
    runner.run()
    assert 9 < (state(job()).age_seconds or 0) < running.RECORD_SECONDS
    errors.append(ValueError("odd"))
    runner.run()
    runner.run()
    assert (state(job()).age_seconds or 0) < 9


def test_a_looping_job_goes_on_where_its_rounds_cannot_be_reported(caplog: pytest.LogCaptureFixture) -> None:
    stop, rounds = threading.Event(), list[Report]()

    def report(done: Report) -> None:
        rounds.append(done)
        if len(rounds) == 3:
            stop.set()
        raise BrokenPipeError

    in_a_thread(lambda: running._repeat(job(), 0.01, stop, report)).result(10)
    assert [done.sentence for done in rounds] == ["Done."] * 3
    assert [record.message for record in caplog.records] == ["a round of a maintenance job was not reported"] * 3


def test_a_job_is_overdue_after_three_intervals_and_no_sooner_than_after_three_minutes() -> None:
    assert [job(interval=seconds).overdue_seconds for seconds in (0, 30, 60, 3600)] == [180, 180, 180, 10_800]


def test_each_job_has_a_name_of_its_own() -> None:
    names = [job.name for job in all_jobs()]
    assert len(set(names)) == len(names)
    assert "seal_trail" in names
