"""For each operation of the document a row about which it succeeds, and what to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sessions_app.models import Session, Task
from tests.contract.api_document import Operation
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
_keys = count()


@dataclass(frozen=True)
class Ready:
    """What an operator called olga sends so that the operation succeeds, and the row it is about."""

    path: str
    row: Session | Task
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def ready(operation: Operation) -> Ready:
    """A new row and a call about it."""
    return (_task if operation.path.startswith("/tasks") else _session)(operation)


def _session(operation: Operation) -> Ready:
    session = session_in("completed" if operation.method == "DELETE" else "pending")
    return Ready(operation.path.replace("{id}", str(session.pk)), session, SESSION_BODIES.get(operation.method))


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
    return Ready(operation.path.replace("{id}", str(task.pk)), task, body, headers)
