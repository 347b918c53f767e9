"""Sweeps of tasks against their holders, against each other, and against their own sudden end."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from orchestrator.clock import database_now
from sessions_app.duties import DEADLINE_DUTIES, FAIL_OVERDUE, LEASE_DUTIES, REQUEUE_LAPSED
from sessions_app.models import Task
from sessions_app.sweeping import sweep
from tests.concurrency import tasks
from tests.concurrency.racing import Call, at_once, codes, finn, kind, no_events, wait_for_waiters
from tests.concurrency.tasks import assert_tasks_hold, held, lapse, path
from tests.concurrency.told import refusals, words
from tests.work import events, in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)

SOON = timedelta(milliseconds=500)
EARLY = 4
"""So many calls come well before the moment that is raced for."""


@pytest.fixture(autouse=True)
def finn_has_a_token() -> None:
    """Made beforehand, so that nothing but the calls takes time."""
    finn()


def swept() -> list[int]:
    """How many tasks a sweep moved, duty by duty."""
    return [sweep(duty).moved for duty, _ in (*DEADLINE_DUTIES, *LEASE_DUTIES)]


def holders_call(task: Task, token: str, verb: str) -> Call:
    return lambda: finn().post(path(task, verb), {"lease_token": token})


def around(moment: float, calls: Sequence[Call], sweeping: Callable[[], object]) -> list[Any]:
    """The answers to calls that come about a moment and after it, while sweeps come all the time."""
    half = len(calls) // 2
    times = [moment + 0.2 * (n / half - 0.5) for n in range(half)] + [moment + 0.1] * (len(calls) - half)
    each = [partial(_at, when, call) for when, call in zip(times, calls, strict=True)]
    callers = [in_a_thread(lambda mine=each[k::2]: [call() for call in mine]) for k in range(2)]  # type: ignore[misc]
    while not all(caller.done() for caller in callers):
        sweeping()
        time.sleep(0.003)
    sweeping()
    answers: list[Any] = [None] * len(calls)
    answers[0::2], answers[1::2] = (caller.result() for caller in callers)
    return answers


def _at(moment: float, call: Call) -> Any:
    time.sleep(max(0.0, moment - time.monotonic()))
    return call()


# The lease.


def test_a_heartbeat_that_won_keeps_the_lease_and_one_that_lost_is_told() -> None:
    taken = tasks.all_held(tasks.many_routed(24))
    beats = [holders_call(task, token, "heartbeat") for task, token in taken]
    early = [call() for call in beats[:EARLY]]
    lapse(*(task for task, _ in taken[EARLY:]), after=SOON)
    moment = time.monotonic() + SOON.total_seconds()
    answers = early + around(moment, beats[EARLY:], lambda: sweep(REQUEUE_LAPSED))
    for (task, _), answer in zip(taken, answers, strict=True):
        stored = Task.objects.get(pk=task.pk)
        if answer.status_code == 200:
            assert (stored.status, stored.lease_epoch, stored.version) == ("active", 1, 2)
            assert stored.lease_expires_at is not None
            assert stored.lease_expires_at > database_now() + timedelta(seconds=50)
        else:
            assert kind(answer) == "lease-lost"
            assert (words(task), refusals(task)) == (["created", "claimed", "requeued"], ["lease-lost"])
            assert (stored.status, stored.attempt) == ("pending", 2)
    assert set(codes(answers)) == {200, 409}
    assert_tasks_hold()


def test_a_complete_before_its_lease_lapsed_stands_and_one_after_it_is_refused() -> None:
    taken = tasks.all_held(tasks.many_routed(24))
    ends = [holders_call(task, token, "complete") for task, token in taken]
    early = [call() for call in ends[:EARLY]]
    lapse(*(task for task, _ in taken[EARLY:]), after=SOON)
    moment = time.monotonic() + SOON.total_seconds()
    answers = early + around(moment, ends[EARLY:], lambda: sweep(REQUEUE_LAPSED))
    for (task, _), answer in zip(taken, answers, strict=True):
        left = ["completed"] if answer.status_code == 200 else ["requeued"]
        assert words(task) == ["created", "claimed", *left]
        assert refusals(task) == ["lease-lost"] * (answer.status_code == 409)
    assert set(codes(answers)) == {200, 409}
    assert_tasks_hold()


@pytest.mark.parametrize("verb", ["heartbeat", "complete", "release"])
def test_a_holder_who_waits_for_a_sweep_has_lost_the_lease(verb: str) -> None:
    task, token = held()
    lapse(task)
    with no_events():
        sweeping = in_a_thread(swept)
        wait_for_waiters(1)
        calling = in_a_thread(holders_call(task, token, verb))
        wait_for_waiters(2)
    assert sweeping.result(5) == [0, 0, 0, 0, 0, 1]
    assert kind(calling.result(5)) == "lease-lost"
    assert (words(task), refusals(task)) == (["created", "claimed", "requeued"], ["lease-lost"])
    assert_tasks_hold()


def test_a_sweep_passes_over_what_its_holder_is_just_completing() -> None:
    task, token = held()
    lapse(task, after=4 * SOON)
    with no_events():
        completing = in_a_thread(holders_call(task, token, "complete"))
        wait_for_waiters(1)
        # The lease was good when it was judged, and runs out before the completion commits.
        while not REQUEUE_LAPSED.rows().exists():
            time.sleep(0.01)
        sweeping = in_a_thread(swept)
        time.sleep(0.1)
        assert not sweeping.done()
    assert completing.result(5).status_code == 200
    assert sweeping.result(10) == [0, 0, 0, 0, 0, 0]
    assert words(task) == ["created", "claimed", "completed"]
    assert_tasks_hold()


# The deadline.


def test_a_complete_before_the_deadline_stands_and_one_after_it_is_refused() -> None:
    due, moment = database_now() + 4 * SOON, time.monotonic() + 4 * SOON.total_seconds()
    taken = tasks.all_held(tasks.many_routed(24, deadline=due))
    ends = [holders_call(task, token, "complete") for task, token in taken]
    early = [call() for call in ends[:EARLY]]
    answers = early + around(moment, ends[EARLY:], lambda: sweep(FAIL_OVERDUE))
    for (task, _), answer in zip(taken, answers, strict=True):
        if answer.status_code == 200:
            assert words(task) == ["created", "claimed", "completed"]
        else:
            # Until it is swept it is held, by whoever may not complete it any more.
            assert refusals(task) == [kind(answer)]
            assert kind(answer) in ("deadline-exceeded", "lease-lost")
            assert words(task) == ["created", "claimed", "failed"]
    assert set(codes(answers)) == {200, 409}
    assert_tasks_hold()


# Sweeps.


def test_four_sweeps_at_once_move_each_task_once() -> None:
    lapse(*(task for task, _ in tasks.all_held(tasks.many_routed(400))))
    moved = at_once(*[swept] * 4)
    assert [sum(each) for each in zip(*moved, strict=True)] == [0, 0, 0, 0, 0, 400]
    assert Counter(event["event_type"] for event in events("seq > 2")) == {"task.requeued": 400}
    assert_tasks_hold()
