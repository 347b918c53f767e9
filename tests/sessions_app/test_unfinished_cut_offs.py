"""A cut-off undoes so many rows at once, and a maintenance job the others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.db import connection

from audit_app.verification import Asked, verify
from orchestrator import boundary
from orchestrator.clock import database_now
from orchestrator.people.models import Person
from orchestrator.problems import ServiceUnavailable
from sessions_app.models import Approval, Attempt, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.task import TaskStatus
from sessions_app.transitions import cut_offs, person
from sessions_app.transitions import task as tasks
from sessions_app.unfinished_cut_offs import finish_cut_offs
from tests.database import superuser_connection, without_trigger
from tests.sessions_app.agreement_calls import cut_off, identity, operator_actor
from tests.sessions_app.approval_calls import agree, ask, ask_for_action
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_calls import FINN, MONA, claimed, pass_deadline, stored
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_offs, "MOST", 2)


def open_requests() -> list[UUID]:
    return list(Approval.objects.filter(status=ApprovalStatus.PENDING).values_list("pk", flat=True))


def ask_often(times: int, subject: str = "alice") -> list[Approval]:
    return [ask_for_action({"number": number}, by=somebody(subject)) for number in range(times)]


@contextmanager
def past_its_deadline(task: Task) -> Iterator[None]:
    """Let the deadline of a task have passed while the block runs."""
    pass_deadline(task)
    yield
    with without_trigger("tasks", "tasks_complete_update"):
        Task.objects.filter(pk=task.pk).update(deadline=task.deadline)


def test_a_cut_off_cancels_so_many_requests_and_the_job_the_others() -> None:
    made = ask_often(5)
    undone = cut_off("alice").undone
    assert len(undone.cancelled) == 2
    assert undone.may_leave_some
    assert len(open_requests()) == 3
    assert finish_cut_offs() == 3
    assert open_requests() == []
    for one in made:
        assert_chain_holds(one)
    assert finish_cut_offs() == 0


def test_a_cut_off_releases_so_many_tasks_and_the_job_the_others() -> None:
    held = [claimed().task.pk for _ in range(5)]
    undone = cut_off(FINN.identity.subject).undone
    assert len(undone.released) == 2
    assert finish_cut_offs() == 3
    assert set(Task.objects.filter(pk__in=held).values_list("status", flat=True)) == {TaskStatus.PENDING}


def test_the_job_ends_tasks_that_may_not_wait_again_and_the_trail_is_in_order(tmp_path: Path) -> None:
    for _ in range(5):
        claimed(deadline=database_now() + timedelta(hours=1))
    cut_off(FINN.identity.subject)
    called_off, overdue, free = Task.objects.filter(status=TaskStatus.ACTIVE).order_by("pk")
    boundary.write(lambda: tasks.cancel(called_off, actor=MONA))
    with past_its_deadline(overdue):
        assert finish_cut_offs() == 3
    assert [stored(task).status for task in (called_off, overdue, free)] == ["cancelled", "failed", "pending"]
    assert {one.outcome for one in Attempt.objects.all()} == {"force-released"}
    assert verify(Asked(keys=tmp_path)).findings == []


def test_a_cut_off_sets_all_approvals_aside_at_once() -> None:
    made = [agree(ask(required_approvals=2), "petra") for _ in range(5)]
    assert len(cut_off("petra").undone.set_aside) == 5
    assert finish_cut_offs() == 0
    assert set(Approval.objects.filter(pk__in=[one.pk for one in made]).values_list("granted", flat=True)) == {0}


def test_after_a_restore_nothing_more_is_undone() -> None:
    ask_often(5)
    cut_off("alice")
    boundary.write(lambda: person.restore(identity("alice"), actor=operator_actor(), reason="a mistake"))
    assert finish_cut_offs() == 0
    assert len(open_requests()) == 3


def test_the_requests_of_others_stay() -> None:
    ask_often(3)
    others = {one.pk for one in ask_often(3, "alan")}
    cut_off("alice")
    finish_cut_offs()
    assert set(open_requests()) == others


def poison_alice(monkeypatch: pytest.MonkeyPatch, fail: Callable[[], object]) -> None:
    """Cut alice and alan off, each with requests left to cancel, and let the job fail at alice, who comes first."""
    for subject in ("alice", "alan"):
        ask_often(5, subject)
        cut_off(subject)
    poison = Person.objects.get(subject="alice").pk
    finish: Callable[..., cut_offs.Undone] = person.finish_cut_off

    def failing(one: Person, **how: object) -> cut_offs.Undone:
        if one.pk == poison:
            fail()
        return finish(one, **how)

    monkeypatch.setattr("sessions_app.unfinished_cut_offs.finish_cut_off", failing)


def take_too_long() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '20ms'")
        cursor.execute("SELECT pg_sleep(5)")


def lose_the_connection() -> None:
    with connection.cursor() as cursor, superuser_connection() as beside:
        cursor.execute("SELECT pg_backend_pid()")
        beside.execute("SELECT pg_terminate_backend(%s, 5000)", cursor.fetchone())
        cursor.execute("SELECT 1")


def raise_an_error() -> None:
    raise RuntimeError("poison")


@pytest.mark.parametrize(
    ("fail", "error"),
    [(raise_an_error, RuntimeError), (take_too_long, ServiceUnavailable)],
    ids=["an error", "a statement timeout"],
)
def test_a_person_who_cannot_be_gone_through_does_not_keep_others_from_it(
    monkeypatch: pytest.MonkeyPatch, fail: Callable[[], object], error: type[Exception]
) -> None:
    poison_alice(monkeypatch, fail)
    with pytest.raises(error):
        finish_cut_offs()
    assert {Approval.objects.get(pk=pk).created_by_subject for pk in open_requests()} == {"alice"}


def test_the_job_ends_at_once_where_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    poison_alice(monkeypatch, lose_the_connection)
    with pytest.raises(ServiceUnavailable):
        finish_cut_offs()
    assert {Approval.objects.get(pk=pk).created_by_subject for pk in open_requests()} == {"alice", "alan"}
