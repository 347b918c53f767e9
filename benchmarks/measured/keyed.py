"""What an Idempotency-Key costs: the same call with and without one, without Redis and with it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from benchmarks.measured.calls import Caller
from benchmarks.measured.databases import LARGE, use
from benchmarks.measured.rounds import Cost, Figure, Variant, at_most, in_turn
from orchestrator.idempotency import middleware
from orchestrator.idempotency.replay_cache import ReplayCache, replay_cache
from tests.faults.valkey import Valkey, valkey, with_redis

CALLS = 60
NEW = {"agent_role": "finance", "metadata": {"quarter": "Q4"}}
MOST = 1.45
STATEMENTS = 2
ROUND_TRIPS = 1


class Opening:
    """Opens a session. The cache, which is there, is used or passed over."""

    def __init__(self) -> None:
        self._agent, self._keys = Caller(), count()
        cache = replay_cache()
        assert cache is not None
        self._cache: ReplayCache = cache

    def plain(self) -> Any:
        """Without a key."""
        return self._agent.call("POST", "/sessions", NEW, status=201)

    def keyed(self) -> Any:
        """With a new one."""
        return self._agent.call("POST", "/sessions", NEW, status=201, key=f"key-{next(self._keys)}")

    def replayed(self) -> Any:
        """With one that has its answer, from the second call on."""
        return self._agent.call("POST", "/sessions", NEW, status=201, key="again")

    def without_redis(self) -> None:
        """From here on; and nothing waits to be cached, which the next call would pay for."""
        self._use(lambda: None)

    def with_redis(self) -> None:
        """The other way round."""
        self._use(lambda: self._cache)

    @contextmanager
    def nothing_cached(self) -> Iterator[None]:
        """What is to be cached waits until the block ends."""
        ended = threading.Event()
        self._cache._waiting.put(ended.wait)
        yield
        ended.set()
        self._cache._waiting.join()

    def _use(self, found: Callable[[], ReplayCache | None]) -> None:
        self._cache._waiting.join()
        middleware.replay_cache = found  # type: ignore[assignment, attr-defined]


def measure() -> list[Figure]:
    """Everything about keys."""
    use(LARGE)
    with valkey() as server, with_redis(server.url):
        opening = Opening()
        opening.replayed()
        try:
            return _figures(opening, server)
        finally:
            middleware.replay_cache = replay_cache  # type: ignore[attr-defined]


def _figures(opening: Opening, server: Valkey) -> list[Figure]:
    costs = in_turn(
        {
            "opening one without a key": Variant(opening.plain, before=opening.without_redis),
            "… with a key": Variant(opening.keyed, before=opening.without_redis),
            "… with a key, and Redis": Variant(opening.keyed, before=opening.with_redis),
            "… replayed": Variant(opening.replayed, before=opening.without_redis),
            "… replayed by Redis": Variant(opening.replayed, before=opening.with_redis),
        },
        CALLS,
    )
    return [
        *(Figure(what, f"{cost.wall * 1000:.2f} ms, {cost.cpu * 1e6:,.0f} µs of CPU") for what, cost in costs.items()),
        *_promised(list(costs.values())),
        _statements(opening),
        _round_trips(opening, server),
    ]


def _promised(costs: list[Cost]) -> list[Figure]:
    plain, keyed, cached, *_ = (cost.wall for cost in costs)
    return [
        at_most("a key against none", keyed / plain, MOST),
        at_most("a key against none, with Redis", cached / plain, MOST),
    ]


def _statements(opening: Opening) -> Figure:
    more = _sent(opening.keyed) - _sent(opening.plain)
    return Figure("statements that a key adds", str(more), f"= {STATEMENTS}", is_kept=more == STATEMENTS)


def _sent(call: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as captured:
        call()
    return len(captured.captured_queries)


def _round_trips(opening: Opening, server: Valkey) -> Figure:
    """A first answer's and a replay's. What keeps an answer is one more, off the path: it has to wait here."""
    opening.with_redis()
    server.calls()
    with opening.nothing_cached():
        opening.keyed()
        opening.replayed()
        made = sum(server.calls().values()) / 2
    what = "round trips to Redis on the path of a key"
    return Figure(what, f"{made:g}", f"= {ROUND_TRIPS}", is_kept=made == ROUND_TRIPS)
