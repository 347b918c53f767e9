"""`make run` sweeps by itself: what runs out of time is found, and the sweeper ends with what started it."""

import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.embedded import Server
from orchestrator.sweeper import SECONDS
from tests.contract.running import Running, call, running
from tests.orchestrator.scrapes import Scrape

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sweeps") / "var"
    yield folder
    Server.within(folder).stop()


def wait_until(condition: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "It does not come."
        time.sleep(0.05)


def routed(service: Running, **members: str) -> str:
    status, task = call(service, "POST", "/tasks", {"task_type": "routing", **members})
    assert status == 201
    return str(task["task_id"])


def read(service: Running, pk: str) -> Any:
    status, task = call(service, "GET", f"/tasks/{pk}")
    assert status == 200
    return task


def scraped(service: Running) -> Scrape:
    bearer = {"Authorization": f"Bearer {(service.var / 'metrics_token').read_text()}"}
    with urllib.request.urlopen(urllib.request.Request(f"{service.url}/metrics", headers=bearer), timeout=10) as answer:
        return Scrape(answer.read().decode())


def sweeper_of(service: Running) -> psutil.Process:
    wait_until(service.sweeper, seconds=30)
    found = service.sweeper()
    assert found is not None
    return found


def test_a_lease_that_nobody_keeps_comes_back_and_a_deadline_is_kept_without_a_word(var: Path) -> None:
    with running(var) as service:
        soon = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
        overdue = routed(service, to_role="legal", deadline=soon)
        held = routed(service, to_role="finance")
        _, claimed = call(service, "POST", "/tasks/claim", {"lease_seconds": 10})
        assert [task["task_id"] for task in claimed["tasks"]] == [held]
        # A lease that is never used would be a lost delivery, and no attempt.
        token = claimed["tasks"][0]["lease"]["token"]
        call(service, "POST", f"/tasks/{held}/heartbeat", {"lease_token": token})
        before = service.printed
        wait_until(lambda: read(service, overdue)["status"] == "failed", seconds=2 * SECONDS + 25)
        wait_until(lambda: read(service, held)["status"] == "pending", seconds=10 + 2 * SECONDS + 25)
        assert read(service, held)["attempt"] == 2
        # The sweeper counts along with the workers, for whoever has the token that `make run` made.
        told = scraped(service)
        assert told.value("orchestrator_task_attempts_ended_total", outcome="lease-lost") == 1
        assert told.value("orchestrator_events_total", event_type="task.failed") == 1
        assert told.value("orchestrator_events_total", event_type="task.claimed") == 1
        assert service.printed == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_sweeper_ends_with_the_service_however_that_ends(var: Path, how: signal.Signals) -> None:
    with running(var) as service:
        sweeper_of(service)
        service.end(how)
        # Whoever is told to stop ends it first; an orphan has to notice.
        wait_until(lambda: service.sweeper() is None, seconds=5 if how is signal.SIGKILL else 0.1)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_sweeper_that_ends_is_started_again(var: Path, how: signal.Signals) -> None:
    with running(var) as service:
        first = sweeper_of(service)
        first.send_signal(how)
        wait_until(lambda: service.sweeper() not in (None, first), seconds=30)


def test_there_is_one_sweeper_however_many_workers_end(var: Path) -> None:
    with running(var) as service:
        sweeper = sweeper_of(service)
        master = psutil.Process(service.process.pid)
        workers = [child for child in master.children() if child.pid != sweeper.pid]
        assert len(workers) == 2
        for worker in workers:
            worker.kill()
        wait_until(lambda: len(master.children()) == 3, seconds=30)
        assert service.sweeper() == sweeper
        assert call(service, "GET", "/tasks")[0] == 200
