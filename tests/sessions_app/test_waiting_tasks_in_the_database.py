"""Which tasks the database lets go on, and who must not hold one, in plain SQL as the service and as the owner."""

from collections.abc import Callable

import pytest
from psycopg.errors import IntegrityConstraintViolation

from sessions_app.models import Approval, Task
from tests import work
from tests.api import Api, token
from tests.database import without_trigger
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import agree, ask, ask_at_creation, question, task_of, withdraw
from tests.sessions_app.approval_sql import ISSUER, Beside, move, refused, say

pytestmark = pytest.mark.django_db(transaction=True)


# A task that waits goes on by agreement alone.


@pytest.mark.parametrize("status", ["pending", "completed"])
def test_refuses_to_let_a_task_go_on_that_waits(beside: Beside, status: str) -> None:
    task = task_of(ask())
    with refused(beside, IntegrityConstraintViolation, "waits for an approval"):
        move(beside, task, status=status)


def test_refuses_to_let_a_task_go_on_while_another_is_open(beside: Beside) -> None:
    first = ask()
    ask(task_of(first), approver_role="board")
    agree(first)
    with refused(beside, IntegrityConstraintViolation, "waits for an approval"):
        move(beside, task_of(first), status="pending")


NOT_APPROVED = "was not approved"


def _added() -> Approval:
    return ask()


def _required() -> Approval:
    _, (approval,) = ask_at_creation(question())
    return approval


@pytest.mark.parametrize(
    ("make", "status"),
    [(_required, "cancelled"), (_required, "expired"), (_added, "expired")],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_refuses_to_let_a_task_go_on_to_which_nobody_agreed(
    beside: Beside, make: Callable[[], Approval], status: str
) -> None:
    approval = make()
    with refused(beside, IntegrityConstraintViolation, NOT_APPROVED):
        move(beside, approval, status=status)
        move(beside, task_of(approval), status="pending")


def test_passes_a_task_whose_added_requests_were_cancelled(beside: Beside) -> None:
    approval = ask()
    with beside.transaction():
        move(beside, approval, status="cancelled")
        move(beside, task_of(approval), status="pending")
    assert task_of(approval).status == "pending"


def test_refuses_to_let_a_task_go_on_after_a_withdrawal_and_the_answer_of_others(beside: Beside) -> None:
    first = _required()
    ask(task_of(first), approver_role="board")
    second = ask(task_of(first), approver_role="desk")
    withdraw(first, by=task_states.manager())
    agree(second)
    with refused(beside, IntegrityConstraintViolation, NOT_APPROVED):
        open_one = Approval.objects.get(status="pending")
        say(beside, open_one, "max")
        move(beside, open_one, granted=1, status="approved")
        move(beside, task_of(first), status="pending")


def test_refuses_to_let_a_task_go_on_for_what_its_holder_was_granted(beside: Beside) -> None:
    task, lease_token = task_states.held()
    agree(ask(task))
    body = {"lease_token": lease_token}
    assert Api(token("finn")).post(f"/tasks/{task.pk}/release", body).status_code == 200
    approval = ask(task)
    with refused(beside, IntegrityConstraintViolation, NOT_APPROVED):
        move(beside, approval, status="expired")
        move(beside, task_of(approval), status="pending")


# Whoever decided about a task does not do it.

LEASE = {
    "status": "active",
    "lease_epoch": 1,
    "lease_token_hash": bytes(32),
    "lease_seconds": 60,
    "lease_expires_at": "2099-01-01T00:00Z",
    "lease_issuer": ISSUER,
}


@pytest.mark.parametrize(
    "holder",
    [
        {"lease_subject": "petra"},
        {"lease_subject": "bot", "lease_for_issuer": ISSUER, "lease_for_subject": "petra"},
    ],
    ids=["themselves", "through an agent"],
)
def test_refuses_a_holder_who_decided(beside: Beside, holder: dict[str, str]) -> None:
    task = task_of(agree(ask()))
    with refused(beside, IntegrityConstraintViolation, "its holder decided about it"):
        move(beside, task, **LEASE, **holder)
    with beside.transaction():
        move(beside, task, **LEASE, lease_subject="paul")
    with refused(beside, IntegrityConstraintViolation, "its holder decided about it"):
        move(beside, Task.objects.get(pk=task.pk), **holder)


def test_refuses_to_let_a_task_go_on_whose_approvals_are_gone(beside: Beside) -> None:
    approval = ask()
    alone = without_trigger("approvals", "approvals_z_go_with_their_subject")
    with alone, refused(beside, IntegrityConstraintViolation, "no request is about task"):
        beside.execute("DELETE FROM approvals WHERE id = %s", [approval.pk])
        end = work.written_for(approval, event_type="approval.deleted", to_status=None)
        work.insert(beside, "audit_events", end)
        move(beside, task_of(approval), status="pending")


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_passes_the_end_of_a_task_that_waits(beside: Beside, status: str) -> None:
    task = task_of(ask())
    with beside.transaction():
        move(beside, task, status=status)
    assert Task.objects.get(pk=task.pk).status == status
