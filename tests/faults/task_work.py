"""Workers that do tasks over the network, whatever becomes of the service meanwhile.

They route under keys; they claim, report and complete without. Whoever does not know what became of a completion sends
the very same again. Whoever does not know what became of a claim cannot: what it took is nobody's, until an operator
takes it back.
"""

import json
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from tests.faults.checker import CLAIM
from tests.faults.harness import Client, until_final
from tests.faults.history import Call, History, Outcome

LEASE_SECONDS = 600
"""No lease runs out meanwhile: what is refused as lost would be lost by a fault."""
PATIENCE_SECONDS = 60

Granted = dict[str, Any]
"""A task as a claim answers it."""


def work_on_tasks(client: Client, keys: Iterable[str]) -> None:
    """Route a task under each key, and do what there is."""
    for key in keys:
        route(client, key)
        for task in claim(client):
            do(client, task)


def route(client: Client, key: str) -> Call:
    """Until it is routed."""
    body = {"target": "finance", "task": {"task_type": "routing", "data": {"key": key}}}
    return until_final(partial(client.send, "POST", "/tasks/route", body, key=key))


def claim(client: Client) -> list[Granted]:
    """Ask once for two."""
    call = client.send("POST", CLAIM, {"max": 2, "lease_seconds": LEASE_SECONDS})
    return list(json.loads(call.body)["tasks"]) if call.outcome is Outcome.OK else []


def do(client: Client, task: Granted) -> Call:
    """Report that it is half done, and that it is done, and the latter once more."""
    pk, lease = task["task_id"], task["lease"]
    mark = f"done-{pk}-{lease['epoch']}"
    progress = {"lease_token": lease["token"], "progress": {"percent": 50}}
    until_final(partial(client.send, "POST", f"/tasks/{pk}/heartbeat", progress))
    output = {"lease_token": lease["token"], "output": {"key": mark}}
    complete = partial(client.send, "POST", f"/tasks/{pk}/complete", output, mark=mark)
    until_final(complete)
    return complete()


def finish(client: Client, operator: Client, history: History) -> None:
    """Once the service is well: do all that was routed. Raises TimeoutError if that does not come to an end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for pk in undone(history):
        key = f"release-{pk}"
        until_final(partial(operator.send, "POST", f"/tasks/{pk}/force-release", {"reason": key}, key=key))
    while left := undone(history):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(left)} tasks are not done: {left}")
        for task in claim(client):
            do(client, task)


def undone(history: History) -> list[str]:
    """Those that were routed, and nobody was told that they are done."""
    routed = [
        json.loads(call.body)["task_id"] for call in history.calls if call.object == "/tasks/route" and done(call)
    ]
    completed = {call.object.split("/")[2] for call in completions(history) if done(call)}
    return [pk for pk in dict.fromkeys(routed) if pk not in completed]


def completions(history: History) -> list[Call]:
    """The calls that were to complete a task."""
    return [call for call in history.calls if call.object.endswith("/complete")]


def done(call: Call) -> bool:
    """Whether its caller knows that it is done."""
    return call.outcome is Outcome.OK


def told(history: History) -> str:
    """How it went, for whoever watches."""
    completed, claimed = completions(history), [call for call in history.calls if call.object == CLAIM]
    return (
        f"{len(undone(history))} tasks undone; {len(claimed)} claims, {sum(not done(call) for call in claimed)} not"
        f" answered; {len(completed)} completions, {sum(not done(call) for call in completed)} not answered"
    )
