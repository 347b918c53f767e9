"""How many processes and threads answer fastest: the same callers, on gunicorn in several sizes, in turn."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from statistics import median

from benchmarks.measured.rounds import ROUNDS, Figure
from tests.api import token
from tests.gunicorn_server import HERE, free_port

CALLERS, CALLS = 8, 20
USUAL = "2 processes × 4 threads"
KEPT = "… with connections kept"
BODY = json.dumps({"agent_role": "finance", "metadata": {"quarter": "Q4"}})
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Size:
    """A gunicorn to be: its processes and threads, and its worker, where it is not the configured one."""

    processes: int
    threads: int
    worker: str = ""


SIZES: Mapping[str, Size] = {
    "1 process × 4 threads": Size(1, 4),
    "2 processes × 1 thread": Size(2, 1),
    "2 processes × 2 threads": Size(2, 2),
    USUAL: Size(2, 4),
    "2 processes × 16 threads": Size(2, 16),
    "4 processes × 2 threads": Size(4, 2),
    "2 processes, sync": Size(2, 1, "sync"),
    "4 processes, sync": Size(4, 1, "sync"),
}


def measure() -> list[Figure]:
    """Sessions opened in a second, by each, and how much that is of what the usual size opens."""
    with ExitStack() as running, ThreadPoolExecutor(CALLERS) as callers:
        ports = {name: running.enter_context(_started(size)) for name, size in SIZES.items()}
        bearer = token("alice", roles="agent", ttl=7200)
        rates: dict[str, list[float]] = {name: [] for name in [*SIZES, KEPT]}
        # Once without counting: connections are made, and views warmed.
        for counting in range(ROUNDS + 1):
            for name in rates:
                rate = _rate(callers, ports[USUAL if name == KEPT else name], bearer, kept=name == KEPT)
                rates[name] += [rate] if counting else []
    usual = median(rates[USUAL])
    return [
        Figure(f"opened a second, {name}", f"{median(each):,.0f} ({median(each) / usual:.2f} ×)")
        for name, each in rates.items()
    ]


def _rate(callers: ThreadPoolExecutor, port: int, bearer: str, *, kept: bool) -> float:
    began = time.perf_counter()
    list(callers.map(lambda _: _open(port, bearer, kept=kept), range(CALLERS)))
    return CALLERS * CALLS / (time.perf_counter() - began)


def _open(port: int, bearer: str, *, kept: bool) -> None:
    """One caller's calls, on a connection each, as the proxy makes them, or on one for all."""
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    headers |= {} if kept else {"Connection": "close"}
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    for _ in range(CALLS):
        connection.request("POST", "/sessions", BODY, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 201:
            raise RuntimeError(f"a session was not opened: {answer.status}")
        if not kept:
            connection.close()
    connection.close()


@contextmanager
def _started(size: Size) -> Iterator[int]:
    """A gunicorn of that size; its port."""
    port = free_port()
    sizes = {"WEB_CONCURRENCY": str(size.processes), "WEB_THREADS": str(size.threads), "PORT": str(port)}
    other = ["--worker-class", size.worker] if size.worker else []
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", "docker/gunicorn.conf.py", *other],
        cwd=HERE,
        env={**os.environ, **sizes},
    )
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", "/livez")
            connection.getresponse().read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            connection.close()
