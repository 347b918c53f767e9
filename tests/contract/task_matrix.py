"""Who may do what to tasks. The tasks are to the role of the row, and to create is to create from that role."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sessions_app.models import Task
from tests.api import Api
from tests.contract.api_document import Operation
from tests.contract.callers import CALLERS, HIDDEN, OWNERS, Cell, Line
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_calls import CALLS, Held, claimed, task_in, unchanged

WHO = {
    "no token": "alice",
    "expired": "alice",
    "other tenant": "alice",
    "no role": "alice",
    "agent of the role": "bob",
    "agent of another role": "bob",
    "owner": "alice",
    "approver": "mia",
    "requester as approver": "alice",
    "auditor": "ada",
    "operator": "olga",
    "service account": "billing",
    "agent for a person": "bot",
}
"""The subject of each caller: who holds what they call about, so that it is the right alone that refuses them."""

STATES = {"DELETE /tasks/{id}": "completed", "POST /tasks/{id}/retry": "failed"}


def _line(*cells: tuple[Cell, Cell]) -> Line:
    """Cells in the order of the callers, after the two who show no valid token."""
    return dict(zip(CALLERS, ((401, 401), (401, 401), *cells), strict=True))


def _of_one(unseen: Cell, *, agents: Cell, owner: Cell, auditor: Cell, operator: Cell) -> Line:
    """Whoever may see a row sees it whatever they ask of it; `agents` are those of its role."""
    return _line(
        (unseen, unseen),  # other tenant
        (403, 403),  # no role
        (agents, unseen),  # agent of the role
        (unseen, unseen),  # agent of another role
        (owner, unseen),  # owner
        (unseen, unseen),  # approver
        (unseen, unseen),  # requester as approver
        (auditor, auditor),  # auditor
        (operator, operator),  # operator
        (agents, unseen),  # service account
        (agents, unseen),  # agent for a person
    )


WORKING = _of_one(404, agents=200, owner=403, auditor=403, operator=200)
LINES: dict[str, Line] = {
    "GET /tasks": _of_one(HIDDEN, agents=200, owner=200, auditor=200, operator=200),
    "GET /tasks/{id}": _of_one(404, agents=200, owner=200, auditor=200, operator=200),
    **{f"POST /tasks/{{id}}/{verb}": WORKING for verb in CALLS},
    "POST /tasks/{id}/cancel": _of_one(404, agents=403, owner=200, auditor=403, operator=200),
    "POST /tasks/{id}/retry": _of_one(404, agents=403, owner=403, auditor=403, operator=201),
    "POST /tasks/{id}/force-release": _of_one(404, agents=403, owner=403, auditor=403, operator=200),
    "DELETE /tasks/{id}": _of_one(404, agents=403, owner=403, auditor=403, operator=204),
    "POST /tasks": {
        "no token": (401, 401),
        "expired": (401, 401),
        "other tenant": (201, 201),
        "no role": (403, 403),
        "agent of the role": (201, 403),
        "agent of another role": (403, 403),
        "owner": (403, 403),
        "approver": (403, 403),
        "requester as approver": (403, 403),
        "auditor": (403, 403),
        "operator": (201, 201),
        "service account": (201, 403),
        "agent for a person": (201, 403),
    },
    # To any role, from one's own: who has several does not say here from which.
    "POST /tasks/route": {
        "no token": (401, 401),
        "expired": (401, 401),
        "other tenant": (400, 400),
        "no role": (403, 403),
        "agent of the role": (202, 202),
        "agent of another role": (202, 202),
        "owner": (202, 202),
        "approver": (403, 403),
        "requester as approver": (403, 403),
        "auditor": (403, 403),
        "operator": (202, 202),
        "service account": (202, 202),
        "agent for a person": (202, 202),
    },
    "POST /tasks/claim": {
        "no token": (401, 401),
        "expired": (401, 401),
        "other tenant": (HIDDEN, HIDDEN),
        "no role": (403, 403),
        "agent of the role": (200, 403),
        "agent of another role": (403, 403),
        "owner": (403, 403),
        "approver": (403, 403),
        "requester as approver": (403, 403),
        "auditor": (403, 403),
        "operator": (200, 200),
        "service account": (200, 403),
        "agent for a person": (200, 403),
    },
}


def row(operation: Operation, whose: str, caller: str) -> Held:
    """The task that a call is about, in a state from which an operator's would succeed, held by the caller."""
    subject, role = OWNERS[whose]
    maker, worker = somebody(subject, agent_roles=(role,)), somebody(WHO[caller], agent_roles=(role,))
    if caller == "agent for a person":
        worker = replace(worker, on_behalf_of=somebody("olga").identity)
    state = STATES.get(str(operation), "pending")
    task = task_in(state, by=worker, maker=maker, from_role=role, to_role=role)
    verb = operation.path.rpartition("/")[2]
    return claimed(task, by=worker) if verb in (*CALLS, "force-release") else Held(task, "")


def asked(operation: Operation, bearer: str | None, about: Held) -> tuple[Cell, Any]:
    """What the call is answered, in the words of the matrix, and the answer."""
    verb = operation.path.rpartition("/")[2]
    role = about.task.to_role
    bodies: dict[str, Any] = {
        "tasks": {"task_type": "routing", "to_role": "sales", "from_role": role},
        "route": {"target": role, "task": {"task_type": "routing"}},
        "claim": {"roles": [role], "max": 10},
        "force-release": {"reason": "so"},
    }
    body = about.body(verb) if verb in CALLS else bodies.get(verb)
    where = operation.path.replace("{id}", str(about.task.pk)) + ("?reason=so" if operation.method == "DELETE" else "")
    key = {"idempotency_key": str(about.task.pk)} if verb == "route" else {}
    answer = Api(bearer).send(operation.method, where, body if operation.method == "POST" else None, **key)
    if answer.status_code == 200 and str(operation) in ("GET /tasks", "POST /tasks/claim"):
        listed = [one["task_id"] for one in answer.json()["tasks"]]
        return (200 if str(about.task.pk) in listed else HIDDEN), answer
    return answer.status_code, answer


@contextmanager
def untouched(about: Held) -> Iterator[None]:
    """Fails if the block changes the task, or makes another."""
    count = Task.objects.count()
    with unchanged(about.task):
        yield
    assert Task.objects.count() == count
