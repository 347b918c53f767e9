"""Behind the proxy: nginx passes on that a caller hung up, and a claim that nobody waits for takes no task."""

import json
import os
import signal
import socket
from tempfile import TemporaryFile

import psutil
import pytest

from sessions_app.models import Attempt
from tests.api import token
from tests.concurrency import tasks
from tests.deploy.instance import Instance, wait_until
from tests.deploy.nginx import NO_LIMITS, Nginx, proxying

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

CALLERS = 64


def claiming(nginx: Nginx, body: bytes, bearer: str) -> socket.socket:
    """A connection over which a claim went, and no answer was read."""
    head = (
        f"POST /tasks/claim HTTP/1.1\r\nHost: {nginx.host}\r\nAuthorization: Bearer {bearer}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    caller = socket.create_connection(("127.0.0.1", nginx.port))
    caller.sendall(head.encode() + body)
    return caller


def statuses(nginx: Nginx) -> list[int]:
    """What nginx says of each request that is over."""
    return [json.loads(line)["status"] for line in nginx.said().splitlines() if line.startswith("{")]


@pytest.mark.parametrize("body", [b"{}", b'{"wait_seconds": 30}'], ids=["at once", "waiting"])
def test_callers_who_hang_up_on_the_proxy_take_no_task(body: bytes) -> None:
    for _ in range(CALLERS):
        tasks.routed()
    bearer = token("finn", roles="agent", agent_roles="finance")
    with TemporaryFile("w+") as log:
        instance = Instance(log)
        try:
            with proxying([instance.port], {"limits.conf": NO_LIMITS}) as nginx:
                workers = [child.pid for child in psutil.Process(instance.process.pid).children()]
                for pid in workers:
                    os.kill(pid, signal.SIGSTOP)
                callers = [claiming(nginx, body, bearer) for _ in range(CALLERS)]
                wait_until(lambda: connections_to(instance) >= CALLERS)
                for caller in callers:
                    caller.close()
                wait_until(lambda: statuses(nginx).count(499) == CALLERS)
                for pid in workers:
                    os.kill(pid, signal.SIGCONT)
                # The last one comes behind all the others, and finds what they left.
                wait_until(lambda: served(nginx, bearer))
        finally:
            instance.stop()
    assert Attempt.objects.count() == 0


def connections_to(instance: Instance) -> int:
    """How many connections to its port are made."""
    made = psutil.net_connections("tcp4")
    return sum(one.status == psutil.CONN_ESTABLISHED and one.raddr and one.raddr[1] == instance.port for one in made)


def served(nginx: Nginx, bearer: str) -> bool:
    """Whether the service answers a call of the same subject."""
    with claiming(nginx, b'{"roles": ["finance"], "task_types": ["no such"]}', bearer) as caller:
        return caller.recv(12) == b"HTTP/1.1 200"
