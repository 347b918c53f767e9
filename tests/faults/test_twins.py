"""Many posts with one key at once, against work that takes a second: one does it, and the others do not wait."""

import json
import selectors
import socket
import threading
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import pytest

from tests.api import token
from tests.database import superuser_connection
from tests.faults.checker import check
from tests.faults.harness import Client, Service, serving
from tests.faults.history import Call, History, Outcome
from tests.faults.pace import best_of, inside, p95, requests
from tests.faults.urls import SLOW_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)

LOSERS_SECONDS = 0.15
BURNT_SECONDS = 2.0
AT = "/slow/sessions"


@dataclass
class Post:
    """One of many that are sent at once: its socket, and what came back over it, when."""

    socket: socket.socket
    began: float = 0.0
    took: float = 0.0
    raw: bytes = b""

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def replayed(self) -> bool:
        return b"Idempotent-Replayed: true" in self.raw


def burst(service: Service, bearer: str, count: int, key: str) -> list[Post]:
    """Post the same with the same key, from so many connections that are open already, on this one thread."""
    host, _, port = service.base.removeprefix("http://").partition(":")
    body = json.dumps({"agent_role": "finance", "metadata": {"key": key}}).encode()
    head = (
        f"POST {AT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nIdempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    posts = [Post(socket.create_connection((host, int(port)))) for _ in range(count)]
    with selectors.DefaultSelector() as waiting:
        for post in posts:
            post.began = time.monotonic()
            post.socket.sendall(head.encode() + body)
            waiting.register(post.socket, selectors.EVENT_READ, post)
        while waiting.get_map():
            for ready, _ in waiting.select(timeout=20):
                post = ready.data
                data = post.socket.recv(65536)
                post.raw += data
                if not data:
                    post.took = time.monotonic() - post.began
                    waiting.unregister(post.socket)
                    post.socket.close()
    return posts


def written_down(history: History, posts: list[Post], key: str, started: float) -> None:
    for post in posts:
        outcome = Outcome.OK if post.status == 201 else Outcome.REFUSED
        history.add(
            Call(
                key=key,
                op="POST",
                object=AT,
                started=started,
                ended=started + post.took,
                outcome=outcome,
                status=post.status,
                content_type="application/json",
                body=post.body,
                replayed=post.replayed,
            )
        )


def others(service: Service, stop: threading.Event) -> list[float]:
    """How long calls of other traffic take, one after the other."""
    took: list[float] = []
    client = Client(service.base, History(), token("bob"))
    while not stop.is_set():
        call = client.send("GET", "/sessions?cursor=")
        assert call.status == 200
        took.append(call.ended - call.started)
    return took


@dataclass(frozen=True)
class Round:
    """Many posts at once: how long the losers waited for their answers, and how long each post took inside."""

    count: int
    waited: list[float]
    inside: list[float]
    burnt: float

    def is_kept(self) -> bool:
        """Whether the losers were told at once, and cost next to nothing."""
        share = self.count / 64
        return (
            # Whoever comes once the winner is done gets the winner's answer.
            len(self.waited) == self.count - 1
            and p95(self.inside) <= LOSERS_SECONDS
            # Nobody waits for the winner, who takes a second: neither inside nor for a thread.
            and self.inside[-1] < SLOW_SECONDS * 0.4
            and self.waited[-1] < SLOW_SECONDS * 0.9 * share
            and self.burnt <= BURNT_SECONDS * share
        )


@pytest.mark.slow
@pytest.mark.parametrize("count", [64, 256])
def test_of_many_posts_with_one_key_one_works_and_the_others_do_not_wait(count: int) -> None:
    history = History()
    bearer = token("alice")
    with serving(workers=2, LOG_LEVEL="info") as service:
        client = Client(service.base, history, bearer)
        for n in range(8):
            client.open(f"warm-{n}")

        def measure(n: int) -> Round:
            key, seen, started = f"one-key-{n}", len(requests(service, AT)), time.time()
            posts = burst(service, bearer, count, key)
            lines = requests(service, AT, seen)
            written_down(history, posts, key, started)
            assert client.open(key, at=AT).replayed
            assert {post.status for post in posts} == {201, 409}
            assert sum(post.status == 201 and not post.replayed for post in posts) == 1
            lost = [line for line in lines if line["status"] == 409]
            waited = sorted(post.took for post in posts if post.status == 409)
            return Round(count, waited, inside(lost), sum(inside(lines)))

        best = best_of(measure, Round.is_kept)
    print(
        f"{count} posts: losers answered in {median(best.waited):.3f} s, at most {best.waited[-1]:.3f} s;"
        f" inside the service {median(best.inside):.4f} s, p95 {p95(best.inside):.3f} s, at most"
        f" {best.inside[-1]:.3f} s; {best.burnt:.2f} worker-seconds burnt"
    )
    assert best.is_kept()
    with superuser_connection() as beside:
        assert check(history, beside) == []


@pytest.mark.slow
def test_other_traffic_keeps_its_pace_meanwhile() -> None:
    bearer = token("alice")
    with serving(workers=2) as service:
        quiet, busy = Pace(service), Pace(service)
        with quiet:
            time.sleep(1)
        with busy:
            posts = burst(service, bearer, 64, "one-key")
    print(f"a read took {median(quiet.took):.4f} s before, {median(busy.took):.4f} s meanwhile")
    assert sum(post.status == 201 for post in posts) == 1
    assert len(busy.took) > 10
    assert median(busy.took) < median(quiet.took) * 4 + 0.02


class Pace:
    """How long calls of other traffic take while the block runs."""

    def __init__(self, service: Service) -> None:
        self._service, self.took = service, list[float]()
        self._stop = threading.Event()
        self._thread: Any = None

    def __enter__(self) -> "Pace":
        self._thread = threading.Thread(target=lambda: self.took.extend(others(self._service, self._stop)))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
