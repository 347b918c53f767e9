"""DELETE of tasks and sessions that people decided about: when it is refused, and when a second person must agree."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from sessions_app.models import Approval, Recorded, Session, Task
from tests.api import Api, token
from tests.database import without_trigger
from tests.sessions_app import task_states
from tests.sessions_app.agreement_calls import end_session, take_back
from tests.sessions_app.approval_calls import (
    agree,
    ask,
    ask_at_creation,
    ask_for_action,
    lapse_grant,
    manager,
    nothing_but_refused,
    nothing_moves,
    now,
    problem_of,
    question,
    refuse,
    task_of,
    where,
)
from tests.sessions_app.session_calls import events_of, last_event, session_in
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)


def delete(caller: Api, row: Recorded, reason: str = "It is old.") -> Any:
    """DELETE a task or a session."""
    return caller.send("DELETE", f"/{row.NOUN}s/{row.pk}?reason={reason.replace(' ', '+')}")


def rejected_task() -> Task:
    """A task that failed since a person rejected the request that it waited for."""
    return task_of(refuse(ask_at_creation(question())[1][0]))


def done_after_approval() -> Task:
    """A task that a person approved, and that was done."""
    return task_states.completed(task_of(agree(ask_at_creation(question())[1][0])))


def cancelled_after_withdrawal() -> Task:
    """A task about which a person decided and withdrew the decision."""
    approval = take_back(agree(ask_at_creation(question(required_approvals=2))[1][0]))
    return task_states.cancelled(task_of(approval))


def ended_session() -> Session:
    """A session that is over, in which a person approved an action."""
    approval = agree(ask_for_action(session=session_in("active")))
    return end_session(approval.session_id)


DECIDED: dict[str, Callable[[], Recorded]] = {
    "rejected": rejected_task,
    "approved": done_after_approval,
    "withdrawn": cancelled_after_withdrawal,
    "session": ended_session,
}
UNDECIDED: dict[str, Callable[[], Recorded]] = {
    "never asked": task_states.completed,
    "asked and not answered": lambda: task_states.cancelled(task_of(ask())),
    "session": lambda: end_session(ask_for_action(session=session_in("active")).session_id),
}
decided = pytest.mark.parametrize("make", DECIDED.values(), ids=DECIDED)


def let_pass(row: Recorded, days: int) -> None:
    """Let so many days have passed since the end of a row."""
    table = row._meta.db_table
    with without_trigger(table, f"{table}_complete_update"), connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET updated_at = updated_at - make_interval(days => %s) WHERE id = %s", [days, row.pk]
        )
        assert cursor.rowcount == 1


@decided
def test_what_people_decided_about_is_retained(make: Callable[[], Recorded], operator: Api) -> None:
    row = make()
    with nothing_moves():
        said = problem_of(delete(operator, row), 409, "retained")
    until = datetime.fromisoformat(said["retained_until"])
    assert until == row.updated_at + timedelta(days=400)
    assert said["retained_until"] in said["detail"]


@decided
def test_it_can_be_deleted_so_many_days_after_its_end(
    make: Callable[[], Recorded], operator: Api, settings: Any
) -> None:
    settings.APPROVAL_RETENTION_DAYS = 30
    row = make()
    let_pass(row, 29)
    with nothing_moves():
        problem_of(delete(operator, row), 409, "retained")
    let_pass(row, 1)
    assert delete(operator, row).status_code == 204
    assert not type(row)._default_manager.filter(pk=row.pk).exists()
    assert not Approval.objects.exists()


@decided
def test_nothing_is_retained_for_no_days(make: Callable[[], Recorded], operator: Api, settings: Any) -> None:
    settings.APPROVAL_RETENTION_DAYS = 0
    row, (approval, *_) = make(), Approval.objects.all()
    assert delete(operator, row, "The law says so.").status_code == 204
    ends = [last_event(row.pk), events_of(approval.pk)[-1]]
    assert [(end.event_type, end.reason) for end in ends] == [
        (f"{row.NOUN}.deleted", "The law says so."),
        ("approval.deleted", "The law says so."),
    ]
    assert ends[1].cause == ends[0].pk


@pytest.mark.parametrize("make", UNDECIDED.values(), ids=UNDECIDED)
def test_what_no_person_decided_about_is_not_retained(make: Callable[[], Recorded], operator: Api) -> None:
    assert delete(operator, make()).status_code == 204


# A second person.

OVER: dict[str, Callable[[], Recorded]] = {
    "task": task_states.completed,
    "session": lambda: session_in("completed"),
}
over = pytest.mark.parametrize("make", OVER.values(), ids=OVER)


@pytest.fixture
def second_person(settings: Any) -> None:
    """A DELETE needs the approval of a second person."""
    settings.DELETE_NEEDS_SECOND_PERSON = True


def approving(name: str = "oscar", role: str = "operator") -> Api:
    """An operator who is an approver of the role that agrees to deletions."""
    return Api(token(name, "operator,approver", role))


def asked_for(answer: Any) -> Approval:
    """The request that a DELETE waits for. Fails unless the answer names it."""
    assert answer.status_code == 202, answer.content
    said = answer.json()
    assert answer.headers["Location"] == f"/approvals/{said['approval_id']}"
    return Approval.objects.get(pk=said["approval_id"])


def is_there(row: Recorded) -> bool:
    return type(row)._default_manager.filter(pk=row.pk).exists()


@over
@pytest.mark.usefixtures("second_person")
def test_a_deletion_waits_for_a_second_person(make: Callable[[], Recorded], operator: Api) -> None:
    row = make()
    approval = asked_for(delete(operator, row))
    assert (approval.action, approval.approver_role, approval.reason) == (
        {"act": f"{row.NOUN}.delete", f"{row.NOUN}_id": str(row.pk)},
        "operator",
        "It is old.",
    )
    assert is_there(row)
    with nothing_moves():
        assert asked_for(delete(operator, row)) == approval
    olga = approving("olga")
    with nothing_but_refused(("olga", "approve", "separation-of-duties")):
        problem_of(olga.post(where(approval, "approve"), {}), 403, "separation-of-duties")
    assert approving().post(where(approval, "approve"), {}).json()["status"] == "approved"
    assert is_there(row)
    assert delete(operator, row).status_code == 204
    assert not is_there(row)
    assert now(approval).consumed_at is not None
    assert last_event(row.pk).reason == "It is old."
    assert_chain_holds(approval)


@over
@pytest.mark.usefixtures("second_person")
def test_a_grant_deletes_one_row_once_and_for_its_own_operator(make: Callable[[], Recorded], operator: Api) -> None:
    row, other = make(), make()
    approval = asked_for(delete(operator, row))
    agree(approval, "oscar")
    assert asked_for(delete(operator, other)) != approval
    otto = Api(token("otto", "operator", ""))
    assert asked_for(delete(otto, row)) != approval
    assert (is_there(row), is_there(other), now(approval).consumed_at) == (True, True, None)
    assert delete(operator, row).status_code == 204
    problem_of(delete(operator, row), 404, "not-found")


@over
@pytest.mark.usefixtures("second_person")
def test_a_deletion_that_was_rejected_stays_rejected(make: Callable[[], Recorded], operator: Api) -> None:
    row = make()
    approval = refuse(asked_for(delete(operator, row)), "oscar", comments="We need it.")
    with nothing_moves():
        said = problem_of(delete(operator, row), 409, "already-rejected")
    assert (said["approval_id"], said["rejected"]["comments"]) == (str(approval.pk), "We need it.")
    assert is_there(row)


@over
@pytest.mark.usefixtures("second_person")
def test_a_grant_that_lapsed_deletes_nothing_and_is_asked_for_again(
    make: Callable[[], Recorded], operator: Api
) -> None:
    row = make()
    lapsed = agree(asked_for(delete(operator, row)), "oscar")
    lapse_grant(lapsed)
    again = asked_for(delete(operator, row))
    assert again != lapsed
    agree(again, "oscar")
    assert delete(operator, row).status_code == 204
    assert (now(lapsed).consumed_at, now(again).consumed_at is None) == (None, False)


@pytest.mark.usefixtures("second_person")
def test_who_agrees_to_deletions_is_a_setting(operator: Api, settings: Any) -> None:
    settings.DELETE_APPROVER_ROLE = "security"
    task = task_states.completed()
    approval = asked_for(delete(operator, task))
    assert approval.approver_role == "security"
    problem_of(approving().post(where(approval, "approve"), {}), 403, "forbidden")
    assert approving(role="security").post(where(approval, "approve"), {}).status_code == 200
    assert delete(operator, task).status_code == 204


@pytest.mark.usefixtures("second_person")
@decided
def test_no_person_is_asked_about_what_is_retained(make: Callable[[], Recorded], operator: Api) -> None:
    row = make()
    with nothing_moves():
        problem_of(delete(operator, row), 409, "retained")


@pytest.mark.usefixtures("second_person")
def test_no_person_is_asked_about_what_may_not_be_deleted(operator: Api, agent: Api) -> None:
    for row, caller, status in (
        (task_states.active(), operator, 409),
        (session_in("active"), operator, 409),
        (task_states.completed(), agent, 403),
        (session_in("completed"), manager("max"), 404),
    ):
        with nothing_moves():
            assert delete(caller, row).status_code == status
