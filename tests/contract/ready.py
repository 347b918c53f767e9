"""For each operation of the document a row about which it succeeds, and what to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from audit_app.models import AuditEvent
from sessions_app.models import Approval, Session, Task
from sessions_app.views.approval_examples import ACTION_REJECTED_BEFORE
from tests.contract.api_document import Operation
from tests.sessions_app.approval_calls import ACTION, agree, ask, ask_for_action, refuse
from tests.sessions_app.session_calls import session_in, somebody
from tests.sessions_app.task_calls import CALLS, claimed, task_in

OLGA = somebody("olga")
SESSION_BODIES: Mapping[str, Any] = {
    "POST": {"agent_role": "finance"},
    "PUT": {"status": "active"},
    "PATCH": {"status": "active"},
}
TASK_BODIES: Mapping[str, Any] = {
    "tasks": {"task_type": "routing", "to_role": "finance"},
    "route": {"target": "finance", "task": {"task_type": "routing"}},
    "claim": {"roles": ["finance"]},
    "force-release": {"reason": "so"},
}
HANDED_IN = {"source": "ledger", "category": "payment", "action": "payment.booked"}
_keys = count()


@dataclass(frozen=True)
class Ready:
    """What olga, who has these roles, sends so that the operation succeeds, and the row it is about."""

    path: str
    row: Session | Task | Approval | AuditEvent
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    roles: str = "operator"
    query: str = ""
    ids: Mapping[str, str] = field(default_factory=dict)
    """What stands for the ids of the document's examples, by the member that has them."""


def ready(operation: Operation) -> Ready:
    """A new row and a call about it."""
    made = {"tasks": _task, "approvals": _approval, "audit": _event}
    return made.get(operation.path.split("/")[1], _session)(operation)


def _session(operation: Operation) -> Ready:
    session = session_in("completed" if operation.method == "DELETE" else "pending")
    path, body = operation.path.replace("{id}", str(session.pk)), SESSION_BODIES.get(operation.method)
    return Ready(path, session, body, query=_reason(operation))


def _task(operation: Operation) -> Ready:
    verb = operation.path.rpartition("/")[2]
    if verb in (*CALLS, "force-release"):
        held = claimed(by=OLGA)
        body = held.body(verb) if verb in CALLS else TASK_BODIES[verb]
        return Ready(operation.path.replace("{id}", str(held.task.pk)), held.task, body)
    state = "completed" if operation.method == "DELETE" else "failed" if verb == "retry" else "pending"
    task = task_in(state)
    body = TASK_BODIES.get(verb) if operation.method == "POST" else None
    headers = {"idempotency_key": f"ready-{next(_keys)}"} if verb == "route" else {}
    return Ready(operation.path.replace("{id}", str(task.pk)), task, body, headers, query=_reason(operation))


def _reason(operation: Operation) -> str:
    return "?reason=so" if operation.method == "DELETE" else ""


def _approval(operation: Operation) -> Ready:
    """One that alice requested, or, where it is to be consumed, olga."""
    verb = operation.path.rpartition("/")[2]
    if verb == "consume":
        approval = agree(ask(by=OLGA, action=ACTION))
        return Ready(operation.path.replace("{id}", str(approval.pk)), approval, {"action": ACTION})
    # Of two people, so that one who approved has something left to say.
    deciding = verb in ("approve", "reject", "withdraw")
    approval = ask(approver_role="finance", required_approvals=2 if deciding else 1)
    if verb == "withdraw":
        agree(approval, "olga")
    roles = "operator" if operation.method == "GET" or verb == "cancel" else "operator,approver"
    path = operation.path.replace("{id}", str(approval.pk))
    if operation.method != "POST" or verb != "approvals":
        return Ready(path, approval, roles=roles)
    ids = {
        "task_id": str(approval.task_id),
        "session_id": str(session_in("active").pk),
        "reopens": str(refuse(ask_for_action(ACTION_REJECTED_BEFORE, by=OLGA)).pk),
        "replaces": str(approval.pk),
    }
    return Ready(path, approval, {"task_id": ids["task_id"], "approver_role": "manager"}, roles=roles, ids=ids)


def _event(operation: Operation) -> Ready:
    event = AuditEvent.objects.get(subject_id=session_in("pending").pk, seq=1)
    body = HANDED_IN if operation.method == "POST" else None
    return Ready(operation.path.replace("{id}", str(event.pk)), event, body)
