"""The client has every call of the API's document, with every field and parameter, and reads every answer."""

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

import pytest

from agent_mesh import shapes
from agent_mesh.client import Client
from tests.agent_mesh.in_process import Wire, client
from tests.api import token
from tests.contract.api_document import Operation, document, operations, resolved
from tests.contract.ready import Ready, ready

Use = Callable[[Client, Ready], Any]


def held(ready: Ready) -> dict[str, Any]:
    body = dict(ready.body)
    body.pop("retryable", None)
    return body | (body.pop("error", None) or {})


CALLS: dict[str, tuple[Callable[[Client], Any], Use]] = {
    "open_session": (lambda c: c.sessions.open, lambda c, _: c.sessions.open("finance")),
    "list_sessions": (lambda c: c.sessions.page, lambda c, _: c.sessions.page(status=["pending", "active"])),
    "get_session": (lambda c: c.sessions.get, lambda c, r: c.sessions.get(r.row.pk)),
    "update_session": (lambda c: c.sessions.update, lambda c, r: c.sessions.update(r.row.pk, status="active")),
    "patch_session": (lambda c: c.sessions.patch, lambda c, r: c.sessions.patch(r.row.pk, {"metadata": None})),
    "delete_session": (lambda c: c.sessions.delete, lambda c, r: c.sessions.delete(r.row.pk, reason="so", version=3)),
    "route_task": (lambda c: c.tasks.route, lambda c, _: c.tasks.route("finance", "routing")),
    "create_task": (
        lambda c: c.tasks.create,
        lambda c, _: c.tasks.create("routing", "finance", requires_approval={"approver_role": "manager"}),
    ),
    "list_tasks": (lambda c: c.tasks.page, lambda c, _: c.tasks.page(to_role="finance")),
    "get_task": (
        lambda c: c.tasks.get,
        lambda c, r: c.tasks.get(r.row.pk, include=["sessions", "approvals", "attempts"]),
    ),
    "claim_tasks": (lambda c: c.tasks.claim, lambda c, _: c.tasks.claim(roles=["finance"], at_most=2)[0]),
    "heartbeat_task": (lambda c: c.tasks.heartbeat, lambda c, r: c.tasks.heartbeat(r.row.pk, **held(r))),
    "complete_task": (lambda c: c.tasks.complete, lambda c, r: c.tasks.complete(r.row.pk, **held(r))),
    "fail_task": (lambda c: c.tasks.fail, lambda c, r: c.tasks.fail(r.row.pk, **held(r))),
    "release_task": (lambda c: c.tasks.release, lambda c, r: c.tasks.release(r.row.pk, **held(r))),
    "cancel_task": (lambda c: c.tasks.cancel, lambda c, r: c.tasks.cancel(r.row.pk, reason="so", version=1)),
    "force_release_task": (lambda c: c.tasks.force_release, lambda c, r: c.tasks.force_release(r.row.pk, reason="so")),
    "retry_task": (lambda c: c.tasks.retry, lambda c, r: c.tasks.retry(r.row.pk)),
    "delete_task": (lambda c: c.tasks.delete, lambda c, r: c.tasks.delete(r.row.pk, reason="so")),
    "request_or_decide_approval": (
        lambda c: c.approvals.request,
        lambda c, r: c.approvals.request(r.body["task_id"], "manager", action={"amount": 1}),
    ),
    "list_approvals": (lambda c: c.approvals.page, lambda c, _: c.approvals.page(status="pending")),
    "get_approval": (lambda c: c.approvals.get, lambda c, r: c.approvals.get(f"approval-{r.row.pk}")),
    "approve_approval": (lambda c: c.approvals.approve, lambda c, r: c.approvals.approve(r.row.pk, comments="so")),
    "reject_approval": (lambda c: c.approvals.reject, lambda c, r: c.approvals.reject(r.row.pk)),
    "withdraw_decision": (lambda c: c.approvals.withdraw, lambda c, r: c.approvals.withdraw(r.row.pk, comments="so")),
    "cancel_approval": (lambda c: c.approvals.cancel, lambda c, r: c.approvals.cancel(r.row.pk)),
    "consume_approval": (lambda c: c.approvals.consume, lambda c, r: c.approvals.consume(r.row.pk, r.body["action"])),
    "list_events": (lambda c: c.audit.page, lambda c, _: c.audit.page(order="oldest")),
    "get_event": (lambda c: c.audit.get, lambda c, r: c.audit.get(r.row.pk)),
    "export_events": (lambda c: c.audit.export, lambda c, _: next(c.audit.export())),
    "ingest_event": (lambda c: c.audit.ingest, lambda c, r: c.audit.ingest(**r.body)),
    "get_index": (lambda c: c.service.index, lambda c, _: c.service.index()),
    "get_status": (lambda c: c.service.status, lambda c, _: c.service.status()),
    "get_livez": (lambda c: c.service.alive, lambda c, _: c.service.alive()),
    "get_readyz": (lambda c: c.service.ready, lambda c, _: c.service.ready()),
    "get_health": (lambda c: c.service.health, lambda c, _: c.service.health()),
}
"""By the document's name of it: the method, and a use of it that succeeds on the row that is ready for that."""

ROWS = {"id", "session_id", "task_id", "approval_id", "event_id"}
"""An id in a path is `id`; a method says of what."""

OTHER_NAMES = {
    "If-Match": "version",
    "Idempotency-Key": "idempotency_key",
    "traceId": "trace_id",
    "max": "at_most",
    "task": "task_type",
    "error": "code",
}
SAID_ELSEWHERE = {
    "limit",  # the second name of page_size
    *("cursor", "wait", "If-None-Match", "format", "decision"),  # walk, wait, get_if_changed, export_csv, decide
    "Prefer",  # the client sends what the service knows: it needs no lenience
    *("X-Request-Id", "X-Trace-Id", "traceparent"),  # the service mints one; traced
}

# By name: what another method takes of the same call.
KEPT_APART = {
    "list_tasks": {"target"},  # the second name of to_role
    "request_or_decide_approval": {"comments"},  # decide
    "get_task": {"version"},  # wait
    "get_approval": {"version"},
}


def named(name: str) -> Operation:
    [found] = [one for one in operations() if one.said["operationId"] == name]
    return found


def taken_by(method: Any) -> set[str]:
    """The names that a method takes, those of its filters or of its patch among them."""
    hints = get_type_hints(method)
    taken = set(inspect.signature(method).parameters)
    for holder in ("filters", "patch"):
        if holder in hints:
            [kind] = typing.get_args(hints[holder]) or (hints[holder],)
            taken |= set(get_type_hints(kind))
    return taken


def said_of(operation: Operation) -> Iterator[str]:
    """The parameters, and the members of the body."""
    for parameter in operation.said.get("parameters", []):
        yield resolved(parameter)["name"]
    for content in operation.said.get("requestBody", {}).get("content", {}).values():
        schema = resolved(content["schema"])
        for one in map(resolved, schema.get("oneOf", [schema])):
            yield from one["properties"]


@pytest.mark.django_db
def test_the_client_has_every_call_of_the_document_and_no_other() -> None:
    assert set(CALLS) == {operation.said["operationId"] for operation in operations()}


@pytest.mark.django_db
@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_all_that_the_document_has_of_it(name: str) -> None:
    said = {OTHER_NAMES.get(field, field) for field in said_of(named(name)) if field not in SAID_ELSEWHERE}
    taken = taken_by(CALLS[name][0](client("")))
    assert said - taken - ROWS - KEPT_APART.get(name, set()) == set()
    assert len(ROWS & taken) >= len(ROWS & said)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_the_documents_and_succeeds(name: str) -> None:
    operation = named(name)
    prepared = ready(operation) if not operation.is_public else None
    roles = prepared.roles if prepared else "operator"
    wire = Wire()
    me = client(token("olga", roles, "finance"), wire)
    answered = CALLS[name][1](me, prepared)  # type: ignore[arg-type]
    [sent] = wire.sent
    path = re.sub(r"/(approval-)?[0-9a-f-]{36}", "/{id}", sent.url.path)
    assert (sent.method, path) == (operation.method, operation.path)
    # Claims and heartbeats have no use for a key, and reads none either.
    keyed = any("Idempotency-Key" in str(parameter) for parameter in operation.said["parameters"])
    assert ("Idempotency-Key" in sent.headers) == keyed
    assert answered is not None or operation.method == "DELETE"


SHAPES = {
    "Session": shapes.Session,
    "SessionPage": shapes.SessionPage,
    "Task": shapes.Task,
    "TaskWithParts": shapes.TaskWithParts,
    "TaskPage": shapes.TaskPage,
    "ClaimedTask": shapes.ClaimedTask,
    "LeaseOut": shapes.Lease,
    "GrantedLeaseOut": shapes.GrantedLease,
    "ProgressOut": shapes.Progress,
    "ErrorOut": shapes.Failure,
    "HeartbeatOut": shapes.Kept,
    "AttemptOut": shapes.Attempt,
    "Approval": shapes.Approval,
    "ApprovalPage": shapes.ApprovalPage,
    "DecisionOut": shapes.Decision,
    "EarlierOut": shapes.Earlier,
    "DecidedOut": shapes.Decided,
    "Event": shapes.Event,
    "EventPage": shapes.EventPage,
    "IngestedOut": shapes.Ingested,
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_has_the_fields_of_the_document(name: str) -> None:
    schema, shape = document()["components"]["schemas"][name], SHAPES[name]
    assert shape.__required_keys__ | shape.__optional_keys__ == set(schema["properties"])  # type: ignore[attr-defined]
    assert shape.__required_keys__ == set(schema.get("required", []))  # type: ignore[attr-defined]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("SessionStatus", shapes.SessionStatus),
        ("TaskStatus", shapes.TaskStatus),
        ("ApprovalStatus", shapes.ApprovalStatus),
        ("Verdict", shapes.Verdict),
    ],
)
def test_the_states_are_the_documents(said: str, known: Any) -> None:
    assert list(typing.get_args(known)) == document()["components"]["schemas"][said]["enum"]


@pytest.mark.django_db
def test_the_kinds_of_requests_are_the_documents() -> None:
    schema = document()["components"]["schemas"]["Approval"]["properties"]["kind"]
    [one] = schema.get("allOf", [schema])
    assert list(typing.get_args(shapes.ApprovalKind)) == resolved(one)["enum"]
