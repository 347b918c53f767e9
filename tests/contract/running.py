"""`make run` as its user has it: a process in the foreground, a folder, a port."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parents[2]
_UNSET = ("DATABASE_URL", "DATABASE_OWNER_URL", "WORKER_DATABASE_URL", "SECRET_KEY", "DJANGO_SETTINGS_MODULE")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A started `make run`, without the make: its folder, its port, what it printed."""

    def __init__(self, var: Path, port: int, **env: str) -> None:
        self.var, self.port = var, port
        self.output = var.with_name(f"{var.name}-{port}.log")
        kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.run"],
                cwd=HERE,
                env={**kept, "ORCHESTRATOR_VAR": str(var), "PORT": str(port), **env},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def printed(self) -> str:
        """All that it printed so far."""
        return self.output.read_text()

    @property
    def token(self) -> str:
        """The token that it printed."""
        return str(re.findall(r"^export TOKEN=(\S+)$", self.printed, re.MULTILINE)[0])

    def wait_until_it_answers(self, seconds: float = 60) -> None:
        """Raises AssertionError with what it printed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/status", timeout=2) as answer:
                    assert answer.status == 200
                if "export TOKEN=" in self.printed:
                    return
            except (OSError, urllib.error.URLError):
                pass
            time.sleep(0.02)
        raise AssertionError(f"It does not answer:\n{self.printed}")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        self.process.send_signal(how)
        self.process.wait(15)

    def left_over(self) -> list[str]:
        """The command lines of processes that work on its folder or were to sweep beside it."""
        return [line for line in _command_lines() if str(self.var) in line or line.endswith(self._sweeping)]

    def sweeper(self) -> psutil.Process | None:
        """The process that sweeps beside it, if there is one."""
        found = (one for one in psutil.process_iter() if _command_line(one).endswith(self._sweeping))
        return next(found, None)

    @property
    def _sweeping(self) -> str:
        return f"orchestrator.sweeper {self.process.pid}"


def _command_lines() -> Iterator[str]:
    return map(_command_line, psutil.process_iter())


def _command_line(process: psutil.Process) -> str:
    """Empty where it is over."""
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


@contextmanager
def running(var: Path, port: int | None = None, **env: str) -> Iterator[Running]:
    """Start it, wait until it answers, end it."""
    service = Running(var, port or free_port(), **env)
    try:
        service.wait_until_it_answers()
        yield service
    finally:
        if service.process.poll() is None:
            service.end()


def call(service: Running, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """The status and the body of an answer to alice."""
    request = urllib.request.Request(
        service.url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {service.token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
