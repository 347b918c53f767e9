"""One of those who do the month's work: `python docs/demo/worker.py BASE NAME [STALL]`, the token on stdin.

Claims, reports, does it and says so, a line of JSON for each; after STALL tasks it takes some more and touches none.
"""

import json
import sys
import time
from typing import Any

from service import Answer, Caller
from work import TYPES

LEASE_SECONDS = 10
AT_ONCE = 4
_EFFORT_SECONDS = 0.03
_FOR_EVER = 3600


def work(me: Caller, name: str, stall: int | None) -> None:
    """Until somebody ends this process."""
    done = 0
    asked = {"task_types": TYPES, "max": AT_ONCE, "lease_seconds": LEASE_SECONDS, "wait_seconds": 2}
    while True:
        answer = me.post("/tasks/claim", asked)
        tasks = answer.body.get("tasks", [])
        for task in tasks:
            tell("claimed", task, answer, token=task["lease"]["token"])
        if tasks and stall is not None and done >= stall:
            for task in tasks:
                # A lease that is never used would be a lost delivery, and no attempt.
                me.post(f"/tasks/{task['task_id']}/heartbeat", {"lease_token": task["lease"]["token"]})
            tell("stalled", tasks[-1], answer)
            time.sleep(_FOR_EVER)
        for task in tasks:
            do(me, name, task)
            done += 1
        if not tasks:
            # Where too many wait, it is answered at once.
            time.sleep(0.2)


def do(me: Caller, name: str, task: dict[str, Any]) -> None:
    """Report half-way, and complete it; or fail, if there is trouble the first time."""
    address, proof = f"/tasks/{task['task_id']}", {"lease_token": task["lease"]["token"]}
    half = {"percent": 50, "message": f"{task['data']['reference']} is looked at"}
    tell("kept", task, me.post(f"{address}/heartbeat", {**proof, "progress": half}))
    time.sleep(_EFFORT_SECONDS)
    trouble = task["data"].get("trouble")
    if trouble and task["attempt"] == 1:
        error = {"code": trouble, "message": f"{task['data']['reference']} could not be settled."}
        tell("failed", task, me.post(f"{address}/fail", {**proof, "error": error, "retryable": True}))
    else:
        output = {"settled": task["data"]["reference"], "by": name}
        tell("completed", task, me.post(f"{address}/complete", {**proof, "output": output}))


def tell(what: str, task: dict[str, Any], answer: Answer, **more: str) -> None:
    """One line for whoever started this."""
    about = {"task_id": task["task_id"], "epoch": task["lease"]["epoch"]}
    print(json.dumps({"what": what, **about, "status": answer.status, "slug": answer.slug, **more}), flush=True)


if __name__ == "__main__":
    base, name, *rest = sys.argv[1:]
    work(Caller(base, sys.stdin.readline().strip()), name, int(rest[0]) if rest else None)
