"""How many statements a call costs, BEGIN and COMMIT counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.api import Api, token
from tests.sessions_app.session_calls import UNKNOWN_ID, path, session_in, somebody, task_for
from tests.statements import first_words

pytestmark = pytest.mark.django_db(transaction=True)

NEW = {"agent_role": "finance", "metadata": {"quarter": "Q4"}}
MOVE = ["BEGIN", "SELECT", "SELECT", "UPDATE", "INSERT", "COMMIT"]
# A session that ends cancels its open requests: one statement looks for them.
END = ["BEGIN", "SELECT", "SELECT", "UPDATE", "INSERT", "SELECT", "COMMIT"]


@contextmanager
def costs(*statements: str) -> Iterator[None]:
    """Fails unless the block sends exactly these, by their first words."""
    with CaptureQueriesContext(connection) as captured:
        yield
    sent = captured.captured_queries
    assert first_words(sent) == list(statements), "\n".join(query["sql"] for query in sent)


def call(caller: Api, method: str, at: str, body: Any = None, *, status: int, **headers: str) -> None:
    answer = caller.send(method, at, body, **headers)
    assert answer.status_code == status, answer.content


def test_get_takes_one(agent: Api) -> None:
    session = session_in("pending")
    with costs("SELECT"):
        call(agent, "GET", path(session), status=200)


@pytest.mark.parametrize("roles", ["agent,approver", "approver", "auditor", "operator", "agent,approver,auditor"])
def test_get_takes_one_whatever_the_caller_is(roles: str) -> None:
    caller = Api(token("bob", roles=roles, agent_roles="finance,legal"))
    session = session_in("pending")
    with costs("SELECT"):
        call(caller, "GET", path(session), status=200)


def test_get_of_what_is_missing_or_unchanged_takes_one(agent: Api) -> None:
    session = session_in("pending")
    with costs("SELECT"):
        call(agent, "GET", f"/sessions/{UNKNOWN_ID}", status=404)
    with costs("SELECT"):
        call(agent, "GET", path(session), status=304, if_none_match='"1"')


def test_opening_takes_five(agent: Api) -> None:
    with costs("BEGIN", "SELECT", "INSERT", "INSERT", "COMMIT"):
        call(agent, "POST", "/sessions", NEW, status=201)


def test_a_row_and_its_event_are_one_message(agent: Api) -> None:
    with CaptureQueriesContext(connection) as captured:
        call(agent, "POST", "/sessions", NEW, status=201)
    (row_and_event,) = [query["sql"] for query in captured.captured_queries if query["sql"].startswith("INSERT")]
    assert first_words([{"sql": row_and_event}]) == ["INSERT", "INSERT"]


def test_opening_with_a_task_takes_six(agent: Api) -> None:
    task = task_for("finance", somebody("mia"))
    with costs("BEGIN", "SELECT", "SELECT", "INSERT", "INSERT", "COMMIT"):
        call(agent, "POST", "/sessions", {**NEW, "task_id": str(task.id)}, status=201)


@pytest.mark.parametrize(
    ("state", "to", "statements"),
    [
        ("pending", "active", MOVE),
        ("pending", "expired", END),
        ("active", "completed", END),
        ("active", "failed", END),
    ],
)
def test_a_move_takes_six_and_one_more_where_the_session_is_over(
    agent: Api, state: str, to: str, statements: list[str]
) -> None:
    session = session_in(state)
    with costs(*statements):
        call(agent, "PUT", path(session), {"status": to, "reason": "because"}, status=200, if_match="*")


def test_a_move_with_changes_takes_six(agent: Api) -> None:
    session = session_in("pending")
    with costs(*MOVE):
        call(agent, "PUT", path(session), {"status": "active", "metadata": {}, "ttl_seconds": 600}, status=200)


def test_a_change_without_a_move_takes_six(agent: Api) -> None:
    session = session_in("pending")
    with costs(*MOVE):
        call(agent, "PUT", path(session), {"metadata": {"a": 1}}, status=200)


def test_pointing_to_a_task_takes_one_more(agent: Api) -> None:
    session, task = session_in("pending"), task_for("finance", somebody("mia"))
    with costs("BEGIN", "SELECT", "SELECT", "SELECT", "UPDATE", "INSERT", "COMMIT"):
        call(agent, "PUT", path(session), {"status": "active", "task_id": str(task.id)}, status=200)


def test_a_write_that_changes_nothing_writes_nothing(agent: Api) -> None:
    session = session_in("pending")
    for body in ({}, {"status": "pending"}, {"metadata": {"quarter": "Q4"}}, {"reason": "so"}):
        with costs("BEGIN", "SELECT", "SELECT", "COMMIT"):
            call(agent, "PUT", path(session), body, status=200)


def test_nothing_is_asked_after_a_refusal(agent: Api) -> None:
    session, auditor = session_in("pending"), Api(token("bob", roles="auditor"))
    with costs("BEGIN", "SELECT", "SELECT", "ROLLBACK"):
        call(agent, "PUT", path(session), {"status": "completed"}, status=409)
    with costs("BEGIN", "SELECT", "SELECT", "ROLLBACK"):
        call(agent, "PUT", path(session), {"status": "active"}, status=412, if_match='"9"')
    with costs("BEGIN", "SELECT", "ROLLBACK"):
        call(agent, "PUT", f"/sessions/{UNKNOWN_ID}", {"status": "active"}, status=404)
    # But it is remembered, once everything else is rolled back.
    with costs("BEGIN", "SELECT", "ROLLBACK", "BEGIN", "INSERT", "INSERT", "COMMIT"):
        call(auditor, "PUT", path(session), {"status": "active"}, status=403)
    with costs("BEGIN", "SELECT", "ROLLBACK"):
        call(agent, "POST", "/sessions", {**NEW, "task_id": UNKNOWN_ID}, status=400)
