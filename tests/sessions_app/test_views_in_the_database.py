"""active_sessions and pending_approvals: the two views of the database."""

from typing import Any

import psycopg
import pytest
from django.db import connection

from tests import work
from tests.database import service_connection
from tests.sessions_app.approval_calls import PAST, SETTLED, ask

pytestmark = pytest.mark.django_db(transaction=True)


def _read(view: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {view}")
        names = [column.name for column in cursor.description]
        return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def test_lists_the_active_sessions_alone() -> None:
    task = work.new_task()
    work.open_session()
    active = work.move_session(work.open_session(role="manager", task=task), "active")
    for end in ("completed", "failed", "expired"):
        work.move_session(work.open_session(), "active", end)
    assert _read("active_sessions") == [
        {
            "id": active.id,
            "role": "manager",
            "task_id": task.id,
            "created_at": active.created_at,
            "updated_at": active.updated_at,
        }
    ]


def test_a_session_leaves_the_list_when_it_ends() -> None:
    session = work.move_session(work.open_session(), "active")
    assert len(_read("active_sessions")) == 1
    work.move_session(session, "completed")
    assert _read("active_sessions") == []


def test_joins_a_pending_approval_with_its_task() -> None:
    task = work.new_task(description="Release the budget", from_role="manager", to_role="finance")
    approval = work.new_approval(task, approver_role="board", reason="over the limit")
    work.new_task(description="another")
    (row,) = _read("pending_approvals")
    columns = {field.column for field in approval._meta.concrete_fields}
    assert set(row) == columns | {"description", "from_role", "to_role"}
    assert {name: row[name] for name in ("id", "task_id", "approver_role", "status", "reason", "decision_at")} == {
        "id": approval.id,
        "task_id": task.id,
        "approver_role": "board",
        "status": "pending",
        "reason": "over the limit",
        "decision_at": None,
    }
    assert (row["description"], row["from_role"], row["to_role"]) == ("Release the budget", "manager", "finance")


@pytest.mark.parametrize("state", SETTLED)
def test_does_not_list_an_approval_that_is_settled(state: str) -> None:
    open_one, settled = ask(), SETTLED[state]()
    assert settled.status == state
    assert [row["id"] for row in _read("pending_approvals")] == [open_one.id]


def test_does_not_list_an_approval_that_is_past_its_time() -> None:
    open_one, _ = ask(), ask(lasting=PAST)
    assert [row["id"] for row in _read("pending_approvals")] == [open_one.id]


@pytest.mark.parametrize("view", ["active_sessions", "pending_approvals"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES"])
def test_nothing_is_written_through_a_view(view: str, statement: str) -> None:
    work.move_session(work.open_session(), "active")
    work.new_approval(work.new_task())
    before = _read(view)
    refusals = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)
    with service_connection() as beside, pytest.raises(refusals):
        beside.execute(statement.format(view))
    assert _read(view) == before
    assert len(before) == 1
