"""Schemathesis over the whole document: whatever is sent, no fault of ours, and no answer that the document lacks."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core import NotSet
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from audit_app.models import AuditEvent
from orchestrator import ids
from orchestrator.wsgi import application
from sessions_app.models import Approval
from tests.api import token
from tests.contract.api_document import Operation, operations
from tests.sessions_app.approval_calls import ACTION, PAST, SETTLED, agree, ask
from tests.sessions_app.session_calls import STATES, overdue_session, session_in, somebody
from tests.sessions_app.task_calls import STATES as TASK_STATES
from tests.sessions_app.task_calls import Held, claimed, pass_deadline, task_in

Case: TypeAlias = "schemathesis.Case[Any]"

pytestmark = pytest.mark.django_db(transaction=True)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    missing_required_header,
    unsupported_method,
]
EVERY_TIME = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
FEW = 8
"""For every day; `make test-service` walks as far as it takes to meet what nearly every call can meet."""
OVERDUE, UNKNOWN = "overdue", "unknown"
HOLDER = somebody("olga")


def _document(**settings: Any) -> OpenApiSchema:
    config = schemathesis.Config.from_dict({"seed": 20260131, **settings})
    return schemathesis.openapi.from_wsgi("/api-docs/openapi.json", application, config=config)


document = _document()
# Without the cases that go through each keyword of each schema, which are most of them.
document_in_brief = _document(phases={"coverage": {"enabled": False}})


@pytest.fixture
def operator_token() -> str:
    return token("olga", roles="operator,agent")


@pytest.fixture
def approver_token() -> str:
    """Olga's as well, who may decide besides."""
    return token("olga", roles="operator,agent,approver")


class Met:
    """What one operation answered."""

    def __init__(self) -> None:
        self.operation: Operation | None = None
        self.statuses: set[int] = set()

    def note(self, case: Case, answer: schemathesis.Response) -> None:
        """One more answer. A call with a method that the path does not take is not one of the operation's."""
        self.operation = Operation(case.operation.method.upper(), case.operation.path)
        if case.method == self.operation.method:
            self.statuses.add(answer.status_code)


@pytest.fixture
def met() -> Iterator[Met]:
    """Fails where the walk did not come by what it must: what is refused at the door shows little of what is behind."""
    met = Met()
    yield met
    assert met.operation is not None
    expected = {met.operation.success}
    if "{id}" in met.operation.path:
        # What is generated differs with what else the process has loaded: only what nearly every call can meet is asked
        # for. tests/contract/test_declared_refusals.py provokes each refusal there is.
        expected |= {400, 404} if met.operation.method == "GET" else {400, 404, 409}
    assert met.statuses >= expected


@document_in_brief.parametrize()
@settings(EVERY_TIME, max_examples=FEW)
def test_a_few_answers_of_each_kind_are_in_the_document(case: Case, approver_token: str) -> None:
    noun = case.operation.path.split("/")[1]
    _NAMING.get(noun, _wait_for_nothing)(case)
    _call(case, approver_token, Met())


@pytest.mark.slow
@document.include(tag="sessions").parametrize()
@settings(EVERY_TIME, max_examples=60)
def test_every_answer_about_sessions_is_in_the_document(case: Case, operator_token: str, met: Met) -> None:
    _name_a_session(case)
    _call(case, operator_token, met)


@pytest.mark.slow
@document.include(tag="tasks").parametrize()
@settings(EVERY_TIME, max_examples=40)
def test_every_answer_about_tasks_is_in_the_document(case: Case, operator_token: str, met: Met) -> None:
    _name_a_task(case)
    _call(case, operator_token, met)


@pytest.mark.slow
@document.include(tag="approvals").parametrize()
@settings(EVERY_TIME, max_examples=60)
def test_every_answer_about_approvals_is_in_the_document(case: Case, approver_token: str, met: Met) -> None:
    _name_an_approval(case)
    _call(case, approver_token, met)


@pytest.mark.slow
@document.include(tag="audit").parametrize()
@settings(EVERY_TIME, max_examples=40)
def test_every_answer_about_the_trail_is_in_the_document(case: Case, operator_token: str, met: Met) -> None:
    _name_an_event(case)
    _call(case, operator_token, met)


@pytest.mark.slow
@document.include(tag="service").parametrize()
@settings(EVERY_TIME, max_examples=10)
def test_every_answer_of_the_service_is_in_the_document(case: Case, operator_token: str, met: Met) -> None:
    _call(case, operator_token, met)


def test_every_operation_is_walked() -> None:
    assert {tag for operation in operations() for tag in operation.said["tags"]} == {
        *("sessions", "tasks", "approvals", "audit", "service")
    }


def _call(case: Case, operator_token: str, met: Met) -> None:
    if case.method != case.operation.method.upper() and "Idempotency-Key" in (case.headers or {}):
        # The key would be that of the case's own method, and its use for another comes before a 405.
        del case.headers["Idempotency-Key"]
    answer = case.call(headers={"Authorization": f"Bearer {operator_token}"})
    met.note(case, answer)
    case.validate_response(answer, checks=CHECKS)


def _name_a_session(case: Case) -> None:
    """Let an id be that of a session, in a state that what else is sent decides: the same call meets the same state.

    Now and then the caller has an older version in hand, which no generator would hit upon.
    """
    if ids.read(case.path_parameters.get("id")) is None:
        return
    state = _state(case, [*STATES, OVERDUE, UNKNOWN])
    if state != UNKNOWN:
        session = overdue_session("active") if state == OVERDUE else session_in(state)
        case.path_parameters["id"] = str(session.id)


def _name_a_task(case: Case) -> None:
    """The same for a task. Who calls holds it where it is active, and has its token in hand."""
    if isinstance(case.body, dict) and "wait_seconds" in case.body:
        case.body["wait_seconds"] = 0
    _wait_for_nothing(case)
    if ids.read((case.path_parameters or {}).get("id")) is None:
        return
    # Where it succeeds comes often, or it would hardly ever.
    verb = case.operation.path.rpartition("/")[2]
    apt = "failed" if verb == "retry" else "completed" if case.method == "DELETE" else "active"
    state = _state(case, [*TASK_STATES, *[apt] * 7, OVERDUE, *[UNKNOWN] * 6])
    if state == UNKNOWN:
        return
    task = task_in("active" if state == OVERDUE else state, by=HOLDER) if state != "active" else None
    held = claimed(by=HOLDER) if task is None else Held(task, "")
    if state == OVERDUE:
        pass_deadline(held.task)
    case.path_parameters["id"] = str(held.task.pk)
    if held.token and isinstance(case.body, dict) and isinstance(case.body.get("lease_token"), str):
        case.body["lease_token"] = held.token


def _name_an_approval(case: Case) -> None:
    """The same for an approval, or for the task or session that a body names.

    What is consumed is olga's own request, and what is withdrawn her approval; what is decided is of another.
    """
    _wait_for_nothing(case)
    body = case.body if isinstance(case.body, dict) else {}
    _name_a_subject(case, body)
    if ids.read((case.path_parameters or {}).get("id"), "approval") is None:
        return
    verb = case.operation.path.rpartition("/")[2]
    apt = "approved" if verb == "consume" else "pending"
    state = _state(case, [*SETTLED, *[apt] * 5, OVERDUE, *[UNKNOWN] * 5])
    if state == UNKNOWN:
        return
    case.path_parameters["id"] = str(_approval_in(state, verb, is_apt=state == apt).pk)
    # Half of what is sent as an action is the one that was approved.
    sent = body.get("action")
    if isinstance(sent, dict) and len(sent) % 2 == 0:
        body["action"] = dict[str, Any](ACTION)


def _name_a_subject(case: Case, body: dict[str, Any]) -> None:
    """Let the task or the session of a body be one in a state that what else is sent decides."""
    if ids.read(body.get("session_id"), "session") is not None and _state(case, ["active", UNKNOWN]) != UNKNOWN:
        body["session_id"] = str(session_in("active").pk)
    if ids.read(body.get("task_id"), "task") is None:
        return
    state = _state(case, ["pending", "pending", "active", "completed", UNKNOWN])
    if state != UNKNOWN:
        task = task_in(state)
        body["task_id"] = str(task.pk)
        if state != "completed" and "decision" in body:
            ask(task, approver_role="finance")


def _approval_in(state: str, verb: str, *, is_apt: bool) -> Approval:
    """Return an approval in a state; in the apt one the verb succeeds for olga."""
    if state not in (OVERDUE, "pending") and not is_apt:
        return SETTLED[state]()
    asked: dict[str, Any] = {"by": HOLDER, "action": ACTION} if verb == "consume" else {"approver_role": "finance"}
    if verb == "withdraw":
        asked["required_approvals"] = 2
    approval = ask(**asked, lasting=PAST) if state == OVERDUE else ask(**asked)
    decider = {"consume": "petra", "withdraw": "olga"}.get(verb)
    return agree(approval, decider) if is_apt and decider is not None else approval


def _name_an_event(case: Case) -> None:
    """The same for an event, of which there is but one kind."""
    if ids.read((case.path_parameters or {}).get("id")) is None:
        return
    if _state(case, ["there", UNKNOWN]) != UNKNOWN:
        event = AuditEvent.objects.get(subject_id=session_in("pending").pk, seq=1)
        case.path_parameters["id"] = str(event.pk)


_NAMING: dict[str, Callable[[Case], None]] = {
    "sessions": _name_a_session,
    "tasks": _name_a_task,
    "approvals": _name_an_approval,
    "audit": _name_an_event,
}


def _wait_for_nothing(case: Case) -> None:
    if case.query and "wait" in case.query:
        case.query["wait"] = "0" if str(case.query["wait"]).isdigit() else case.query["wait"]


def _state(case: Case, choices: Sequence[str]) -> str:
    body = None if isinstance(case.body, NotSet) else case.body
    sent = repr((case.path_parameters, dict(case.headers or {}), body))
    number = zlib.crc32(sent.encode(errors="replace"))
    if number // len(choices) % 4 == 0 and "If-Match" in (case.headers or {}):
        case.headers["If-Match"] = '"999"'
    return choices[number % len(choices)]
