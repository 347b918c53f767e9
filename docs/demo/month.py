"""A month of work that five roles route to each other, done by three workers, of which one is killed in mid-work.

Its leases run out, the others do its work, and whatever it would still have said is refused: each task is done once.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from checks import Check, expected, refused
from crew import Worker, crew, kill_in_mid_work
from service import Caller, manage
from work import COUNT, Order, month
from worker import LEASE_SECONDS

WORKERS = ("worker-1", "worker-2", "worker-3")
DOOMED = WORKERS[-1]
STALL = 25
"""How many tasks the doomed one ends before it takes some and is killed."""
_PATIENCE_SECONDS = 45
_TWICE = 10
"""Every so many are routed twice, as if the answer had been lost."""


@dataclass(frozen=True)
class Month:
    """What came of it: what was checked, and what to print."""

    checks: list[Check]
    told: str = ""
    taken_over: dict[str, Any] | None = None
    """One of the tasks that the killed worker left."""


def run_month(agents: Mapping[str, Caller], workers: Mapping[str, Caller], operator: Caller) -> Month:
    """Route it, have it done, and look at every task of it."""
    run = f"month-{time.time_ns()}"
    checks, routed = _route_all(agents, list(month(run)), run)
    if len(routed) < COUNT:
        return Month(checks)
    with crew(dict(workers), {DOOMED: STALL}) as at_work:
        held = kill_in_mid_work(at_work[DOOMED], _PATIENCE_SECONDS)
        over_at = time.monotonic() + LEASE_SECONDS
        checks.append(_some(held))
        time.sleep(max(0.0, over_at - time.monotonic()) + 0.1)
        checks += _too_late(workers[DOOMED], held, "the killed worker completes after its lease")
        # `make run` sweeps by itself; elsewhere this is what cron does.
        manage("sweep")
        checks.append(_all_over(operator, run))
    checks += _too_late(workers[DOOMED], held, "the killed worker completes what another did")
    found = _read_all(operator, routed)
    checks += [check for task in found for check in _done_once(task, held)]
    checks.append(_acknowledged_once(at_work.values(), routed))
    told = f"{_story(at_work.values(), held)}\n\n{_table(found)}"
    return Month(checks, told, next((task for task in found if task["task_id"] in held), None))


def _route_all(agents: Mapping[str, Caller], orders: list[Order], run: str) -> tuple[list[Check], list[str]]:
    """Each role its own, side by side. What was checked, and the ids."""

    def route(role: str) -> list[tuple[str, list[Check]]]:
        own = [(number, order) for number, order in enumerate(orders) if order.from_role == role]
        return [_route(agents[role], order, run, twice=number % _TWICE == 0) for number, order in own]

    with ThreadPoolExecutor(len(agents)) as pool:
        routed = [one for part in pool.map(route, agents) for one in part]
    return [check for _, checks in routed for check in checks], [pk for pk, _ in routed if pk]


def _route(agent: Caller, order: Order, run: str, *, twice: bool) -> tuple[str, list[Check]]:
    headers = {"idempotency_key": order.key, "x_trace_id": run}
    answer = agent.post("/tasks/route", order.body, **headers)
    told = {"status": "pending", "from_role": order.from_role, "to_role": order.body["target"], "version": 1}
    checks = [expected("route → pending", answer, 202, **told)]
    if twice:
        again = agent.post("/tasks/route", order.body, **headers)
        checks.append(expected("route again with its key", again, 202, task_id=answer.body.get("task_id")))
    return str(answer.body.get("task_id") or ""), checks


def _some(held: Collection[str]) -> Check:
    return Check("a worker is killed", False, "" if held else "the worker to be killed held nothing")


def _too_late(dead: Caller, held: Mapping[str, str], path: str) -> Iterable[Check]:
    for pk, token in held.items():
        answer = dead.post(f"/tasks/{pk}/complete", {"lease_token": token, "output": {"by": "the dead"}})
        yield refused(path, answer, 409, "lease-lost")


def _all_over(operator: Caller, run: str) -> Check:
    """Wait until every task of the run is over."""
    query = urlencode({"trace_id": run, "status": "pending,active", "page_size": 1})
    until = time.monotonic() + _PATIENCE_SECONDS
    while left := operator.get(f"/tasks?{query}").body.get("total"):
        if time.monotonic() > until:
            return Check("all of it is over", False, f"{left} tasks are not over")
        time.sleep(0.3)
    return Check("all of it is over", False)


def _read_all(operator: Caller, routed: Iterable[str]) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda pk: operator.get(f"/tasks/{pk}?include=attempts").body, routed))


def _done_once(task: Mapping[str, Any], held: Collection[str]) -> Iterable[Check]:
    """One attempt completed it; before that come what the order foresees: the death of its holder, or trouble."""
    attempts = task.get("attempts", [])
    outcomes = Counter(attempt["outcome"] for attempt in attempts)
    reference = task.get("data", {}).get("reference")
    path = "done once"
    if task.get("status") != "completed" or outcomes["completed"] != 1:
        yield Check(path, False, f"{reference} is {task.get('status')}, its attempts {dict(outcomes)}")
        return
    last = attempts[0]
    right = last["holder"] == f"local|{task['output']['by']}" and task["output"]["settled"] == reference
    # Created, and for each attempt claimed and ended: heartbeats and refused calls leave no version.
    right = right and task["version"] == 1 + 2 * len(attempts) and task["attempt"] == len(attempts)
    yield Check(path, False, "" if right else f"{reference} is at version {task['version']}, by {task['output']['by']}")
    lost = int(task["task_id"] in held)
    if lost:
        yield Check(
            "taken over from the killed worker", False, "" if outcomes["lease-lost"] else f"{reference}: {outcomes}"
        )
    if "trouble" in task["data"]:
        # Whoever died in its first attempt met no trouble.
        told = outcomes["failed"] == 1 or lost
        yield Check("tried again after trouble", False, "" if told else f"{reference}: {dict(outcomes)}")
    elif outcomes["failed"] or outcomes["lease-lost"] != lost:
        yield Check("tried again for no reason", False, f"{reference}: {dict(outcomes)}")


def _acknowledged_once(workers: Iterable[Worker], routed: Collection[str]) -> Check:
    """Of all that the workers were told they completed, each is there once."""
    told = Counter(pk for worker in workers for pk in worker.tasks("completed"))
    wrong = sum(1 for pk in routed if told[pk] != 1)
    return Check("acknowledged once", False, f"{wrong} tasks were not acknowledged exactly once" if wrong else "")


def _story(workers: Iterable[Worker], held: Collection[str]) -> str:
    done = ", ".join(f"{worker.name} {len(worker.tasks('completed'))}" for worker in workers)
    return f"A month of tasks. {DOOMED} was killed while it held {len(held)} of them. Completed: {done}."


def _table(found: Iterable[Mapping[str, Any]]) -> str:
    """How it went for each role."""
    lines = [f"{'role':<14}{'routed by it':>14}{'routed to it':>14}{'done':>8}{'tried again':>14}{'taken over':>13}"]
    tasks = list(found)
    for role in sorted({task["to_role"] for task in tasks}):
        own = [task for task in tasks if task["to_role"] == role]
        by = sum(task["from_role"] == role for task in tasks)
        done = sum(task["status"] == "completed" for task in own)
        again = sum(task["attempt"] > 1 for task in own)
        over = sum(any(one["outcome"] == "lease-lost" for one in task["attempts"]) for task in own)
        lines.append(f"{role:<14}{by:>14}{len(own):>14}{done:>8}{again:>14}{over:>13}")
    return "\n".join(lines)
