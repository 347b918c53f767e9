"""Approvals whose time passed: what the sweep does with them, and what is refused without it."""

import io
from datetime import timedelta

import pytest
from django.core.management import call_command

from orchestrator import boundary
from sessions_app.duties import EXPIRE_APPROVALS
from sessions_app.models import Approval
from sessions_app.sweeping import Outcome, sweep
from tests.api import Api
from tests.database import superuser_connection, without_trigger
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    PAST,
    agree,
    ask,
    ask_at_creation,
    error_of,
    manager,
    nothing_moves,
    now,
    problem_of,
    question,
    task_of,
    where,
)
from tests.sessions_app.session_calls import events_of, last_event
from tests.work import assert_chain_holds, in_a_thread, insert, written_for

pytestmark = pytest.mark.django_db(transaction=True)


def swept() -> list[str]:
    out = io.StringIO()
    call_command("sweep", stdout=out)
    return out.getvalue().splitlines()


def test_expires_what_is_past_its_time_and_fails_the_task_that_waited() -> None:
    late, open_one = ask(lasting=PAST), ask()
    assert "Approvals: 1 expired." in swept()
    assert (now(late).status, now(open_one).status) == ("expired", "pending")
    task = task_of(late)
    assert (task.status, error_of(late)) == ("failed", "approval-expired")
    assert task_of(open_one).status == "blocked"
    expired, failed = last_event(late.pk), last_event(task.pk)
    assert (expired.event_type, expired.reason) == ("approval.expired", "Its time passed.")
    assert (expired.actor_issuer, expired.actor_subject, expired.actor_kind) == ("local", "job:expire_approvals", "job")
    assert (failed.event_type, failed.reason, failed.cause) == ("task.failed", "approval-expired", expired.pk)
    assert_chain_holds(late)
    assert_chain_holds(task)


def test_does_nothing_a_second_time() -> None:
    ask(lasting=PAST)
    swept()
    with nothing_moves():
        assert "Approvals: 0 expired." in swept()


def test_leaves_a_held_task_with_its_holder() -> None:
    task = task_states.active()
    late = ask(task, lasting=PAST)
    assert sweep(EXPIRE_APPROVALS) == Outcome(moved=1)
    assert now(late).status == "expired"
    assert (task_of(late).status, task_of(late).version) == ("active", task.version)


def test_closes_what_else_was_asked_about_a_task_that_fails() -> None:
    task, (late, other, granted) = ask_at_creation(question(lasting=PAST), question("board"), question("legal"))
    agree(granted)
    sweep(EXPIRE_APPROVALS)
    assert [now(one).status for one in (late, other, granted)] == ["expired", "cancelled", "approved"]
    assert last_event(other.pk).cause == last_event(task.pk).pk
    assert_chain_holds(other)


def test_several_of_one_task_expire_and_it_fails_once() -> None:
    task, asked = ask_at_creation(question(lasting=PAST), question("board", lasting=PAST))
    assert sweep(EXPIRE_APPROVALS).moved == 2
    assert {now(one).status for one in asked} == {"expired"}
    assert [event.event_type for event in events_of(task.pk)] == ["task.created", "task.failed"]
    assert last_event(task.pk).cause in {last_event(one.pk).pk for one in asked}


def test_half_an_agreement_expires_too() -> None:
    late = ask(required_approvals=2, lasting=timedelta(seconds=1))
    agree(late)
    while not boundary.read(EXPIRE_APPROVALS.rows().exists):
        pass
    sweep(EXPIRE_APPROVALS)
    assert (now(late).status, now(late).granted) == ("expired", 1)
    assert_chain_holds(late)


def test_never_touches_what_is_settled() -> None:
    settled = [agree(ask(action=ACTION, lasting=timedelta(seconds=1)))]
    late = ask(lasting=timedelta(seconds=1))
    while not boundary.read(EXPIRE_APPROVALS.rows().exists):
        pass
    assert sweep(EXPIRE_APPROVALS).moved == 1
    assert (now(late).status, now(settled[0]).status) == ("expired", "approved")


def test_works_through_more_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions_app.sweeping.BATCH", 2)
    for _ in range(5):
        ask(lasting=PAST)
    assert sweep(EXPIRE_APPROVALS).moved == 5
    assert set(Approval.objects.values_list("status", "task__status")) == {("expired", "failed")}


def test_two_sweeps_at_once_share_the_work() -> None:
    for _ in range(4):
        ask(lasting=PAST)
    others = [in_a_thread(lambda: sweep(EXPIRE_APPROVALS)) for _ in range(2)]
    assert sum(other.result(timeout=20).moved for other in others) == 4
    assert Approval.objects.filter(status="expired").count() == 4


def test_one_that_cannot_be_moved_stops_no_other() -> None:
    bad, good = ask(lasting=PAST), ask(lasting=PAST)
    with without_trigger("audit_events", "audit_events_are_true"), superuser_connection() as forger:
        insert(forger, "audit_events", written_for(bad))
    outcome = sweep(EXPIRE_APPROVALS)
    assert (outcome.moved, list(outcome.poison)) == (1, [bad.pk])
    assert (now(bad).status, task_of(bad).status, now(good).status) == ("pending", "blocked", "expired")


# Without the sweep.


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_past_its_time_nothing_is_decided_even_if_nobody_sweeps(verb: str) -> None:
    late = ask(lasting=PAST)
    problem_of(manager().post(where(late, verb), {}), 409, "approval-expired")
    assert (now(late).status, task_of(late).status) == ("pending", "blocked")
    sweep(EXPIRE_APPROVALS)
    problem_of(manager().post(where(late, verb), {}), 409, "illegal-transition")


def test_past_its_time_the_task_that_waits_is_claimed_by_nobody(agent: Api) -> None:
    late = ask(lasting=PAST)
    assert agent.post("/tasks/claim", {}).json() == {"tasks": []}
    assert task_of(late).status == "blocked"


def test_past_its_time_the_task_that_waits_can_still_be_called_off() -> None:
    late = ask(lasting=PAST)
    task_states.cancelled(task_of(late))
    assert (task_of(late).status, now(late).status) == ("cancelled", "cancelled")


def test_another_that_is_granted_does_not_let_the_task_go_on_past_the_time_of_one() -> None:
    _, (late, other) = ask_at_creation(question(lasting=PAST), question("board"))
    agree(other)
    assert (now(other).status, task_of(late).status) == ("approved", "blocked")
    sweep(EXPIRE_APPROVALS)
    assert task_of(late).status == "failed"
