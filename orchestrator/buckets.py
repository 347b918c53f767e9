"""Token buckets: in Redis for all workers together, or in this process while Redis is away."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.redis import Redis

_MOST_BUCKETS = 20_000

# One call, one answer: the bucket is refilled for the time that passed, by Redis's own clock, and a token is taken.
# That clock can be set back, which takes none.
_TAKE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local capacity, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local passed = math.max(0, now - (tonumber(bucket[2]) or now))
local tokens = math.min(capacity, (tonumber(bucket[1]) or capacity) + passed * rate)
local taken = 0
if tokens >= 1 then tokens = tokens - tonumber(ARGV[3]); taken = 1 end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', tostring(now))
redis.call('EXPIRE', KEYS[1], math.ceil(capacity / rate) + 1)
return {taken, tostring(tokens)}
"""


@dataclass(frozen=True)
class Rate:
    """So many calls in so many seconds: the bucket's capacity, and how long it takes to fill."""

    calls: int
    seconds: int

    @property
    def per_second(self) -> float:
        """Tokens that come back each second."""
        return self.calls / self.seconds


@dataclass(frozen=True)
class Taken:
    """Whether there was a token, how many whole ones are left, and in how many seconds there is one again."""

    allowed: bool
    left: int
    retry_after: int


class Buckets:
    """The buckets of one rate, by key."""

    def __init__(self, rate: Rate, redis: Redis | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._redis, self._clock = rate, redis, clock
        self._own: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str, cost: int = 1) -> Taken:
        """Take tokens from a bucket that has one: several can leave it in debt, and 0 only looks."""
        values = [self.rate.calls, self.rate.per_second, cost]
        shared = self._redis.run(_TAKE, [key], values) if self._redis else None
        if shared is None:
            return self._told(*self._take_own(key, cost))
        taken, tokens = shared
        return self._told(bool(taken), float(tokens))

    def _take_own(self, key: str, cost: int) -> tuple[bool, float]:
        now = self._clock()
        with self._lock:
            tokens, at = self._own.pop(key, (float(self.rate.calls), now))
            tokens = min(self.rate.calls, tokens + (now - at) * self.rate.per_second)
            allowed = tokens >= 1
            tokens -= cost if allowed else 0
            self._own[key] = (tokens, now)
            if len(self._own) > _MOST_BUCKETS:
                self._own.popitem(last=False)
            return allowed, tokens

    def _told(self, allowed: bool, tokens: float) -> Taken:
        wait = 0 if tokens >= 1 else math.ceil((1 - tokens) / self.rate.per_second)
        return Taken(allowed, max(0, math.floor(tokens)), wait)
