"""What people leave behind, and might still try, once they are cut off; and how a person withdraws an approval."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from psycopg.errors import IntegrityConstraintViolation

from audit_app.models import AuditEvent
from orchestrator import boundary
from orchestrator.problems import InvalidRequest
from sessions_app.models import Approval, Attempt, Task
from sessions_app.transitions import person
from tests.api import Api, token
from tests.sessions_app import task_states
from tests.sessions_app.agreement_calls import (
    SUBJECTS,
    Asking,
    ask_again,
    cut_off,
    each_subject,
    identity,
    link,
    made_by,
    operator_actor,
)
from tests.sessions_app.approval_calls import (
    ACTION,
    agent_for,
    agree,
    ask,
    ask_at_creation,
    ask_for_action,
    asker,
    manager,
    nothing_moves,
    now,
    problem_of,
    question,
    refuse,
    task_id,
    task_of,
    where,
)
from tests.sessions_app.approval_sql import Beside, born, move, refused, say
from tests.sessions_app.session_calls import last_event, session_in, somebody
from tests.sessions_app.task_calls import pass_deadline
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

BODY = {"action": ACTION}
WORK = {"task_type": "x", "to_role": "finance"}


def cut_off_event() -> AuditEvent:
    """The one event of a cut-off."""
    return AuditEvent.objects.get(event_type="person.cut_off")


# Decisions.


@each_subject
def test_an_approval_of_a_person_who_was_cut_off_does_not_count(asking: Asking) -> None:
    approval = agree(asking(required_approvals=2))
    undone = cut_off("petra").undone
    assert (undone.set_aside, undone.released, undone.cancelled) == ([approval.pk], [], [])
    (decision,) = approval.decisions.all()
    event = last_event(approval.pk)
    assert (decision.set_aside_reason, decision.set_aside_at) == ("cut-off", event.timestamp)
    assert (event.event_type, event.cause) == ("approval.decision_set_aside", cut_off_event().pk)
    assert event.metadata["changes"]["set_aside"] == [{"issuer": settings.LOCAL_ISSUER, "subject": "petra"}]
    assert (now(approval).granted, now(approval).status) == (0, "pending")
    assert manager("max").post(where(approval, "approve"), {}).json()["status"] == "pending"
    shown = manager("nora").post(where(approval, "approve"), {}).json()
    assert shown["status"] == "approved"
    assert [(one["decider"], one["set_aside_reason"]) for one in shown["decisions"]] == [
        ("local|petra", "cut-off"),
        ("local|max", None),
        ("local|nora", None),
    ]
    assert_chain_holds(approval)


@each_subject
@pytest.mark.parametrize("decide", [agree, refuse])
def test_what_is_settled_stays(asking: Asking, decide: Callable[[Approval], Approval]) -> None:
    approval = decide(asking())
    assert cut_off("petra").undone.set_aside == []
    assert (now(approval).status, now(approval).version) == (approval.status, approval.version)
    assert approval.decisions.get().set_aside_at is None


def test_a_task_waits_on_for_the_approval_that_does_not_count() -> None:
    _, (first, second) = ask_at_creation(question(required_approvals=2), question("board"))
    agree(first)
    agree(second, "paul")
    cut_off("petra")
    assert (now(second).status, task_of(first).status) == ("approved", "blocked")
    agree(first, "max", "nora")
    assert task_of(first).status == "pending"


# Leases.


@pytest.mark.parametrize("name", ["finn", "petra"])
def test_what_a_person_or_their_agent_holds_is_released(name: str) -> None:
    held, lease_token = task_states.held(by=somebody("finn") if name == "finn" else agent_for("petra"))
    assert cut_off(name).undone.released == [held.pk]
    task, attempt, event = Task.objects.get(pk=held.pk), Attempt.objects.get(), last_event(held.pk)
    assert (task.status, task.holder, task.attempt) == ("pending", None, held.attempt)
    assert (attempt.outcome, attempt.ended_at is None) == ("force-released", False)
    assert (event.event_type, event.reason, event.cause) == ("task.force_released", "cut-off", cut_off_event().pk)
    holder = asker(name) if name == "finn" else asker("petra", act_subject="bot")
    problem_of(holder.post(f"/tasks/{task.pk}/complete", {"lease_token": lease_token}), 409, "lease-lost")
    assert len(asker("frank").post("/tasks/claim", {}).json()["tasks"]) == 1
    assert_chain_holds(task)


def test_a_task_that_was_to_end_ends_with_the_cut_off_of_its_holder() -> None:
    unwanted, late = (
        task_states.asked(),
        task_states.active(task_states.pending(deadline=datetime.now(UTC) + timedelta(days=1))),
    )
    pass_deadline(late)
    asked = ask(unwanted)
    cut_off("finn")
    states = {pk: Task.objects.get(pk=pk).status for pk in (unwanted.pk, late.pk)}
    assert states == {unwanted.pk: "cancelled", late.pk: "failed"}
    assert (now(asked).status, last_event(asked.pk).cause) == ("cancelled", last_event(unwanted.pk).pk)


# Requests.


@each_subject
@pytest.mark.parametrize("by", [None, agent_for("alice")], ids=["requested", "requested for them"])
def test_their_open_requests_are_cancelled(asking: Asking, by: Any) -> None:
    approval, settled = asking(by=by), agree(asking(by=by, action={"step": 2}))
    others = asking(by=somebody("alan"), action={"step": 3})
    assert cut_off("alice").undone.cancelled == [approval.pk]
    event = last_event(approval.pk)
    assert (now(approval).status, event.reason, event.cause) == ("cancelled", "cut-off", cut_off_event().pk)
    assert (now(settled).status, now(others).status) == ("approved", "pending")
    assert_chain_holds(approval)


def test_a_task_goes_on_without_the_request_that_they_added() -> None:
    approval = ask()
    cut_off("alice")
    assert (task_of(approval).status, last_event(task_id(approval)).event_type) == ("pending", "task.unblocked")
    assert last_event(task_id(approval)).cause == last_event(approval.pk).pk


def test_a_task_that_they_created_with_a_request_is_cancelled() -> None:
    task, (first, second) = ask_at_creation(question(), question("board"))
    beside = ask(task, by=somebody("alan"), approver_role="desk")
    cut_off("mona")
    assert {now(one).status for one in (first, second)} == {"cancelled"}
    assert (now(beside).status, task_of(first).status) == ("pending", "blocked")
    agree(beside, "dora")
    assert task_of(first).status == "cancelled"


# What they might still try. The cut-off is read every thirty seconds: until then the API lets them in.


def _granted() -> Approval:
    return agree(ask_for_action())


def _post(caller: Api, path: str, body: dict[str, Any]) -> Callable[[], Any]:
    return lambda: caller.post(path, body)


def _on(approval: Approval, verb: str, caller: Api, body: dict[str, Any] | None = None) -> Callable[[], Any]:
    return _post(caller, where(approval, verb), body or {})


def _claim(caller: Api) -> Callable[[], Any]:
    task_states.pending()
    return _post(caller, "/tasks/claim", {})


def _in_session() -> Callable[[], Any]:
    body = {"approver_role": "manager", "session_id": str(session_in("active").pk), **BODY}
    return _post(asker(), "/approvals", body)


TRIED: dict[str, tuple[str, Callable[[], Callable[[], Any]]]] = {
    "approve": ("petra", lambda: _on(ask(), "approve", manager())),
    "reject": ("petra", lambda: _on(ask(), "reject", manager())),
    "decide by task": (
        "petra",
        lambda: _post(manager(), "/approvals", {"task_id": str(ask().task_id), "decision": "approved"}),
    ),
    "withdraw": ("petra", lambda: _on(agree(ask(required_approvals=2)), "withdraw", manager())),
    "claim": ("finn", lambda: _claim(asker("finn"))),
    "claim through an agent": ("petra", lambda: _claim(asker("petra", act_subject="bot"))),
    "request about a task": (
        "alice",
        lambda: _post(asker(), "/approvals", {"task_id": str(task_states.pending().pk), "approver_role": "manager"}),
    ),
    "request": ("alice", lambda: _post(asker(), "/approvals", {"approver_role": "manager", **BODY})),
    "request in a session": ("alice", _in_session),
    "create a task that waits": (
        "alice",
        lambda: _post(asker(), "/tasks", {**WORK, "requires_approval": {"approver_role": "manager"}}),
    ),
    "consume": ("alice", lambda: _on(_granted(), "consume", asker(), BODY)),
    "consume through an agent": (
        "alice",
        lambda: _on(agree(ask_for_action(by=agent_for("alice"))), "consume", asker("alice", act_subject="bot"), BODY),
    ),
}


@pytest.mark.parametrize("linked", [False, True], ids=["themselves", "by a linked identity"])
@pytest.mark.parametrize(("name", "make"), TRIED.values(), ids=TRIED)
def test_a_person_who_was_cut_off_is_refused_at_once(
    name: str, make: Callable[[], Callable[[], Any]], linked: bool
) -> None:
    call = make()
    if linked:
        link(name, "main")
    cut_off("main" if linked else name)
    with nothing_moves():
        problem_of(call(), 401, "unauthenticated")


def test_a_person_who_was_cut_off_is_not_restored_by_a_link() -> None:
    cut_off("petra")
    with pytest.raises(InvalidRequest):
        link("p.anders", "petra")
    approval = ask()
    with nothing_moves():
        problem_of(manager().post(where(approval, "approve"), {}), 401, "unauthenticated")


def test_all_linked_identities_are_cut_off_along() -> None:
    link("p.anders", "petra")
    approval = agree(ask(required_approvals=2), "p.anders")
    held, _ = task_states.held(by=agent_for("petra"))
    asked = ask_for_action(by=somebody("p.anders"))
    undone = cut_off("petra").undone
    assert (undone.set_aside, undone.released, undone.cancelled) == ([approval.pk], [held.pk], [asked.pk])
    assert AuditEvent.objects.filter(event_type="person.cut_off").count() == 2


def test_a_second_cut_off_changes_nothing() -> None:
    agree(ask(required_approvals=2))
    cut_off("petra")
    with nothing_moves():
        undone = cut_off("petra").undone
    assert (undone.set_aside, undone.released, undone.cancelled) == ([], [], [])


def test_what_was_undone_stays_undone_after_the_person_was_restored() -> None:
    approval, asked = agree(ask(required_approvals=2)), ask_for_action(by=somebody("petra"))
    cut_off("petra")
    actor = operator_actor()
    boundary.write(lambda: person.restore(identity("petra"), actor=actor, reason="It was found."))
    assert (now(approval).granted, now(asked).status) == (0, "cancelled")
    assert manager().post(where(approval, "approve"), {}).json()["status"] == "pending"
    assert [one.set_aside_reason for one in approval.decisions.order_by("decided_at")] == ["cut-off", None]
    assert agree(approval, "max").status == "approved"


# In one tenant.


def test_a_cut_off_touches_nothing_of_another_tenant() -> None:
    acme = "acme"
    mona, alan = task_states.manager("acme"), somebody("alan", tenant=acme)
    held, _ = task_states.held(task_states.pending(by=mona), by=somebody("petra", tenant=acme))
    asked = ask_for_action(by=somebody("petra", tenant=acme))
    decided = agree(ask_for_action(by=alan, required_approvals=2))
    undone = cut_off("petra").undone
    assert (undone.set_aside, undone.released, undone.cancelled) == ([], [], [])
    assert (Task.objects.get(pk=held.pk).status, now(asked).status, now(decided).granted) == ("active", "pending", 1)
    other = ask_for_action({"step": 2}, by=alan)
    assert manager("petra", tenant=acme).post(where(other, "approve"), {}).status_code == 200
    assert made_by(asker("petra", tenant=acme).post("/approvals", {"approver_role": "manager", "action": {"step": 3}}))
    problem_of(asker("petra").post("/approvals", {"approver_role": "manager", **BODY}), 401, "unauthenticated")


# In plain SQL.


@each_subject
def test_sql_takes_no_decision_and_no_request_of_a_person_who_was_cut_off(beside: Beside, asking: Asking) -> None:
    approval, theirs = asking(), asking(by=somebody("petra"), action={"step": 2})
    cut_off("petra")
    with refused(beside, IntegrityConstraintViolation, "the decider is cut off"):
        say(beside, approval)
    for columns in (
        {},
        {"created_by_subject": "bot", "on_behalf_of_issuer": "local", "on_behalf_of_subject": "petra"},
    ):
        with refused(beside, IntegrityConstraintViolation, "the requester is cut off"):
            born(beside, theirs, **columns)


@pytest.mark.parametrize("held_for", [False, True])
def test_sql_gives_no_lease_to_a_person_who_was_cut_off(beside: Beside, held_for: bool) -> None:
    task = task_states.pending()
    cut_off("petra")
    holder = {"lease_issuer": "local", "lease_subject": "petra"}
    if held_for:
        holder = {"lease_issuer": "local", "lease_subject": "bot", "lease_for_issuer": "local"}
        holder["lease_for_subject"] = "petra"
    lease = {"status": "active", "lease_epoch": 1, "lease_token_hash": bytes(32), "lease_seconds": 60}
    with refused(beside, IntegrityConstraintViolation, "its holder is cut off"):
        move(beside, task, **lease, lease_expires_at="2099-01-01T00:00Z", **holder)


def test_an_approval_can_be_requested_again_by_another_requester() -> None:
    """What a cut-off cancels does not stand in the way of the next request."""
    for asking in SUBJECTS.values():
        approval = asking(by=somebody("alan"))
        cut_off("alan")
        assert now(approval).status == "cancelled"
        if approval.task_id or approval.session_id:
            assert ask_again(approval).status == "pending"
        actor = operator_actor()
        boundary.write(lambda: person.restore(identity("alan"), actor=actor, reason="It was found."))  # noqa: B023
    assert Api(token("olga", "operator", "")).get("/approvals").status_code == 200
