"""A worker in a process of its own: `python -m tests.concurrency.worker drain 8 | hold`, as the service's role.

It says what it does in lines of JSON.
"""

import json
import os
import sys
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import django
from django.test.utils import setup_test_environment


def main(what: str, count: str = "1") -> None:
    """Be a crowd that claims until there is nothing left; or claim one task, hold it, and complete it much later."""
    django.setup()
    # The address that Django's test client calls is one of ours.
    setup_test_environment()
    if what == "hold":
        hold()
        return
    # Forked before any has a connection: each has its own.
    children = [_forked(f"worker-{n}") for n in range(int(count))]
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))


def _forked(name: str) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        say([str(grant.task.pk) for grant in drained(name, ["finance"], 10)])
        code = 0
    finally:
        os._exit(code)


def drained(name: str, roles: Collection[str], most: int) -> list[Any]:
    """Everything that somebody gets by claiming `most` at a time until a claim comes back empty, twice."""
    from orchestrator import boundary
    from sessions_app import queue
    from sessions_app.transitions import lease
    from tests.sessions_app.session_calls import somebody

    actor, grants, empty = somebody(name, agent_roles=tuple(roles)), list[Any](), 0
    rows = queue.claimable(actor, roles, None, most)
    while empty < 2:
        got = boundary.write(lambda: lease.claim(rows.all(), actor=actor, lasting=timedelta(minutes=1)))
        grants += got
        empty = 0 if got else empty + 1
    return grants


def hold() -> None:
    """Claim one as finn, tell of it, and complete it once a line comes in."""
    from tests.concurrency.racing import finn

    api = finn()
    (task,) = api.post("/tasks/claim", {"lease_seconds": 10}).json()["tasks"]
    say({"task_id": task["task_id"], "token": task["lease"]["token"]})
    sys.stdin.readline()
    late = api.post(f"/tasks/{task['task_id']}/complete", {"lease_token": task["lease"]["token"]})
    say({"status": late.status_code, **late.json()})


def say(said: Any) -> None:
    """One line, in one write: others write beside."""
    os.write(1, json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
