"""Every operation of the document, by every kind of caller, on a row of its own and on a foreign one.

The operations come from the document: one without a line here, or a line without a cell, fails.
"""

from collections.abc import Callable
from typing import Any

import pytest

from sessions_app.models import Session
from tests.api import Api, token
from tests.contract.api_document import Operation, assert_as_documented, operations
from tests.orchestrator.tokens import after, saying
from tests.sessions_app.session_calls import path, session_in, somebody, unchanged

pytestmark = pytest.mark.django_db(transaction=True)

HIDDEN = "200, without it"
"""What a list answers that does not have the row."""

Cell = int | str
EVERYTHING = {"roles": ["agent", "approver", "auditor", "operator"]}

# Alice made the row `own`, for the role finance; zoe the row `foreign`, for legal. Both are of the tenant default.
CALLERS: dict[str, Callable[[], str | None]] = {
    "no token": lambda: None,
    "expired": saying(exp=after(-31), tenant="default", realm_access=EVERYTHING, agent_roles=["finance", "legal"]),
    "other tenant": lambda: token("alice", "agent,approver,auditor,operator", "finance,legal", tenant="other"),
    "no role": lambda: token("alice", "", "finance,legal"),
    "agent of the role": lambda: token("bob"),
    "agent of another role": lambda: token("bob", agent_roles="sales"),
    "owner": lambda: token("alice", agent_roles="sales"),
    "approver": lambda: token("mia", "approver"),
    "requester as approver": lambda: token("alice", "approver"),
    "auditor": lambda: token("ada", "auditor", ""),
    "operator": lambda: token("olga", "operator", ""),
    "service account": lambda: token("billing", service_account=True),
    "agent for a person": lambda: token("olga", "agent,operator,approver", "finance", act_subject="bot"),
}

# Each cell: what is answered on the own row, and on the foreign one. To create is to create for the role of that row.
MATRIX: dict[str, dict[str, tuple[Cell, Cell]]] = {
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

OWNERS = {"own": ("alice", "finance"), "foreign": ("zoe", "legal")}
MOVE = {"status": "active"}
SECURED = [operation for operation in operations() if not operation.is_public]


def row(operation: Operation, whose: str) -> Session:
    """The row that a call is about, in a state from which an operator's would succeed."""
    assert operation.path.startswith("/sessions"), f"No row is made for {operation}."
    subject, role = OWNERS[whose]
    actor = somebody(subject, agent_roles=(role,))
    # The helper makes rows of the role finance alone; those of another are made by a call.
    if role == "finance":
        return session_in("completed" if operation.method == "DELETE" else "pending", actor)
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
    answer = Api(bearer).send(operation.method, where, body)
    if operation.method == "GET" and "{id}" not in operation.path and answer.status_code == 200:
        listed = [one["session_id"] for one in answer.json()["sessions"]]
        return (200 if str(about.id) in listed else HIDDEN), answer
    return answer.status_code, answer


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("operation", SECURED, ids=str)
def test_each_caller_may_do_what_the_matrix_says(operation: Operation, caller: str) -> None:
    cells = MATRIX.get(str(operation), {}).get(caller)
    assert cells is not None, f"The matrix has no cell for {operation} by {caller}."
    bearer = CALLERS[caller]()
    for whose, expected in zip(OWNERS, cells, strict=True):
        about = row(operation, whose)
        if isinstance(expected, int) and expected < 300 and operation.method != "GET":
            found, answer = asked(operation, bearer, about)
        else:
            with unchanged(about.id):
                rows = Session.objects.count()
                found, answer = asked(operation, bearer, about)
                assert Session.objects.count() == rows
        assert found == expected, f"{operation} by {caller}, {whose}: {answer.content!r}"
        assert_as_documented(answer, operation)


def test_the_matrix_has_no_line_that_is_no_operation_and_no_cell_that_is_no_caller() -> None:
    assert set(MATRIX) == {str(operation) for operation in SECURED}
    for line in MATRIX.values():
        assert list(line) == list(CALLERS)


@pytest.mark.parametrize("operation", [one for one in operations() if one.is_public], ids=str)
def test_what_needs_no_token_is_answered_to_anybody(operation: Operation) -> None:
    for bearer in (None, "nonsense"):
        assert Api(bearer).send(operation.method, operation.path).status_code == 200
