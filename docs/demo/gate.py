"""An agent that gates one act of its own, without a task: a payment run that one of the managers must agree to."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from checks import Check, expected, refused
from purchase import MANAGERS, wait_for_the_outcome
from service import Caller

_RUN = f"PR-{time.time_ns()}"
"""This run's own, so that what an earlier run rejected does not stand in its way."""
ACTION = {"release": _RUN, "amount_cents": 1_284_000, "currency": "EUR"}
TWICE = {**ACTION, "release": f"{_RUN}-again"}
_SESSION = {"agent_role": "procurement", "metadata": {"title": f"Payment run {_RUN}"}}


def gate_an_act(buyer: Caller, managers: Mapping[str, Caller], operator: Caller) -> Iterator[Check]:
    """Ask for one act in a session, wait, use the grant once; see a rejection stand; delete the session at last."""
    session = buyer.post("/sessions", _SESSION)
    yield expected("a session for the payment run", session, 201, status="pending")
    if session.status != 201:
        return
    address = f"/sessions/{session.body['session_id']}"
    yield from _agreed(buyer, managers, str(session.body["session_id"]))
    yield from _rejected(buyer, managers, str(session.body["session_id"]))
    for status in ("active", "completed"):
        yield expected("its session ends", buyer.put(address, {"status": status}), 200, status=status)
    yield refused("deleted without a reason", operator.send("DELETE", address, None, {}), 400, "invalid-request")
    kept = operator.send("DELETE", f"{address}?reason=tidying%20up", None, {})
    yield refused("deleted though people decided in it", kept, 409, "retained")
    spare = buyer.post("/sessions", {**_SESSION, "metadata": {"title": "Opened by mistake"}})
    address = f"/sessions/{spare.body.get('session_id')}"
    buyer.put(address, {"status": "expired"})
    gone = operator.send("DELETE", f"{address}?reason=opened%20by%20mistake", None, {})
    yield expected("a session is deleted, with a reason", gone, 204)


def _agreed(buyer: Caller, managers: Mapping[str, Caller], session: str) -> Iterator[Check]:
    question = {
        "session_id": session,
        "approver_role": "manager",
        "action": ACTION,
        "reason": "Invoices are due.",
    }
    asked = buyer.post("/approvals", question)
    yield expected("ask about one act", asked, 201, kind="action", task_id=None, session_id=session, status="pending")
    if asked.status != 201:
        return
    pk = asked.body["approval_id"]
    approval = f"/approvals/{pk}"
    yield refused("asked twice", buyer.post("/approvals", question), 409, "already-requested", approval_id=pk)
    first, second, third = managers.values()
    inbox = first.get("/approvals?assignee=me&status=pending&page_size=100").body.get("approvals", [])
    there = any(one["approval_id"] == pk for one in inbox)
    yield Check("it is in a manager's inbox", False, "" if there else "the inbox does not have it")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_the_outcome, buyer, approval)
        yes = first.post(f"{approval}/approve", {"comments": "Checked against the invoices."})
        yield expected("a manager agrees", yes, 200, status="approved")
        yield expected("the waiting agent has its grant", waiting.result()[0], 200, status="approved")
    yield refused("another agrees too late", second.post(f"{approval}/approve", {}), 409, "illegal-transition")
    used = {"action": ACTION}
    yield refused("a manager uses it", third.post(f"{approval}/consume", used), 403, "forbidden")
    yield expected("the act is done, once", buyer.post(f"{approval}/consume", used), 200, status="approved")
    yield refused("done again", buyer.post(f"{approval}/consume", used), 409, "already-consumed")


def _rejected(buyer: Caller, managers: Mapping[str, Caller], session: str) -> Iterator[Check]:
    question = {"session_id": session, "approver_role": "manager", "action": TWICE, "reason": "To be sure."}
    asked = buyer.post("/approvals", question)
    earlier = [one.get("outcome") for one in asked.body.get("earlier", [])]
    yield Check("earlier outcomes are shown", False, "" if earlier == ["approved"] else f"shown is {earlier}")
    approval = f"/approvals/{asked.body.get('approval_id')}"
    no = managers[MANAGERS[1]].post(f"{approval}/reject", {"comments": "Paid already."})
    yield expected("a manager says no", no, 200, status="rejected")
    yield refused("asked again after a no", buyer.post("/approvals", question), 409, "already-rejected")
