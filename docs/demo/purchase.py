"""A purchase that two of three managers must agree to, by an agent that waits for them; and one that comes too late."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from checks import Check, expected, refused
from service import Answer, Caller, manage

MANAGERS = ("manager-mona", "manager-max", "manager-mira")
NEEDED = 2
SHORTEST_SECONDS = 60
ACTION = {"pay": "Hansen Bürobedarf", "amount_cents": 4_800_000, "currency": "EUR"}
_TYPE = f"purchase-{time.time_ns()}"
"""This run's own, so that it claims nothing that another left."""
_PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Late:
    """A question that nobody answers in time: its approval, its task, and when its time will have passed."""

    approval: str
    task: str
    over_at: float


@dataclass(frozen=True)
class Purchase:
    """What came of it: what was checked, the task and the approval as they are in the end, and what to print."""

    checks: list[Check]
    task: dict[str, Any]
    approval: dict[str, Any]
    told: str


def ask_for_the_late_one(buyer: Caller) -> Late | None:
    """Ask for the shortest time there is, early, so that it will be over; None where that is refused."""
    asked = {"approver_role": "manager", "expires_in_seconds": SHORTEST_SECONDS, "reason": "Nobody is in today."}
    made = buyer.post("/tasks", {**_task("Rent a hall for Friday."), "requires_approval": asked})
    listed = buyer.get(f"/approvals?task_id={made.body.get('task_id')}").body.get("approvals")
    if made.status != 201 or not listed:
        return None
    over_at = time.monotonic() + SHORTEST_SECONDS + 1
    return Late(str(listed[0]["approval_id"]), str(made.body["task_id"]), over_at)


def buy(buyer: Caller, managers: Mapping[str, Caller], others: Mapping[str, Caller]) -> Purchase:
    """The purchase from the first word to the last. `others` are the buyer as an approver, and an operator."""
    checks: list[Check] = []
    made = buyer.post("/tasks", _task("Order forty desks."))
    asked = buyer.post(
        "/approvals",
        {
            "task_id": made.body.get("task_id"),
            "approver_role": "manager",
            "required_approvals": NEEDED,
            "reason": "Above the limit of the role.",
            "action": ACTION,
        },
    )
    checks.append(expected("ask two of three managers", asked, 201, status="pending", required_approvals=NEEDED))
    told = ""
    if not checks[0].differs:
        task, approval = f"/tasks/{made.body['task_id']}", f"/approvals/{asked.body['approval_id']}"
        checks += _while_it_waits(buyer, task, approval, managers, others)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(wait_for_the_outcome, buyer, approval)
            checks += _agree(approval, managers)
            granted, told = _granted(waiting, time.monotonic())
            checks.append(granted)
        late = managers[MANAGERS[-1]].post(f"{approval}/reject", {})
        checks.append(refused("the third comes too late", late, 409, "illegal-transition", **{"from": "approved"}))
        checks += _use(buyer, task, approval)
        return Purchase(checks, buyer.get(task).body, buyer.get(approval).body, told)
    return Purchase(checks, made.body, asked.body, told)


def _task(description: str) -> dict[str, Any]:
    return {
        "task_type": _TYPE,
        "description": description,
        "from_role": "procurement",
        "to_role": "procurement",
    }


def _while_it_waits(
    buyer: Caller, task: str, approval: str, managers: Mapping[str, Caller], others: Mapping[str, Caller]
) -> Iterator[Check]:
    yield expected("its task waits", buyer.get(task), 200, status="blocked")
    yield expected("nobody claims what waits", buyer.post("/tasks/claim", {"task_types": [_TYPE]}), 200, tasks=[])
    for manager in managers.values():
        inbox = manager.get("/approvals?assignee=me&status=pending&page_size=100").body.get("approvals", [])
        there = any(approval.endswith(one["approval_id"]) for one in inbox)
        yield Check("it is in each manager's inbox", False, "" if there else "an inbox does not have it")
    own = others["buyer as approver"].post(f"{approval}/approve", {})
    yield refused("the agent that asked approves", own, 403, "separation-of-duties")
    yield refused("an operator approves", others["operator"].post(f"{approval}/approve", {}), 403, "forbidden")
    early = buyer.post(f"{approval}/consume", {"action": ACTION})
    yield refused("used before it is granted", early, 409, "illegal-transition", to="consumed")


def wait_for_the_outcome(buyer: Caller, approval: str) -> tuple[Answer, float]:
    """As an agent does: again and again, since a vote is a version as well. The answer, and when it came."""
    until, version = time.monotonic() + _PATIENCE_SECONDS, 1
    while True:
        answer = buyer.get(f"{approval}?wait=20&version={version}")
        if answer.body.get("status") != "pending" or time.monotonic() > until:
            return answer, time.monotonic()
        version = answer.body["version"]


def _agree(approval: str, managers: Mapping[str, Caller]) -> Iterator[Check]:
    first, second, _ = managers.values()
    time.sleep(0.5)
    yes = first.post(f"{approval}/approve", {"comments": "Checked against the offer."}, if_match='"1"')
    yield expected("the first of two agrees", yes, 200, status="pending", version=2)
    yield refused("the same agrees again", first.post(f"{approval}/approve", {}), 409, "already-decided")
    task_id = yes.body.get("task_id")
    last = second.post("/approvals", {"task_id": task_id, "decision": "approved", "comments": "Go ahead."})
    yield expected("the second of two agrees", last, 202, status="approved")


def _granted(waiting: "Future[tuple[Answer, float]]", decided_at: float) -> tuple[Check, str]:
    answer, answered_at = waiting.result()
    right = expected("the waiting agent is told", answer, 200, status="approved", version=3)
    return right, f"The waiting agent knew of its grant {max(0.0, answered_at - decided_at):.2f} s after the managers."


def _use(buyer: Caller, task: str, approval: str) -> Iterator[Check]:
    claimed = buyer.post("/tasks/claim", {"task_types": [_TYPE], "lease_seconds": 60})
    [held] = claimed.body.get("tasks") or [{}]
    yield expected("it is claimed once agreed to", claimed, 200, **({} if held else {"tasks": "the purchase"}))
    dearer = buyer.post(f"{approval}/consume", {"action": {**ACTION, "amount_cents": 8_400_000}})
    yield refused("another action is used", dearer, 409, "action-mismatch")
    # The same to the letter but for the order of its members: that is the same.
    used = buyer.post(f"{approval}/consume", {"action": dict(reversed(ACTION.items()))})
    yield expected("the action is used, once", used, 200, status="approved", version=4)
    yield refused("used again", buyer.post(f"{approval}/consume", {"action": ACTION}), 409, "already-consumed")
    booked = {"source": "ledger", "category": "payment", "action": "payment.booked", "metadata": ACTION}
    yield expected("the ledger tells what it booked", buyer.post("/audit/ingest", booked), 202)
    output = {"lease_token": held.get("lease", {}).get("token", ""), "output": {"ordered": 40}}
    yield expected("it is completed", buyer.post(f"{task}/complete", output), 200, status="completed")


def come_too_late(late: Late, buyer: Caller, managers: Mapping[str, Caller]) -> Iterator[Check]:
    """Agree to the question whose time has passed. Whether or not a sweep came by first, it is refused."""
    left = late.over_at - time.monotonic()
    if left > 0:
        print(f"Waiting {left:.0f} seconds for a question to run out of time.", flush=True)
        time.sleep(left)
    first, second, _ = managers.values()
    answer = first.post(f"/approvals/{late.approval}/approve", {})
    slug = "approval-expired" if answer.body.get("from") == "pending" else "illegal-transition"
    yield refused("approved past its time", answer, 409, slug)
    manage("sweep")
    swept = second.post(f"/approvals/{late.approval}/approve", {})
    yield refused("approved after the sweep", swept, 409, "illegal-transition", **{"from": "expired"})
    yield expected("it expired, once", second.get(f"/approvals/{late.approval}"), 200, status="expired", version=2)
    task = buyer.get(f"/tasks/{late.task}")
    yield expected("its task failed with it", task, 200, status="failed", version=2)
    code = (task.body.get("error") or {}).get("code")
    yield Check("its task says why", False, "" if code == "approval-expired" else f"the task's error is {code}")
