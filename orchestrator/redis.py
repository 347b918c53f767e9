"""Redis, which may be away: every call is short, and an error costs latency once and never an answer."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from django.conf import settings
from django_redis import get_redis_connection
from redis.exceptions import NoScriptError, RedisError

from orchestrator.metrics import REDIS_BREAKER_OPENINGS

OPEN_SECONDS = 1.0
"""For how long Redis is not asked again after it failed."""

log = logging.getLogger(__name__)


class Redis:
    """The raw client behind a breaker: None stands for "not known", whatever the reason."""

    def __init__(self, connect: Callable[[], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._connect, self._clock = connect, clock
        self._open_until = 0.0
        self._is_trying = False
        self._lock = threading.Lock()

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """The answer of a Lua script, in one round trip once Redis knows it."""
        digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()

        def call(client: Any) -> Any:
            try:
                return client.evalsha(digest, len(keys), *keys, *arguments)
            except NoScriptError:
                return client.eval(script, len(keys), *keys, *arguments)

        return self.ask(call)

    def ask(self, call: Callable[[Any], Any]) -> Any:
        """What the call answers, or None where Redis fails, or failed less than a second ago."""
        if self._open_until == 0.0:
            return self._asked(call)
        if not self._may_try():
            return None
        try:
            return self._asked(call)
        finally:
            self._is_trying = False

    def _asked(self, call: Callable[[Any], Any]) -> Any:
        try:
            answer = call(self._connect())
        except (RedisError, OSError) as error:
            self._open_until = self._clock() + OPEN_SECONDS
            REDIS_BREAKER_OPENINGS.inc()
            log.warning("redis failed", extra={"why": type(error).__name__})
            return None
        self._open_until = 0.0
        return answer

    def answers(self) -> bool:
        """Whether Redis answers a PING now, breaker or not."""
        try:
            return bool(self._connect().ping())
        except (RedisError, OSError):
            return False

    def _may_try(self) -> bool:
        """Open long enough: then one caller tries, and the others go on without for as long as that takes.

        A try may take longer than the sockets' patience, since looking up a name has none: were another let in each
        second, they would come to hold every thread.
        """
        with self._lock:
            if self._is_trying or self._clock() < self._open_until:
                return False
            self._is_trying = True
            return True


@cache
def redis() -> Redis | None:
    """The Redis of the settings, or None where there is none."""
    return Redis(lambda: get_redis_connection("redis")) if settings.REDIS_URL else None
