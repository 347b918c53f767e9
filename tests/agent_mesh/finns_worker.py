"""Finn's worker as a process: `python -m tests.agent_mesh.finns_worker BASE SECONDS GRACE`, the token on stdin."""

import logging
import sys

from agent_mesh.client import Client
from agent_mesh.work import Work
from agent_mesh.worker import Worker

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
base, seconds, grace = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
worker = Worker(Client(base, sys.stdin.readline()), lease_seconds=10, wait_seconds=2, grace_seconds=grace)


@worker.handles("invoices")
def check(work: Work) -> dict[str, int]:
    """Takes its time."""
    print("begun", work.task["task_id"], work.task["attempt"], flush=True)
    work.wait(seconds)
    return {"attempt": work.task["attempt"]}


worker.run()
print("ended", flush=True)
