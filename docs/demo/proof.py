"""What is remembered of the purchase: its trail, sealed, verified, and one event of it proved."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from checks import Check
from purchase import Purchase
from service import ROOT, Caller, command, manage

VAR = Path(os.environ.get("ORCHESTRATOR_VAR") or ROOT / "var")
ANCHOR = Path(os.environ.get("AUDIT_ANCHOR_FILE") or VAR / "audit_anchor.ndjson")
KEYS = Path(os.environ.get("AUDIT_SEAL_PUBLIC_KEYS") or VAR / "seal_keys")
CHECK_PROOF = ROOT / "docs/audit/check_proof.py"
REFUSED = [
    *("separation-of-duties", "forbidden", "already-decided", "illegal-transition", "action-mismatch"),
    "already-consumed",
]
"""What was tried on the purchase's approval in vain and is remembered, in that order."""
_PATIENCE_SECONDS = 60


def show_purchase(purchase: Purchase, auditor: Caller) -> list[Check]:
    """Print all events of the purchase, in order, and judge them."""
    task, approval = purchase.task["task_id"], purchase.approval["approval_id"]
    events = [*_history(auditor, "task", task), *_history(auditor, "approval", approval)]
    # By their ids (UUIDv7), which are made one after the other; one act on two rows has one cause and two moments.
    events.sort(key=lambda event: str(event["event_id"]))
    print("\nThe trail of the purchase, as an auditor reads it:\n")
    print("\n".join(map(_line, events)) + "\n")
    chains = {
        row: [event["seq"] for event in events if event["subject_id"] == row and event["seq"]]
        for row in (task, approval)
    }
    whole = chains == {
        task: list(range(1, purchase.task["version"] + 1)),
        approval: list(range(1, purchase.approval["version"] + 1)),
    }
    tried = [event["reason"] for event in events if event["event_type"] == "approval.refused"]
    by_id = {event["event_id"]: event["event_type"] for event in events}
    causes = {event["event_type"]: by_id.get(event["cause"]) for event in events if event["cause"]}
    linked = causes == {"task.blocked": "approval.created", "task.unblocked": "approval.approved"}
    return [
        Check("an event for each version", False, "" if whole else f"the purchase's chains are {chains}"),
        Check("what was refused is remembered", False, "" if tried == REFUSED else f"remembered is {tried}"),
        Check("what follows from what", False, "" if linked else f"the causes are {causes}"),
    ]


def _history(auditor: Caller, noun: str, pk: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = auditor.get(
        f"/audit/events?subject_type={noun}&subject_id={pk}&order=oldest&page_size=100"
    ).body["events"]
    return found


def _line(event: dict[str, Any]) -> str:
    who = event["actor"].partition("|")[2]
    moved = f"{event['from'] or '-'} → {event['to'] or '-'}" if event["seq"] else event["changes"]["attempted"]
    told = f"{event['event_type']:<18}  {moved:<20}  {who:<18}  {event['reason']}"
    return f"  {event['timestamp'][11:23]}  {told}".rstrip()


def seal_and_verify(purchase: Purchase, auditor: Caller) -> list[Check]:
    """Seal until the purchase's last event is sealed, verify everything, and prove that event to a stranger."""
    last = _history(auditor, "approval", purchase.approval["approval_id"])[-1]
    proof = _sealed(last["event_id"])
    if proof is None:
        return [Check("sealed", False, f"the event {last['event_id']} is not sealed after {_PATIENCE_SECONDS} s")]
    code, out = command("audit_verify", "--json", "--anchor", str(ANCHOR))
    report = json.loads(out) if code in (0, 1, 2) and out.startswith("{") else {"result": f"exit code {code}"}
    right = code == 0 and report["result"] == "clean" and report["seals"] >= 1
    print(f"audit_verify: {report['result']}, {report.get('events')} events, {report.get('seals')} seals.")
    told, holds = _checked_alone(proof)
    print(f"check_proof.py, without the database: {told}")
    return [
        Check("sealed", False),
        Check("verified, seals and anchor", False, "" if right else f"audit_verify says {report}"),
        Check("an event proved without the database", False, "" if holds else f"check_proof.py says {told}"),
    ]


def _sealed(event: str) -> dict[str, Any] | None:
    """The proof of an event, once a seal is over it: some transaction may still have to end before."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        manage("audit_seal")
        code, out = command("audit_proof", event)
        if code == 0:
            found: dict[str, Any] = json.loads(out)
            return found
        time.sleep(0.5)
    return None


def _checked_alone(proof: dict[str, Any]) -> tuple[str, bool]:
    """What the script says of a proof, and whether it holds by the key that its seal names."""
    key = KEYS / f"{json.loads(proof['seal']['body'])['key_id']}.pem"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proof.json"
        path.write_text(json.dumps(proof), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-I", str(CHECK_PROOF), str(path), str(key)],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    return " ".join((done.stdout + done.stderr).split()), done.returncode == 0
