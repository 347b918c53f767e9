"""GET /approvals"""

from collections.abc import Callable
from typing import Any

import pytest

from sessions_app.models import Approval
from tests.api import Api, errors, token
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    SETTLED,
    agent_for,
    agree,
    approver,
    ask,
    ask_at_creation,
    asker,
    manager,
    question,
    refuse,
    where,
)
from tests.sessions_app.session_calls import UNKNOWN_ID, somebody

pytestmark = pytest.mark.django_db(transaction=True)


def listed(caller: Api, query: str = "") -> list[str]:
    answer = caller.get(f"/approvals?{query}")
    assert answer.status_code == 200, answer.content
    return [approval["approval_id"] for approval in answer.json()["approvals"]]


def ids(*approvals: Approval) -> list[str]:
    return [str(approval.pk) for approval in approvals]


def test_lists_the_newest_first_each_as_it_is_by_itself(operator: Api) -> None:
    first, second = ask(), agree(ask(required_approvals=2))
    answer = operator.get("/approvals")
    assert answer.json() == {
        "approvals": [operator.get(where(approval)).json() for approval in (second, first)],
        "total": 2,
        "page": 1,
        "page_size": answer.json()["page_size"],
        "next_cursor": None,
    }
    assert answer.json()["approvals"][0]["decisions"][0]["decider"] == "local|petra"


def test_says_of_each_what_was_said_of_it(operator: Api) -> None:
    agree(ask(required_approvals=3), "petra", "max")
    refuse(ask(required_approvals=3), "nora")
    ask()
    said = operator.get("/approvals").json()["approvals"]
    assert [[one["decider"] for one in approval["decisions"]] for approval in said] == [
        [],
        ["local|nora"],
        ["local|petra", "local|max"],
    ]


def test_filters_by_status(operator: Api) -> None:
    made = {state: make() for state, make in SETTLED.items()}
    made["pending"] = ask()
    for state, approval in made.items():
        assert listed(operator, f"status={state}") == ids(approval)
    assert listed(operator, "status=pending,Approved") == ids(made["pending"], made["approved"])


def test_filters_by_role_task_and_who_asked(operator: Api) -> None:
    task, (first, second) = ask_at_creation(question(), question("board"))
    third = ask(by=agent_for("anna"))
    assert listed(operator, "approver_role=board") == ids(second)
    assert listed(operator, "approver_role=Board") == []
    assert sorted(listed(operator, f"task_id=task-{task.pk}")) == sorted(ids(first, second))
    assert listed(operator, "created_by=local|bot") == ids(third)
    assert listed(operator, f"task_id={task.pk}&approver_role=manager") == ids(first)


def test_filters_by_when_it_was_asked(operator: Api) -> None:
    first, second = ask(), ask()
    at = operator.get(where(second)).json()["created_at"]
    assert listed(operator, f"created_after={at}") == ids(second)
    assert listed(operator, f"created_before={at}") == ids(first)


def test_a_filter_may_match_nothing(operator: Api) -> None:
    ask()
    assert listed(operator, f"task_id={UNKNOWN_ID}") == []
    assert listed(operator, "status=rejected") == []


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("status=done", "status"),
        ("status=", "status"),
        ("task_id=1", "task_id"),
        ("created_by=alice", "created_by"),
        ("created_after=today", "created_after"),
        ("assignee=petra", "assignee"),
        ("assignee=Me", "assignee"),
        ("assignee=", "assignee"),
        ("assignee=me&assignee=me", "assignee"),
        ("requested_by=local|alice", "requested_by"),
        ("metadata.a=1", "metadata.a"),
        ("page=x", "page"),
        ("page_size=x", "page_size"),
        ("limit=5", "limit"),
    ],
)
def test_refuses_what_it_cannot_read(operator: Api, query: str, name: str) -> None:
    answer = operator.get(f"/approvals?{query}")
    assert (answer.status_code, list(errors(answer))) == (400, [name])


def test_pages_by_number_and_by_cursor(operator: Api) -> None:
    made = ids(*[ask() for _ in range(5)])[::-1]
    assert listed(operator, "page=2&page_size=2") == made[2:4]
    walked, cursor = [], ""
    while cursor is not None:
        said = operator.get(f"/approvals?page_size=2&cursor={cursor}").json()
        walked += [approval["approval_id"] for approval in said["approvals"]]
        cursor = said["next_cursor"]
    assert walked == made


def test_a_cursor_is_good_for_its_own_filters_alone(operator: Api) -> None:
    for _ in range(3):
        ask()
    cursor = operator.get("/approvals?page_size=1&cursor=").json()["next_cursor"]
    for query in ("status=pending", "assignee=me"):
        answer = operator.get(f"/approvals?page_size=1&cursor={cursor}&{query}")
        assert (answer.status_code, list(errors(answer))) == (400, ["cursor"]), answer.content


# Who sees which.


def _of_alice() -> Approval:
    return ask()


def _of_another() -> Approval:
    return ask(by=somebody("bob"))


def _of_a_task_that_alice_holds() -> Approval:
    return ask(task_states.held(by=somebody())[0], by=somebody("bob"))


def _of_a_task_that_alice_held() -> Approval:
    approval = _of_a_task_that_alice_holds()
    Api(token("olga", "operator", "")).post(f"/tasks/{approval.task_id}/force-release", {"reason": "too long"})
    return approval


def _to_the_board() -> Approval:
    return ask(by=somebody("bob"), approver_role="board")


def _of_another_tenant() -> Approval:
    task = task_states.pending(by=task_states.manager("acme"))
    return ask(task, by=somebody(tenant="acme"))


CALLERS: dict[str, Callable[[], Api]] = {
    "agent": asker,
    "approver": manager,
    "auditor": lambda: Api(token("otto", "auditor", "")),
    "operator": lambda: Api(token("olga", "operator", "")),
    "agent without a task": lambda: asker("nina", agent_roles="manager"),
    "approver of no role": lambda: Api(token("petra", "approver", "")),
}
SEEN: list[tuple[Callable[[], Approval], set[str]]] = [
    (_of_alice, {"agent", "approver", "auditor", "operator"}),
    (_of_another, {"approver", "auditor", "operator"}),
    (_of_a_task_that_alice_holds, {"agent", "approver", "auditor", "operator"}),
    (_of_a_task_that_alice_held, {"approver", "auditor", "operator"}),
    (_to_the_board, {"auditor", "operator"}),
    (_of_another_tenant, set()),
]


@pytest.mark.parametrize(("make", "seen"), SEEN, ids=lambda value: getattr(value, "__name__", ""))
def test_everybody_sees_what_is_theirs_to_see(make: Callable[[], Approval], seen: set[str]) -> None:
    approval = make()
    for name, caller in CALLERS.items():
        known: Any = caller()
        assert listed(known) == (ids(approval) if name in seen else []), name
        assert known.get(where(approval)).status_code == (200 if name in seen else 404), name


def test_what_is_settled_stays_in_sight() -> None:
    approval = agree(ask())
    assert listed(manager("max")) == listed(asker()) == ids(approval)


def test_the_transitions_know_the_same_person_as_the_tokens() -> None:
    """What the rest of these tests stands on."""
    manager().post(where(ask(), "approve"), {})
    agree(ask())
    said = Api(token("olga", "operator", "")).get("/approvals").json()["approvals"]
    assert {one["decisions"][0]["decider"] for one in said} == {str(approver().identity)}
