"""Workers as processes, against the service as production runs it: killed, told to end, and taken over from."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import IO

import pytest

from sessions_app import duties
from sessions_app.models import Task
from sessions_app.sweeping import sweep
from tests.api import token
from tests.gunicorn_server import HERE, serving
from tests.sessions_app.task_calls import attempts, routed, stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
PATIENCE = 60
LEASE = timedelta(seconds=10)
"""As the worker asks for it."""


@contextmanager
def started(base: str, seconds: float, grace: float = 1) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.agent_mesh.finns_worker", base, str(seconds), str(grace)],
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    print(token("finn"), file=process.stdin, flush=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: "subprocess.Popen[str]", said: str) -> None:
    """Until it says this."""
    output: IO[str] | None = process.stdout
    assert output is not None
    heard: list[str] = []
    while (line := output.readline()) and line.strip() != said:
        heard.append(line)
    assert line, heard


def comes_to(task: Task, status: str) -> Task:
    """Sweep until it is so."""
    deadline = time.monotonic() + PATIENCE
    while stored(task).status != status and time.monotonic() < deadline:
        sweep(duties.REQUEUE_LAPSED)
        time.sleep(0.1)
    return stored(task)


def wait_for_heartbeat(task: Task) -> None:
    """Wait until the lease ends later than its claim said."""
    [attempt] = attempts(task)
    deadline = time.monotonic() + PATIENCE
    while stored(task).lease_expires_at == attempt.claimed_at + LEASE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_that_is_killed_is_taken_over_from() -> None:
    with serving() as base:
        task = routed(task_type="invoices")
        with started(base, PATIENCE) as first:
            wait_for(first, f"begun {task.pk} 1")
            wait_for_heartbeat(task)
            first.kill()
            first.wait()
            assert stored(task).status == "active"
            with started(base, 0) as second:
                assert comes_to(task, "completed").output == {"attempt": 2}
                wait_for(second, f"begun {task.pk} 2")
    assert [attempt.outcome for attempt in attempts(task)] == ["lease-lost", "completed"]


def test_an_idle_worker_ends_on_sigterm() -> None:
    with serving() as base, started(base, 0) as idle:
        task = routed(task_type="invoices")
        wait_for(idle, f"begun {task.pk} 1")
        comes_to(task, "completed")
        idle.send_signal(signal.SIGTERM)
        wait_for(idle, "ended")
        assert idle.wait(PATIENCE) == 0


def test_a_busy_worker_hands_back_what_it_cannot_end_in_time() -> None:
    with serving() as base, started(base, PATIENCE) as busy:
        task = routed(task_type="invoices")
        wait_for(busy, f"begun {task.pk} 1")
        busy.send_signal(signal.SIGTERM)
        wait_for(busy, "ended")
        assert busy.wait(PATIENCE) == 0
        assert (stored(task).status, stored(task).attempt) == ("pending", 1)
    assert [attempt.outcome for attempt in attempts(task)] == ["released"]


def test_a_second_signal_ends_it_at_once() -> None:
    with serving() as base, started(base, PATIENCE, grace=PATIENCE) as busy:
        task = routed(task_type="invoices")
        wait_for(busy, f"begun {task.pk} 1")
        busy.send_signal(signal.SIGINT)
        wait_for(busy, "SIGINT: no more is claimed.")
        busy.send_signal(signal.SIGINT)
        assert busy.wait(PATIENCE) != 0
        assert stored(task).status == "pending"
