"""Three processes that work, what they tell, and the end of one of them."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service import Caller

_WORKER = Path(__file__).with_name("worker.py")


@dataclass
class Worker:
    """A process, whom it acts as, and the lines that it told so far."""

    name: str
    caller: Caller
    process: "subprocess.Popen[str]"
    told: list[dict[str, Any]] = field(default_factory=list)

    def listen(self) -> None:
        """Until it ends."""
        for line in self.process.stdout or ():
            # The last line of one that is killed may be a half.
            if line.endswith("\n"):
                self.told.append(json.loads(line))

    def tasks(self, what: str) -> list[str]:
        """The tasks of which it told this, and was answered 200."""
        return [line["task_id"] for line in self.told if line["what"] == what and line["status"] == 200]

    def held(self) -> dict[str, str]:
        """The tasks that it claimed and did not end, with the tokens of their leases."""
        over = {_ownership(line) for line in self.told if line["what"] in ("completed", "failed")}
        claims = [line for line in self.told if line["what"] == "claimed" and _ownership(line) not in over]
        return {line["task_id"]: line["token"] for line in claims}

    def has_stalled(self) -> bool:
        """Whether it holds tasks that it will not touch."""
        return any(line["what"] == "stalled" for line in self.told)


def _ownership(line: dict[str, Any]) -> tuple[str, int]:
    return line["task_id"], line["epoch"]


@contextmanager
def crew(callers: dict[str, Caller], stalls: dict[str, int]) -> Iterator[dict[str, Worker]]:
    """Workers by name, for as long as the block runs; those named in `stalls` stall after so many tasks."""
    workers = {name: _start(name, caller, stalls.get(name)) for name, caller in callers.items()}
    listeners = [threading.Thread(target=worker.listen, daemon=True) for worker in workers.values()]
    try:
        for listener in listeners:
            listener.start()
        yield workers
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.wait()
        for listener in listeners:
            listener.join()


def _start(name: str, caller: Caller, stall: int | None) -> Worker:
    command = [sys.executable, str(_WORKER), caller.base, name, *([] if stall is None else [str(stall)])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdin is not None
    process.stdin.write(f"{caller.token}\n")
    process.stdin.close()
    return Worker(name, caller, process)


def kill_in_mid_work(worker: Worker, patience: float) -> dict[str, str]:
    """Kill -9, once it holds what it will not touch. What it held, with the tokens; nothing if it never came so far."""
    until = time.monotonic() + patience
    while time.monotonic() < until and worker.process.poll() is None and not worker.has_stalled():
        time.sleep(0.02)
    worker.process.kill()
    worker.process.wait()
    return worker.held() if worker.has_stalled() else {}
