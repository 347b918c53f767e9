"""Redis behind its breaker: whatever it does costs little time, once, and never an error."""

import hashlib
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from redis.exceptions import RedisError

from orchestrator import redis as module
from orchestrator.redis import OPEN_SECONDS, Redis
from tests.admin import Browser, person
from tests.api import Api
from tests.faults.proxy import Proxy, proxying
from tests.faults.valkey import Valkey, valkey, with_redis
from tests.orchestrator.served import served

database = pytest.mark.django_db(transaction=True)

ONCE_SECONDS = 0.25
"""The timeouts come to 50 ms; the rest is what a busy machine may add."""
SECRET = "what it is asked for and never told"

Ask = Callable[[], Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


@pytest.fixture
def redis(server: Valkey) -> Iterator[Redis]:
    """The service's own, by its settings."""
    server.flush()
    server.client.set("a", "b")
    with with_redis(server.url):
        shared = module.redis()
        assert shared is not None
        assert get(shared) == b"b"
        yield shared


def get(redis: Redis) -> Any:
    return redis.ask(lambda client: client.get("a"))


def timed(ask: Ask) -> tuple[Any, float]:
    began = time.monotonic()
    return ask(), time.monotonic() - began


def close(redis: Redis) -> None:
    """As if the breaker's second were over."""
    redis._open_until = min(redis._open_until, time.monotonic())


# The breaker, by a clock of its own.


class Flaky:
    """A client that fails for as long as it is told to."""

    def __init__(self) -> None:
        self.down, self.asked = False, 0

    def get(self, name: str) -> bytes:
        self.asked += 1
        if self.down:
            raise RedisError("down")
        return b"b"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def flaky() -> Flaky:
    return Flaky()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guarded(flaky: Flaky, clock: Clock) -> Redis:
    return Redis(lambda: flaky, clock)


def test_hands_on_what_redis_says(guarded: Redis, flaky: Flaky) -> None:
    assert [get(guarded), get(guarded)] == [b"b", b"b"]
    assert flaky.asked == 2


def test_after_a_failure_it_is_left_alone_for_a_second(guarded: Redis, flaky: Flaky, clock: Clock) -> None:
    flaky.down = True
    assert [get(guarded) for _ in range(5)] == [None] * 5
    assert flaky.asked == 1
    clock.now += OPEN_SECONDS - 0.001
    assert get(guarded) is None
    assert flaky.asked == 1


def test_after_the_second_one_asks_and_the_others_go_on_without(guarded: Redis, flaky: Flaky, clock: Clock) -> None:
    flaky.down = True
    get(guarded)
    clock.now += OPEN_SECONDS
    assert [get(guarded) for _ in range(5)] == [None] * 5
    assert flaky.asked == 2


def test_once_it_answers_again_all_ask(guarded: Redis, flaky: Flaky, clock: Clock) -> None:
    flaky.down = True
    get(guarded)
    flaky.down = False
    assert get(guarded) is None
    clock.now += OPEN_SECONDS
    assert [get(guarded) for _ in range(3)] == [b"b"] * 3


def test_as_long_as_one_tries_the_others_go_on_without_however_long_it_takes(
    guarded: Redis, flaky: Flaky, clock: Clock
) -> None:
    flaky.down = True
    get(guarded)
    clock.now += OPEN_SECONDS

    def try_for_long(client: Any) -> Any:
        # As looking up a name does, which no timeout of a socket bounds.
        for _ in range(3):
            clock.now += 2 * OPEN_SECONDS
            assert get(guarded) is None
        return client.get("a")

    guarded.ask(try_for_long)
    assert flaky.asked == 2
    clock.now += OPEN_SECONDS
    get(guarded)
    assert flaky.asked == 3


def test_of_many_at_once_one_tries_it_again(guarded: Redis, flaky: Flaky, clock: Clock) -> None:
    flaky.down = True
    get(guarded)
    clock.now += OPEN_SECONDS
    ready = threading.Barrier(8)

    def ask() -> None:
        ready.wait(5)
        get(guarded)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert flaky.asked == 2


def test_a_client_that_cannot_be_had_is_a_failure_too(clock: Clock) -> None:
    def refuse() -> Any:
        raise ConnectionRefusedError

    redis = Redis(refuse, clock)
    assert get(redis) is None
    assert not redis.answers()


def test_an_error_of_ours_is_not_taken_for_one_of_redis(guarded: Redis) -> None:
    with pytest.raises(ZeroDivisionError):
        guarded.ask(lambda _: 1 / 0)


# The real one.


def test_a_script_runs_in_one_round_trip_once_it_is_known(redis: Redis, server: Valkey) -> None:
    script = "return {KEYS[1], ARGV[1]}"
    assert redis.run(script, ["k"], [7]) == [b"k", b"7"]
    server.calls()
    assert redis.run(script, ["k"], [8]) == [b"k", b"8"]
    assert server.calls() == {"evalsha": 1}
    server.client.script_flush()
    assert redis.run(script, ["k"], [9]) == [b"k", b"9"]


def test_killed_it_costs_nothing_and_is_found_again(redis: Redis, server: Valkey) -> None:
    server.kill()
    try:
        for _ in range(3):
            answer, seconds = timed(lambda: get(redis))
            assert answer is None
            assert seconds < ONCE_SECONDS
    finally:
        server.start()
    close(redis)
    assert redis.answers()
    assert redis.ask(lambda client: client.ping()) is True


def test_frozen_it_costs_its_timeout_once(redis: Redis, server: Valkey) -> None:
    server.freeze()
    try:
        answer, first = timed(lambda: get(redis))
        assert answer is None
        assert 0.04 < first < ONCE_SECONDS
        _, next_hundred = timed(lambda: [get(redis) for _ in range(100)])
        assert next_hundred < 0.5
        close(redis)
        answer, again = timed(lambda: get(redis))
        assert answer is None
        assert 0.04 < again < ONCE_SECONDS
    finally:
        server.thaw()
    close(redis)
    assert get(redis) == b"b"


def test_frozen_before_the_first_connection_it_costs_its_timeout_once(server: Valkey) -> None:
    server.freeze()
    try:
        with with_redis(server.url.replace("/0", "/1")):
            shared = module.redis()
            assert shared is not None
            answer, seconds = timed(lambda: get(shared))
            assert answer is None
            assert seconds < ONCE_SECONDS
    finally:
        server.thaw()


def test_nobody_listens(redis: Redis) -> None:
    with with_redis("redis://127.0.0.1:1/0"):
        shared = module.redis()
        assert shared is not None
        answer, seconds = timed(lambda: get(shared))
        assert answer is None
        assert seconds < ONCE_SECONDS


def test_with_a_wrong_password_it_is_as_if_it_were_away(redis: Redis, server: Valkey) -> None:
    server.client.config_set("requirepass", SECRET)
    try:
        for url in (server.url.replace("//", "//:wrong@").replace("/0", "/2"), server.url.replace("/0", "/3")):
            with with_redis(url):
                shared = module.redis()
                assert shared is not None
                answer, seconds = timed(lambda shared=shared: get(shared))  # type: ignore[misc]
                assert answer is None
                assert seconds < ONCE_SECONDS
                assert not shared.answers()
        with with_redis(server.url.replace("//", f"//:{SECRET.replace(' ', '%20')}@")):
            shared = module.redis()
            assert shared is not None
            assert get(shared) == b"b"
    finally:
        server.client.config_set("requirepass", "")


def test_full_it_may_fail_to_keep_and_nothing_more(redis: Redis, server: Valkey) -> None:
    server.client.config_set("maxmemory", "1mb")
    try:
        assert redis.ask(lambda client: client.set("more", "x" * 5000)) is None
    finally:
        server.client.config_set("maxmemory", "0")
    close(redis)
    assert redis.ask(lambda client: client.set("more", "x" * 5000)) is True


@pytest.fixture
def between(server: Valkey) -> Iterator[Proxy]:
    """What stands between the service and Redis."""
    with proxying(("127.0.0.1", server.port)) as proxy:
        yield proxy


def through(between: Proxy) -> Any:
    return with_redis(f"redis://127.0.0.1:{between.port}/0")


def test_slow_beyond_its_timeout_it_is_away(server: Valkey, between: Proxy) -> None:
    server.client.set("a", "b")
    with through(between):
        shared = module.redis()
        assert shared is not None
        assert get(shared) == b"b"
        between.delay = 0.2
        answer, seconds = timed(lambda: get(shared))
        assert answer is None
        assert seconds < ONCE_SECONDS
        between.delay = 0
        close(shared)
        assert get(shared) == b"b"


@pytest.mark.parametrize("fault", ["reset", "black_hole", "half_close"])
def test_a_connection_that_goes_bad_costs_little_and_is_made_anew(server: Valkey, between: Proxy, fault: str) -> None:
    server.client.set("a", "b")
    with through(between):
        shared = module.redis()
        assert shared is not None
        assert get(shared) == b"b"
        getattr(between, fault)()
        answer, seconds = timed(lambda: get(shared))
        assert answer in (None, b"b")
        assert seconds < ONCE_SECONDS
        close(shared)
        between.heal()
        assert get(shared) == b"b"


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(server: Valkey, between: Proxy) -> None:
    server.client.mset({"a": "b", "c": "d"})
    with through(between):
        shared = module.redis()
        assert shared is not None
        assert get(shared) == b"b"
        between.delay = 0.1
        assert get(shared) is None
        between.delay = 0
        close(shared)
        assert shared.ask(lambda client: client.get("c")) == b"d"


# Nobody reaches it but through here: Django's own cache would unpickle what it finds, and raise where it is away.


class Planted:
    """A pickle that leaves a mark when it is read."""

    read = False

    def __reduce__(self) -> Any:
        return (_mark, ())


def _mark() -> list[str]:
    Planted.read = True
    return []


@database
def test_nothing_that_redis_holds_is_run(redis: Redis, server: Valkey) -> None:
    who = person()
    searched = hashlib.sha256(f"{who.pk}_abc".encode()).hexdigest()
    server.client.set(f":1:unfold_search_{searched}", pickle.dumps(Planted()))
    assert Browser(who).get("/admin/search/?s=abc").status_code == 200
    assert not Planted.read


@database
def test_the_admin_searches_without_redis(redis: Redis, server: Valkey) -> None:
    browser = Browser(person())
    assert browser.get("/admin/search/?s=abc").status_code == 200
    server.kill()
    try:
        assert browser.get("/admin/search/?s=abcd").status_code == 200
    finally:
        server.start()


# /health.


def health() -> tuple[int, dict[str, Any]]:
    status, _, body = served("GET", "/health")
    return status, json.loads(body)


@database
def test_health_says_whether_redis_is_there(redis: Redis, server: Valkey, jobs_done: None) -> None:
    assert health()[1] | {"version": "", "jobs": {}} == {
        "status": "healthy",
        "version": "",
        "database": "connected",
        "redis": "connected",
        "audit": {"status": "healthy", "seal_lag_seconds": 0.0, "problems": []},
        "jobs": {},
    }
    server.freeze()
    try:
        (status, told), seconds = timed(health)
    finally:
        server.thaw()
    assert (status, told["status"], told["database"], told["redis"]) == (200, "degraded", "connected", "error")
    assert seconds < ONCE_SECONDS
    assert health()[1]["status"] == "healthy"


@database
def test_health_without_redis_is_whole(agent: Api, jobs_done: None) -> None:
    assert health()[1]["redis"] == "disabled"
    assert health()[1]["status"] == "healthy"


@database
def test_health_sees_redis_back_though_the_breaker_is_open(redis: Redis) -> None:
    redis._open_until = time.monotonic() + 60
    assert health()[1]["redis"] == "connected"


@database
def test_without_database_and_redis_it_is_unhealthy(redis: Redis, server: Valkey) -> None:
    host = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nowhere"
    try:
        status, told = health()
        assert (status, told["status"], told["redis"]) == (503, "unhealthy", "connected")
    finally:
        connection.close()
        connection.settings_dict["HOST"] = host
