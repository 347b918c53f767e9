"""How many statements a call on tasks costs, BEGIN and COMMIT counted."""

from typing import Any

import pytest

from tests.api import Api
from tests.sessions_app.session_calls import UNKNOWN_ID
from tests.sessions_app.task_calls import CALLS, claimed, finn, lapse, mona, path, routed, task_in
from tests.sessions_app.test_query_counts import call, costs

pytestmark = pytest.mark.django_db(transaction=True)

LEAST = {"task_type": "routing", "to_role": "finance"}
ROUTE = {"target": "finance", "task": {"task_type": "routing"}}
MOVE = ("BEGIN", "SELECT", "SELECT", "UPDATE", "INSERT", "COMMIT")
END = ("BEGIN", "SELECT", "SELECT", "UPDATE", "INSERT", "UPDATE", "COMMIT")
# What is still asked about a task that is over is looked for.
OVER = ("BEGIN", "SELECT", "SELECT", "UPDATE", "INSERT", "UPDATE", "SELECT", "COMMIT")
CALLED_OFF = ("BEGIN", "SELECT", "SELECT", "UPDATE", "INSERT", "SELECT", "COMMIT")


def post(caller: Api, where: str, body: Any = None, *, status: int = 200, **headers: str) -> None:
    call(caller, "POST", where, body, status=status, **headers)


def test_creating_takes_five() -> None:
    caller = mona()
    with costs("BEGIN", "SELECT", "INSERT", "INSERT", "COMMIT"):
        post(caller, "/tasks", LEAST, status=201)


def test_routing_takes_two_more_for_its_key() -> None:
    caller = mona()
    with costs("BEGIN", "SELECT", "SELECT", "INSERT", "INSERT", "INSERT", "COMMIT"):
        post(caller, "/tasks/route", ROUTE, status=202, idempotency_key="october")


def test_get_takes_one() -> None:
    caller, task, held = mona(), routed(), claimed()
    for where, headers, status in (
        (path(task), {}, 200),
        (path(held), {}, 200),
        (path(task), {"if_none_match": '"1"'}, 304),
        (f"{path(task)}?wait=30&version=9", {}, 200),
        (f"/tasks/{UNKNOWN_ID}", {}, 404),
    ):
        with costs("SELECT"):
            call(caller, "GET", where, status=status, **headers)


def test_each_part_that_is_included_takes_one_more() -> None:
    caller, task = mona(), task_in("completed")
    with costs("SELECT", "SELECT", "SELECT"):
        call(caller, "GET", f"{path(task)}?include=sessions,attempts", status=200)


@pytest.mark.parametrize(
    ("query", "count"), [("cursor=", 1), ("cursor=&status=pending&target=finance", 1), ("page=1", 2)]
)
def test_a_list_takes_one_by_cursor_and_two_by_page(query: str, count: int) -> None:
    caller = mona()
    for _ in range(3):
        routed()
    with costs(*["SELECT"] * count):
        call(caller, "GET", f"/tasks?{query}", status=200)


@pytest.mark.parametrize("roles", [["finance"], ["finance", "legal"]])
@pytest.mark.parametrize("count", [1, 10])
def test_a_claim_of_ten_takes_as_many_as_one_of_one(operator: Api, count: int, roles: list[str]) -> None:
    for _ in range(12):
        routed()
    # The first asks whether the caller is cut off.
    with costs("BEGIN", "SELECT", "SELECT", "SELECT", "UPDATE", "COPY", "COPY", "COMMIT"):
        post(operator, "/tasks/claim", {"roles": roles, "max": count})


def test_a_claim_that_finds_less_than_it_wants_looks_once_more_how_long_the_queue_is() -> None:
    caller = finn()
    with costs("BEGIN", "SELECT", "SELECT", "COMMIT", "SELECT"):
        post(caller, "/tasks/claim", {})


def test_a_heartbeat_takes_five() -> None:
    caller, held = finn(), claimed()
    with costs("BEGIN", "SELECT", "SELECT", "UPDATE", "COMMIT"):
        post(caller, path(held, "heartbeat"), held.body("heartbeat"))


@pytest.mark.parametrize("verb", ["complete", "fail", "release"])
def test_an_end_takes_seven_and_one_more_where_the_task_is_over(verb: str) -> None:
    caller, held = finn(), claimed()
    with costs(*(OVER if verb == "complete" else END)):
        post(caller, path(held, verb), held.body(verb), if_match="*")


@pytest.mark.parametrize("verb", ["complete", "fail", "release"])
def test_a_repetition_takes_five_and_writes_nothing(verb: str) -> None:
    caller, held = finn(), claimed()
    post(caller, path(held, verb), held.body(verb))
    with costs("BEGIN", "SELECT", "SELECT", "SELECT", "COMMIT"):
        post(caller, path(held, verb), held.body(verb))


@pytest.mark.parametrize("verb", list(CALLS))
def test_what_comes_late_is_remembered_in_a_transaction_of_its_own(verb: str) -> None:
    caller, held = finn(), claimed()
    lapse(held.task)
    looks = ["SELECT"] * (2 if verb == "heartbeat" else 3)
    with costs("BEGIN", *looks, "ROLLBACK", "BEGIN", "INSERT", "INSERT", "COMMIT"):
        post(caller, path(held, verb), held.body(verb), status=409)


@pytest.mark.parametrize("state", ["pending", "active"])
def test_cancelling_takes_six_and_one_more_where_the_task_is_over(state: str) -> None:
    caller, task = mona(), task_in(state)
    with costs(*(MOVE if state == "active" else CALLED_OFF)):
        post(caller, path(task, "cancel"), {"reason": "so"})


def test_force_releasing_takes_seven(operator: Api) -> None:
    held = claimed()
    with costs(*END):
        post(operator, path(held, "force-release"), {"reason": "so"})


def test_retrying_takes_nine(operator: Api) -> None:
    task = task_in("failed")
    with costs("BEGIN", "SELECT", "SELECT", "SELECT", "SELECT", "SELECT", "INSERT", "INSERT", "COMMIT"):
        post(operator, path(task, "retry"), status=201)


def test_deleting_takes_nine(operator: Api) -> None:
    task = task_in("completed")
    with costs("BEGIN", *["SELECT"] * 5, "DELETE", "INSERT", "COMMIT"):
        call(operator, "DELETE", f"{path(task)}?reason=It+is+old.", status=204)


def test_nothing_is_asked_after_a_refusal() -> None:
    caller, task = finn(), routed(to_role="legal")
    with costs("BEGIN", "SELECT", "ROLLBACK"):
        post(caller, path(task, "complete"), {"lease_token": "guess"}, status=404)
    with costs("BEGIN", "ROLLBACK"):
        post(caller, "/tasks", LEAST | {"from_role": "legal"}, status=403)
    with costs():
        post(caller, "/tasks/claim", {"roles": ["legal"]}, status=403)
