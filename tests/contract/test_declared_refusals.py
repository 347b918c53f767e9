"""Each refusal that the document declares for an operation, met there: none is declared that cannot be."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.backends.signals import connection_created
from django.test import RequestFactory, override_settings

from orchestrator import answer_size, rate_limit
from orchestrator.database_term import Seen, TermGuard
from orchestrator.idempotency.claim import key_of
from orchestrator.problems import InternalError
from sessions_app.models import Approval, Task
from sessions_app.models.approval import MAX_OPEN, MAX_OPEN_BARE
from sessions_app.models.session import MAX_OPEN_OF_TASK
from sessions_app.quotas import counts
from tests.admin import person
from tests.api import Api, token
from tests.contract.api_document import Operation, assert_as_documented, operations
from tests.contract.ready import OLGA, ready
from tests.database import service_connection, superuser_connection
from tests.sessions_app.approval_calls import (
    ACTION,
    PAST,
    agree,
    ask,
    ask_at_creation,
    ask_for_action,
    lapse_grant,
    question,
    refuse,
    task_of,
)
from tests.sessions_app.session_calls import UNKNOWN_ID, overdue_session, session_in, somebody
from tests.sessions_app.task_calls import lapse, pass_deadline, path, task_in
from tests.work import move_session, open_session

pytestmark = pytest.mark.django_db(transaction=True)

DECLARED = [
    pytest.param(operation, slug, id=f"{operation} {slug}")
    for operation in operations()
    for slug in sorted(operation.refusals)
    # A fault of ours may be anywhere, and is not to be had for the asking.
    if slug != InternalError.slug
]


@pytest.mark.parametrize(("operation", "slug"), DECLARED)
def test_a_declared_refusal_is_met(operation: Operation, slug: str) -> None:
    answer = REFUSED[slug](Call(operation))
    assert_as_documented(answer, operation)
    assert answer.json()["type"] == f"/problems/{slug}"
    assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize("operation", [pytest.param(operation, id=str(operation)) for operation in operations()])
def test_the_same_call_without_what_is_wrong_succeeds(operation: Operation) -> None:
    answer = Call(operation).ask()
    assert answer.status_code == operation.success
    assert_as_documented(answer, operation)


class Call:
    """A call that would succeed, for a refusal to spoil."""

    def __init__(self, operation: Operation) -> None:
        self.operation, self.method, self.about = operation, operation.method, ready(operation)
        self.path, self.body = self.about.path + self.about.query, self.about.body

    @property
    def task(self) -> Task:
        """The task that it is about."""
        if isinstance(self.about.row, Approval):
            return task_of(self.about.row)
        assert isinstance(self.about.row, Task)
        return self.about.row

    def ask(self, roles: str | None = None, client: str = settings.LOCAL_CLIENT, **headers: str) -> Any:
        """Send it, by a client."""
        known, caller = {**self.about.headers, **headers}, token("olga", roles or self.about.roles, client=client)
        return Api(caller).send(self.method, self.path, self.body, **known)

    def ask_raw(self, body: bytes, content_type: str = "application/json") -> Any:
        """Send other bytes."""
        caller = Api(token("olga", roles=self.about.roles))
        return caller.send_raw(self.method, self.path, body, content_type, **self.about.headers)

    def ask_nobody(self) -> Any:
        """Send it without a token, as the first who fails to authenticate for a while."""
        rate_limit.of_failures.cache_clear()
        return Api(None).send(self.method, self.path, self.body)

    def ask_with(self, query: str) -> Any:
        """Send it with one more query parameter."""
        self.path += f"{'&' if '?' in self.path else '?'}{query}"
        return self.ask()

    def ask_about(self, pk: object, **how: str) -> Any:
        """Send it for another row."""
        self.path = self.operation.path.replace("{id}", str(pk)) + self.about.query
        return self.ask(**how)

    def ask_on(self, approval: Approval, **how: str) -> Any:
        """Send it for another approval; where it names no approval, decide the one of its task."""
        if "{id}" in self.operation.path:
            return self.ask_about(approval.pk, **how)
        self.body = {"task_id": str(approval.task_id), "decision": "approved"}
        return self.ask(**how)


def _service_unavailable(call: Call) -> Any:
    with _database_away():
        return call.ask()


def _database_stale(call: Call) -> Any:
    with _database_replaced():
        return call.ask()


def _too_many_requests(call: Call) -> Any:
    with _limited_to_one_call():
        call.ask()
        return call.ask()


def _in_flight(call: Call) -> Any:
    """While somebody else's transaction holds the key."""
    owner = somebody("olga")
    key = key_of(RequestFactory().post("/sessions"), owner, "held", {})
    with service_connection() as beside:
        beside.execute("BEGIN")
        beside.execute("SELECT idempotency_reserve(%s, %s)", [key.k, key.fp])
        return call.ask(idempotency_key="held")


def _with_the_key_of_another(call: Call) -> Any:
    Api(token("olga", roles="operator")).post("/sessions", {"agent_role": "it"}, idempotency_key="used")
    return call.ask(idempotency_key="used")


def _with_a_forged_answer(call: Call) -> Any:
    """After somebody has written to the store of the answers, past the service."""
    call.ask(idempotency_key="forged")
    with superuser_connection() as beside:
        beside.execute("UPDATE idempotency_records SET body = 'forged'")
    return call.ask(idempotency_key="forged")


def _in_a_state_that_forbids_it(call: Call) -> Any:
    if call.path.startswith("/approvals"):
        return _on_what_is_over(call)
    over = {"DELETE /tasks/{id}": "pending", "POST /tasks/{id}/retry": "completed", "DELETE /sessions/{id}": "pending"}
    make = task_in if call.path.startswith("/tasks") else session_in
    return call.ask_about(make(over.get(str(call.operation), "completed")).pk)


def _on_what_is_over(call: Call) -> Any:
    if call.path.endswith("/consume"):
        return call.ask_on(ask(by=OLGA))
    if "{id}" in call.operation.path:
        return call.ask_on(agree(ask(approver_role="finance")))
    call.body["task_id"] = str(task_in("completed").pk)
    return call.ask()


def _in_ones_own_matter(call: Call) -> Any:
    return call.ask_on(ask(by=OLGA, approver_role="finance"))


def _after_a_weak_login(call: Call) -> Any:
    with override_settings(APPROVAL_ACR_VALUES=("mfa",)):
        return call.ask_on(ask(approver_role="finance"))


def _of_several(call: Call) -> Any:
    task = task_in("pending")
    ask(task, approver_role="finance")
    return call.ask_on(ask(task, approver_role="finance"))


def _having_agreed(call: Call) -> Any:
    approval = ask(approver_role="finance", required_approvals=2)
    return call.ask_on(agree(approval, "olga"))


def _with_another_action(call: Call) -> Any:
    call.body = {"action": {**call.body["action"], "amount": 1}}
    return call.ask()


def _without_its_lease(call: Call) -> Any:
    lapse(call.task)
    return call.ask()


def _past_its_deadline(call: Call) -> Any:
    if str(call.operation) == "POST /approvals":
        approval = ask(approver_role="finance")
        pass_deadline(task_of(approval))
        return call.ask_on(approval)
    pass_deadline(call.task)
    return call.ask()


def _requested_before(call: Call) -> Any:
    if call.method == "DELETE":
        return _requested_by_another(call)
    call.body["action"] = ACTION
    return _twice(call)


def _requested_by_another(call: Call) -> Any:
    """A deletion that another operator requested first. Olga replaced that request."""
    deletion = _deletion(call)
    former = ask_for_action(deletion, by=somebody("otto"))
    new = {"approver_role": "board", "replaces": str(former.pk), "action": deletion, "reason": "so"}
    assert Api(token("olga", "operator")).post("/approvals", new).status_code == 201
    with override_settings(DELETE_NEEDS_SECOND_PERSON=True):
        return call.ask()


def _rejected_before(call: Call) -> Any:
    if call.method == "DELETE":
        refuse(ask_for_action(_deletion(call), by=OLGA))
        with override_settings(DELETE_NEEDS_SECOND_PERSON=True):
            return call.ask()
    call.body = {"approver_role": "manager", "action": ACTION}
    refuse(ask_for_action(ACTION, by=OLGA))
    return call.ask()


def _deletion(call: Call) -> dict[str, str]:
    noun = "task" if call.path.startswith("/tasks") else "session"
    return {"act": f"{noun}.delete", f"{noun}_id": str(call.about.row.pk)}


def _with_too_many_open(call: Call) -> Any:
    if call.method == "DELETE":
        for number in range(MAX_OPEN_BARE):
            ask_for_action({"number": number}, by=OLGA)
        with override_settings(DELETE_NEEDS_SECOND_PERSON=True):
            return call.ask()
    for _ in range(MAX_OPEN - 1):
        ask(call.task)
    return call.ask()


def _with_too_many_open_sessions(call: Call) -> Any:
    task = task_in("pending")
    for _ in range(MAX_OPEN_OF_TASK):
        open_session(task=task)
    call.body = {**call.body, "task_id": str(task.pk)}
    return call.ask()


def _without_approvers(call: Call) -> Any:
    """Before the first person has logged in to the admin."""
    if call.path.endswith("/retry"):
        task, [required] = ask_at_creation(question())
        refuse(required)
        call.path = path(task, "retry")
    elif call.path.startswith("/tasks") and call.method == "POST":
        call.body = {**call.body, "requires_approval": {"approver_role": "manager"}}
    with override_settings(APPROVER_DIRECTORY="people", DELETE_NEEDS_SECOND_PERSON=True):
        return call.ask()


def _while_it_can_be_decided(call: Call) -> Any:
    person("petra", roles=("approver",), agent_roles=("finance",))
    call.body = {**call.body, "replaces": str(call.about.row.pk), "reason": "so"}
    return call.ask()


def _without_a_decision(call: Call) -> Any:
    return call.ask_on(ask(approver_role="finance", required_approvals=2))


def _after_its_grant_lapsed(call: Call) -> Any:
    assert isinstance(call.about.row, Approval)
    lapse_grant(call.about.row)
    return call.ask()


def _with_a_decision_about_it(call: Call) -> Any:
    if call.path.startswith("/tasks"):
        # A blocked task fails when its request is rejected.
        return call.ask_about(task_of(refuse(ask())).pk)
    session = session_in("active")
    agree(ask_for_action(session=session))
    return call.ask_about(move_session(session, "completed", by=somebody()).pk)


def _with_a_session(call: Call) -> Any:
    open_session(task=call.task)
    return call.ask()


def _twice(call: Call) -> Any:
    call.ask()
    return call.ask()


def _with_too_long_an_answer(call: Call) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answer_size, "MAX_BYTES", 1)
        if "{id}" not in call.operation.path:
            return call.ask()
        open_session(task=call.task)
        return call.ask_with("include=sessions")


def _beyond_a_quota(call: Call) -> Any:
    """With a quota of one of each, and one of each there."""
    session_in("active")
    task_in("active")
    task_in("pending")
    counts._kept.clear()
    limits = dict.fromkeys(("QUOTA_OPEN_SESSIONS", "QUOTA_PENDING_TASKS", "QUOTA_HELD_LEASES"), 1)
    with override_settings(**limits):
        return call.ask()


REFUSED: Mapping[str, Callable[[Call], Any]] = {
    "bad-request": lambda call: call.ask(host="elsewhere.example"),
    "invalid-json": lambda call: call.ask_raw(b"{"),
    "invalid-request": lambda call: call.ask_with("nonsense=1"),
    "unauthenticated": lambda call: call.ask_nobody(),
    "insufficient-user-authentication": _after_a_weak_login,
    "client-may-not-decide": lambda call: call.ask_on(ask(approver_role="finance"), client="chat"),
    "forbidden": lambda call: call.ask(roles="nobody"),
    "not-found": lambda call: call.ask_about(UNKNOWN_ID),
    "illegal-transition": _in_a_state_that_forbids_it,
    "request-in-flight": _in_flight,
    "separation-of-duties": _in_ones_own_matter,
    "approval-expired": lambda call: call.ask_on(ask(approver_role="finance", lasting=PAST)),
    "already-decided": _having_agreed,
    "no-pending-approval": lambda call: call.ask_on(agree(ask(approver_role="finance"))),
    "several-pending-approvals": _of_several,
    "action-mismatch": _with_another_action,
    "already-consumed": _twice,
    "already-requested": _requested_before,
    "already-rejected": _rejected_before,
    "too-many-open-approvals": _with_too_many_open,
    "too-many-open-sessions": _with_too_many_open_sessions,
    "no-approver": _without_approvers,
    "still-decidable": _while_it_can_be_decided,
    "no-decision": _without_a_decision,
    "approval-lapsed": _after_its_grant_lapsed,
    "retained": _with_a_decision_about_it,
    "session-expired": lambda call: call.ask_about(overdue_session("pending").pk),
    "lease-lost": _without_its_lease,
    "deadline-exceeded": _past_its_deadline,
    "still-referenced": _with_a_session,
    "already-retried": _twice,
    "precondition-failed": lambda call: call.ask(if_match='"99"'),
    "answer-too-large": _with_too_long_an_answer,
    "body-too-large": lambda call: call.ask_raw(b" " * (settings.MAX_BODY_BYTES + 1)),
    "unsupported-media-type": lambda call: call.ask_raw(b"agent_role=finance", "text/plain"),
    "idempotency-key-mismatch": _with_the_key_of_another,
    "stored-answer-invalid": _with_a_forged_answer,
    "too-many-requests": _too_many_requests,
    "quota-exceeded": _beyond_a_quota,
    "service-unavailable": _service_unavailable,
    "database-stale": _database_stale,
}


@contextmanager
def _database_replaced() -> Iterator[None]:
    """While a database of a later era was seen."""
    with TemporaryDirectory() as folder:
        term = Path(folder) / "term"
        term.write_text(Seen(era=1_000).text())
        guard = TermGuard(term)
        connection.close()
        connection_created.connect(guard.judge)
        try:
            yield
        finally:
            connection_created.disconnect(guard.judge)


@contextmanager
def _database_away() -> Iterator[None]:
    host = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nowhere"
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["HOST"] = host


@contextmanager
def _limited_to_one_call() -> Iterator[None]:
    limit = settings.RATE_LIMIT
    settings.RATE_LIMIT = (1, 60)
    rate_limit.of_subjects.cache_clear()
    try:
        yield
    finally:
        settings.RATE_LIMIT = limit
        rate_limit.of_subjects.cache_clear()
