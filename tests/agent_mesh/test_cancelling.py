"""A tool call that its client cancels ends at the service too: a claim that nobody waits for takes no task."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from sessions_app.models import Attempt
from tests.agent_mesh.identity import providing
from tests.agent_mesh.talking import Talker
from tests.agent_mesh.test_over_http import agent, mesh
from tests.agent_mesh.test_over_stdio import started
from tests.api import token
from tests.concurrency import tasks
from tests.faults.checker import CLAIM
from tests.faults.harness import Service, serving
from tests.faults.pace import requests

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PATIENCE_SECONDS = 30

Way = Callable[[], AbstractContextManager[tuple[Service, Talker]]]
SIZE = {"WEB_THREADS": "8", "LOG_LEVEL": "info"}


def over_stdio(mode: str) -> Way:
    @contextmanager
    def way() -> Iterator[tuple[Service, Talker]]:
        with serving(workers=1, **SIZE) as service, started(service.base, token("finn"), mode) as finn:
            yield service, finn

    return way


def over_http(mode: str) -> Way:
    @contextmanager
    def way() -> Iterator[tuple[Service, Talker]]:
        with (
            providing() as provider,
            serving(workers=1, **SIZE, **provider.environment()) as service,
            mesh(service.base, provider, "exchange") as address,
            agent(address, provider.token("finn"), mode) as finn,
        ):
            yield service, finn

    return way


@pytest.mark.parametrize(
    "way",
    [over_stdio("auto"), over_stdio("legacy"), over_http("auto"), over_http("legacy")],
    ids=["stdio", "stdio, legacy", "http", "http, legacy"],
)
def test_a_cancelled_claim_takes_no_task(way: Way) -> None:
    with way() as (service, finn):
        # The first call shows that the way is open.
        assert finn.does("claim_task")["claimed"] is False
        call = finn.begin("claim_task", wait_seconds=30)
        time.sleep(2)
        assert len(requests(service, CLAIM)) == 1
        call.cancel()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(requests(service, CLAIM)) < 2:
            assert time.monotonic() < deadline, "The service still waits for the caller."
            time.sleep(0.02)
        assert requests(service, CLAIM)[1]["milliseconds"] < 25_000
        task = tasks.routed()
        time.sleep(0.5)
        assert Attempt.objects.count() == 0
        assert finn.does("claim_task")["task"]["task_id"] == str(task.pk)
