"""Workers count together, whichever of them is killed or renewed; nothing that was counted is lost."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest

from orchestrator import metric_files
from tests.faults.harness import Service, serving
from tests.orchestrator.scrapes import TOKEN, Scrape

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
PATIENCE_SECONDS = 40
WORKERS = 2


def told_by(service: Service) -> Scrape:
    request = Request(f"{service.base}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        return Scrape(answer.read().decode())


def statuses(service: Service) -> float:
    """How often /status was answered."""
    return told_by(service).value("orchestrator_http_requests_total", route="/status")


def ask(service: Service, times: int) -> None:
    for _ in range(times):
        with urlopen(f"{service.base}/status", timeout=PATIENCE_SECONDS) as answer:
            assert answer.status == 200


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers(service: Service) -> set[int]:
    return {child.pid for child in psutil.Process(service.process.pid).children()}


def test_all_workers_count_together_and_go_on_where_those_before_them_ended(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    env = {metric_files.FOLDER: str(folder), "METRICS_TOKEN": TOKEN}
    with serving(workers=WORKERS, **env) as service:
        ask(service, 40)
        assert statuses(service) == 40
        # Both took part: neither has all of it. What the master has is at zero.
        assert len(list(folder.glob("counter_*.db"))) == WORKERS + 1
        before = workers(service)
        service.kill_one(random.Random(0))
        until(lambda: len(workers(service) - before) == 1 and len(workers(service)) == WORKERS)
        service.wait_for(WORKERS)
        ask(service, 20)
        assert statuses(service) == 60
        assert told_by(service).value("orchestrator_http_requests_in_progress") == 1
        before = workers(service)
        service.process.send_signal(signal.SIGHUP)
        until(lambda: not workers(service) & before and len(workers(service)) == WORKERS)
        service.wait_for(WORKERS)
        ask(service, 20)
        assert statuses(service) == 80
        # While old and new overlapped there were twice as many at the most.
        assert len(list(folder.glob("counter_*.db"))) <= 2 * WORKERS + 1
    with serving(workers=1, **env) as service:
        ask(service, 1)
        assert statuses(service) == 1
