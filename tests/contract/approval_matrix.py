"""Who may do what to approvals: requested by the maker of the row, of its role, about a task from and to that role.

Carl created the task, and fred held it before. Of a request whose approval can be withdrawn, mia approved.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from orchestrator import boundary
from sessions_app.models import Approval, Task
from sessions_app.transitions import lease
from tests.api import Api
from tests.contract.api_document import Operation
from tests.contract.callers import CALLERS, HIDDEN, OWNERS, Cell, Line
from tests.sessions_app.approval_calls import ACTION, agree, ask, task_id
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_calls import claimed, routed


def _line(*cells: tuple[Cell, Cell]) -> Line:
    """Cells in the order of the callers, after the two who show no valid token."""
    return dict(zip(CALLERS, ((401, 401), (401, 401), *cells), strict=True))


def _of_one(unseen: Cell, *, owner: Cell, approver: Cell, asker: Cell, auditor: Cell, operator: Cell) -> Line:
    """Whoever may see a row sees it whatever they ask of it; `asker` is the requester with the role approver alone."""
    return _line(
        (unseen, unseen),  # other tenant
        (403, 403),  # no role
        (unseen, unseen),  # agent of the role
        (unseen, unseen),  # agent of another role
        (owner, unseen),  # owner
        (approver, unseen),  # approver
        (asker, unseen),  # requester as approver
        (auditor, auditor),  # auditor
        (operator, operator),  # operator
        (unseen, unseen),  # service account
        (unseen, unseen),  # agent for a person
    )


DECIDING = _of_one(404, owner=403, approver=200, asker=403, auditor=403, operator=403)
LINES: dict[str, Line] = {
    "GET /approvals": _of_one(HIDDEN, owner=200, approver=200, asker=200, auditor=200, operator=200),
    "GET /approvals/{id}": _of_one(404, owner=200, approver=200, asker=200, auditor=200, operator=200),
    "POST /approvals/{id}/approve": DECIDING,
    "POST /approvals/{id}/reject": DECIDING,
    # Whose approval does not count has none to withdraw.
    "POST /approvals/{id}/withdraw": _of_one(404, owner=403, approver=200, asker=409, auditor=403, operator=403),
    "POST /approvals/{id}/cancel": _of_one(404, owner=200, approver=403, asker=403, auditor=403, operator=200),
    "POST /approvals/{id}/consume": _of_one(404, owner=200, approver=403, asker=403, auditor=403, operator=403),
    # To ask about the task of the row; one that is not seen is a 400.
    "POST /approvals": _line(
        (400, 400),  # other tenant
        (403, 403),  # no role
        (201, 400),  # agent of the role
        (400, 400),  # agent of another role
        (201, 400),  # owner
        (403, 400),  # approver
        (403, 400),  # requester as approver
        (403, 403),  # auditor
        (201, 201),  # operator
        (201, 400),  # service account
        (201, 400),  # agent for a person
    ),
}


def row(operation: Operation, whose: str, _caller: str) -> Approval:
    """The approval that a call is about, in a state from which somebody's would succeed."""
    subject, role = OWNERS[whose]
    maker, carl, fred = (somebody(name, agent_roles=(role,)) for name in (subject, "carl", "fred"))
    # Who requests an approval has to see the task.
    task = routed(by=maker if operation.path == "/approvals" else carl, from_role=role, to_role=role)
    held = claimed(task, by=fred)
    task = boundary.write(partial(lease.release, held.task, token=held.token, actor=fred))
    verb = operation.path.rpartition("/")[2]
    quorum = 2 if verb == "withdraw" else 1
    approval = ask(task, by=maker, approver_role=role, action=ACTION, required_approvals=quorum)
    people = {"consume": "paula", "withdraw": "mia"}
    return agree(approval, people[verb]) if verb in people else approval


def asked(operation: Operation, bearer: str | None, about: Approval) -> tuple[Cell, Any]:
    """What the call is answered, in the words of the matrix, and the answer."""
    bodies: dict[str, Any] = {
        "approvals": {"task_id": str(about.task_id), "approver_role": "board"},
        "consume": {"action": ACTION},
    }
    where = operation.path.replace("{id}", str(about.pk))
    body = bodies.get(operation.path.rpartition("/")[2], {}) if operation.method == "POST" else None
    answer = Api(bearer).send(operation.method, where, body)
    if answer.status_code == 200 and str(operation) == "GET /approvals":
        listed = [one["approval_id"] for one in answer.json()["approvals"]]
        return (200 if str(about.pk) in listed else HIDDEN), answer
    return answer.status_code, answer


@contextmanager
def untouched(about: Approval) -> Iterator[None]:
    """Fails if the block changes an approval or its task, or makes another."""
    before = _rows(about)
    yield
    assert _rows(about) == before


def _rows(about: Approval) -> list[Any]:
    return [*Approval.objects.order_by("pk").values(), *Task.objects.filter(pk=task_id(about)).values()]
