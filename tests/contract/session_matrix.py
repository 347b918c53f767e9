"""Who may do what to sessions. To create is to create for the role of the row."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from audit_app.models import AuditEvent
from audit_app.trail import Action
from sessions_app.models import Session
from tests.api import Api, token
from tests.contract.api_document import Operation
from tests.contract.callers import HIDDEN, OWNERS, Cell, Line
from tests.sessions_app.session_calls import path, session_in, somebody

MOVE = {"status": "active"}

LINES: dict[str, Line] = {
    "GET /sessions": {
        "no token": (401, 401),
        "expired": (401, 401),
        "other tenant": (HIDDEN, HIDDEN),
        "no role": (403, 403),
        "agent of the role": (200, HIDDEN),
        "agent of another role": (HIDDEN, HIDDEN),
        "owner": (200, HIDDEN),
        "approver": (200, HIDDEN),
        "requester as approver": (200, HIDDEN),
        "auditor": (200, 200),
        "operator": (200, 200),
        "service account": (200, HIDDEN),
        "agent for a person": (200, HIDDEN),
    },
    "POST /sessions": {
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
    "GET /sessions/{id}": {
        "no token": (401, 401),
        "expired": (401, 401),
        "other tenant": (404, 404),
        "no role": (403, 403),
        "agent of the role": (200, 404),
        "agent of another role": (404, 404),
        "owner": (200, 404),
        "approver": (200, 404),
        "requester as approver": (200, 404),
        "auditor": (200, 200),
        "operator": (200, 200),
        "service account": (200, 404),
        "agent for a person": (200, 404),
    },
    "PUT /sessions/{id}": {
        "no token": (401, 401),
        "expired": (401, 401),
        "other tenant": (404, 404),
        "no role": (403, 403),
        "agent of the role": (200, 404),
        "agent of another role": (404, 404),
        "owner": (200, 404),
        "approver": (403, 404),
        "requester as approver": (403, 404),
        "auditor": (403, 403),
        "operator": (200, 200),
        "service account": (200, 404),
        "agent for a person": (200, 404),
    },
    "PATCH /sessions/{id}": {
        "no token": (401, 401),
        "expired": (401, 401),
        "other tenant": (404, 404),
        "no role": (403, 403),
        "agent of the role": (200, 404),
        "agent of another role": (404, 404),
        "owner": (200, 404),
        "approver": (403, 404),
        "requester as approver": (403, 404),
        "auditor": (403, 403),
        "operator": (200, 200),
        "service account": (200, 404),
        "agent for a person": (200, 404),
    },
    "DELETE /sessions/{id}": {
        "no token": (401, 401),
        "expired": (401, 401),
        "other tenant": (404, 404),
        "no role": (403, 403),
        "agent of the role": (403, 404),
        "agent of another role": (404, 404),
        "owner": (403, 404),
        "approver": (403, 404),
        "requester as approver": (403, 404),
        "auditor": (403, 403),
        "operator": (204, 204),
        "service account": (403, 404),
        "agent for a person": (403, 404),
    },
}


def row(operation: Operation, whose: str, _caller: str) -> Session:
    """The row that a call is about, in a state from which an operator's would succeed."""
    subject, role = OWNERS[whose]
    # The helper makes rows of the role finance alone; those of another are made by a call.
    if role == "finance":
        return session_in("completed" if operation.method == "DELETE" else "pending", somebody(subject))
    api = Api(token(subject, agent_roles=role))
    made = api.post("/sessions", {"agent_role": role})
    if operation.method == "DELETE":
        for state in ("active", "completed"):
            assert api.put(made.headers["Location"], {"status": state}).status_code == 200
    return Session.objects.get(pk=made.json()["session_id"])


def asked(operation: Operation, bearer: str | None, about: Session) -> tuple[Cell, Any]:
    """What the call is answered, in the words of the matrix, and the answer."""
    creating = operation.method == "POST"
    body = {"agent_role": about.role} if creating else MOVE if operation.method in ("PUT", "PATCH") else None
    where = path(about) if "{id}" in operation.path else operation.path
    if operation.method == "DELETE":
        where += "?reason=so"
    answer = Api(bearer).send(operation.method, where, body)
    if operation.method == "GET" and "{id}" not in operation.path and answer.status_code == 200:
        listed = [one["session_id"] for one in answer.json()["sessions"]]
        return (200 if str(about.id) in listed else HIDDEN), answer
    return answer.status_code, answer


@contextmanager
def untouched(about: Session) -> Iterator[None]:
    """Fails if the block changes the session, opens another, or leaves more than that something was refused."""
    before = list(Session.objects.order_by("pk").values())
    events = AuditEvent.objects.exclude(event_type=Action.SESSION_REFUSED)
    count = events.count()
    yield
    assert list(Session.objects.order_by("pk").values()) == before
    assert events.count() == count
