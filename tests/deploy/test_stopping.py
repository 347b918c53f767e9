"""Behind the proxy, instances are renewed and replaced while callers call, and no call is lost."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

import psutil
import pytest

from sessions_app.models import Session
from tests.api import token
from tests.deploy.instance import Instance, calling, wait_until
from tests.deploy.nginx import NO_LIMITS, Nginx, proxying

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@contextmanager
def two_instances() -> Iterator[tuple[Nginx, list[Instance]]]:
    with TemporaryFile("w+") as log:
        instances: list[Instance] = []
        try:
            instances += [Instance(log), Instance(log)]
            with proxying([instance.port for instance in instances], {"limits.conf": NO_LIMITS}) as nginx:
                yield nginx, instances
        finally:
            for instance in instances:
                instance.stop()


def answers_of(nginx: Nginx, instance: Instance) -> int:
    """How many calls an instance has answered through the proxy."""
    lines = [json.loads(line) for line in nginx.said().splitlines() if line.startswith("{")]
    return sum(line["upstream"] == f"127.0.0.1:{instance.port}" and line["status"] == 201 for line in lines)


def wait_until_it_gets_calls(nginx: Nginx, instance: Instance) -> None:
    before = answers_of(nginx, instance)
    wait_until(lambda: answers_of(nginx, instance) > before)


def workers(instance: Instance) -> set[int]:
    return {child.pid for child in psutil.Process(instance.process.pid).children()}


def test_an_instance_that_is_replaced_loses_no_call() -> None:
    """TERM, and a new one in its place, one after the other: not even a call without a key fails."""
    with two_instances() as (nginx, instances), calling(nginx.host, token("alice", ttl=7200)) as told:
        for instance in instances * 2:
            for each in instances:
                wait_until_it_gets_calls(nginx, each)
            instance.stop()
            instance.start()
    assert (set(told.seen), Session.objects.count()) == ({"201"}, told.seen["201"])


def test_an_instance_whose_workers_are_renewed_loses_no_call() -> None:
    """HUP, again and again."""
    with two_instances() as (nginx, instances), calling(nginx.host, token("alice", ttl=7200)) as told:
        for instance in instances * 2:
            wait_until_it_gets_calls(nginx, instance)
            old = workers(instance)
            instance.process.send_signal(signal.SIGHUP)
            wait_until(lambda: not old & workers(instance))  # noqa: B023  called before the next round
    assert (set(told.seen), Session.objects.count()) == ({"201"}, told.seen["201"])
