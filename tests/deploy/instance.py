"""Instances of the service that are stopped and started again, and callers that never pause."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import IO

from tests.gunicorn_server import HERE, _wait_until_it_answers, environment, free_port

_PATIENCE_SECONDS = 60


class Instance:
    """A gunicorn on a port that it keeps."""

    def __init__(self, log: IO[str], **env: str) -> None:
        self.port = free_port()
        self._log, self._env = log, env
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "docker/gunicorn.conf.py"],
            cwd=HERE,
            env={**environment(), "PORT": str(self.port), **self._env},
            stdout=self._log,
            stderr=self._log,
        )
        _wait_until_it_answers(self.process, self.port, self._log)

    def stop(self) -> None:
        """As `docker stop` does it, and without a limit to how long it may take but the test's."""
        self.process.terminate()
        try:
            self.process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class Callers:
    """What came of each call: how often each status, or kind of error."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()


@contextmanager
def calling(host: str, bearer: str, callers: int = 8) -> Iterator[Callers]:
    """Open sessions without a key, as fast as they are answered, for as long as the block runs."""
    told, ended = Callers(), threading.Event()

    def call() -> None:
        while not ended.is_set():
            told.seen[opened(host, bearer)] += 1

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def opened(host: str, bearer: str) -> str:
    """Open a session: the status of the answer, or what came instead."""
    connection = HTTPConnection(host, timeout=_PATIENCE_SECONDS)
    try:
        connection.request(
            "POST",
            "/sessions",
            json.dumps({"agent_role": "finance"}),
            {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    except (OSError, HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def wait_until(so: Callable[[], bool]) -> None:
    """Raises TimeoutError where it does not come to be so."""
    for _ in range(_PATIENCE_SECONDS * 20):
        if so():
            return
        threading.Event().wait(0.05)
    raise TimeoutError
