"""Who reads the trail, and who hands in events. The row is the first event of a session."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from audit_app.models import AuditEvent
from tests.api import Api
from tests.contract import session_matrix
from tests.contract.api_document import Operation
from tests.contract.callers import CALLERS, HIDDEN, Cell, Line

HANDED_IN = {"source": "ledger", "category": "payment", "action": "booked"}


def _line(*cells: Cell) -> Line:
    """Cells in the order of the callers, after the two who show no valid token; alike for both rows."""
    return {caller: (cell, cell) for caller, cell in zip(CALLERS, (401, 401, *cells), strict=True)}


def _read(unseen: Cell) -> Line:
    # other tenant; no role, the agents, the owner, the approvers; auditor, operator; service account, for a person
    return _line(unseen, 403, 403, 403, 403, 403, 403, 200, 200, 403, 403)


LINES: dict[str, Line] = {
    "GET /audit/events": _read(HIDDEN),
    "GET /audit/events/{id}": _read(404),
    "GET /audit/export": _read(HIDDEN),
    "POST /audit/ingest": _line(202, 403, 202, 202, 202, 403, 403, 403, 202, 202, 202),
}


def row(operation: Operation, whose: str, caller: str) -> AuditEvent:
    """The event that a call is about."""
    session = session_matrix.row(operation, whose, caller)
    return AuditEvent.objects.get(subject_id=session.pk, seq=1)


def asked(operation: Operation, bearer: str | None, about: AuditEvent) -> tuple[Cell, Any]:
    """What the call is answered, in the words of the matrix, and the answer."""
    where = operation.path.replace("{id}", str(about.pk))
    answer = Api(bearer).send(operation.method, where, HANDED_IN if operation.method == "POST" else None)
    if answer.status_code == 200 and "{id}" not in operation.path:
        return (200 if str(about.pk) in _listed(answer) else HIDDEN), answer
    return answer.status_code, answer


def _listed(answer: Any) -> list[str]:
    if answer.streaming:
        return [json.loads(line)["event_id"] for line in b"".join(answer.streaming_content).splitlines()]
    return [one["event_id"] for one in answer.json()["events"]]


@contextmanager
def untouched(_about: AuditEvent) -> Iterator[None]:
    """Fails if the block leaves an event."""
    count = AuditEvent.objects.count()
    yield
    assert AuditEvent.objects.count() == count
