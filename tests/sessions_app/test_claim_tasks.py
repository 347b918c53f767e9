"""POST /tasks/claim"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator import boundary
from sessions_app.models import Task
from sessions_app.transitions.lease import claim as take
from tests import work
from tests.api import Api, errors, token
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_calls import (
    FINN,
    STATES,
    assert_problem,
    attempts,
    become_due,
    finn,
    mona,
    pass_deadline,
    path,
    routed,
    stored,
    task_in,
    told,
)

pytestmark = pytest.mark.django_db(transaction=True)


def claim(caller: Api, **body: Any) -> list[dict[str, Any]]:
    answer = caller.post("/tasks/claim", body)
    assert answer.status_code == 200, answer.content
    assert list(answer.json()) == ["tasks"]
    tasks: list[dict[str, Any]] = answer.json()["tasks"]
    return tasks


def ids(tasks: list[dict[str, Any]]) -> list[str]:
    return [task["task_id"] for task in tasks]


def pks(*tasks: Task) -> list[str]:
    return [str(task.pk) for task in tasks]


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def test_answers_the_whole_task_with_a_lease_and_its_token() -> None:
    task = routed()
    [got] = claim(finn())
    shown = finn().get(path(task)).json()
    lease = got["lease"]
    assert {**got, "lease": {name: lease[name] for name in ("holder", "epoch", "expires_at")}} == shown
    assert (got["status"], got["version"], got["attempt"]) == ("active", 2, 1)
    assert (lease["holder"], lease["epoch"], len(lease["token"])) == ("local|finn", 1, 43)
    lasts = datetime.fromisoformat(lease["expires_at"]) - datetime.fromisoformat(got["updated_at"])
    assert lasts == timedelta(seconds=60)


def test_leaves_an_event_and_an_attempt() -> None:
    task = routed()
    [got] = claim(finn())
    assert told(task) == ["task.created", "task.claimed"]
    event = work.chain(task)[-1]
    assert (event["from_status"], event["to_status"], event["actor_subject"]) == ("pending", "active", "finn")
    [attempt] = attempts(task)
    assert (attempt.epoch, attempt.attempt, str(attempt.holder), attempt.outcome) == (1, 1, "local|finn", None)
    assert attempt.claimed_at == datetime.fromisoformat(got["updated_at"])
    work.assert_chain_holds(task)


def test_answers_none_where_there_is_none() -> None:
    assert claim(finn()) == []
    routed(to_role="legal")
    for state in STATES:
        if state != "pending":
            task_in(state)
    assert claim(finn(), max=10) == []


def test_takes_one_unless_told_otherwise_and_ten_at_most() -> None:
    for _ in range(12):
        routed()
    assert [len(claim(finn(), **asked)) for asked in ({}, {"max": 10}, {"max": 10})] == [1, 10, 1]


def test_takes_the_highest_priority_first_and_then_the_oldest() -> None:
    tasks = [routed(priority=priority) for priority in (5, 0, 9, 5, 9)]
    expected = pks(tasks[2], tasks[4], tasks[0], tasks[3], tasks[1])
    assert ids(claim(finn(), max=2) + claim(finn(), max=10)) == expected


def test_several_roles_are_one_queue() -> None:
    tasks = [
        routed(to_role=role, priority=p) for role, p in (("legal", 5), ("finance", 9), ("finance", 5), ("legal", 9))
    ]
    both = Api(token("bea", agent_roles="finance,legal"))
    expected = pks(tasks[1], tasks[3], tasks[0], tasks[2])
    assert ids(claim(both, max=1) + claim(both, roles=["legal", "finance", "legal"], max=10)) == expected


def test_one_of_several_roles_may_be_chosen() -> None:
    routed(), (legal := routed(to_role="legal"))
    assert ids(claim(Api(token("bea", agent_roles="finance,legal")), roles=["legal"], max=10)) == pks(legal)


@pytest.mark.parametrize("roles", [["finance"], ["finance", "legal"]])
def test_takes_only_the_types_that_are_named(roles: list[str]) -> None:
    tasks = {kind: routed(task_type=kind) for kind in ("routing", "approval", "notification")}
    both = Api(token("bea", agent_roles="finance,legal"))
    assert claim(both, roles=roles, task_types=["Routing"]) == []
    assert ids(claim(both, roles=roles, task_types=["routing", "notification"], max=10)) == pks(
        tasks["routing"], tasks["notification"]
    )


@pytest.mark.parametrize("roles", [["finance"], ["finance", "legal"]])
def test_not_before_and_deadline_only_filter(roles: list[str]) -> None:
    both = Api(token("bea", agent_roles="finance,legal"))
    later, urgent = routed(not_before=soon(), priority=9), routed(deadline=soon())
    overdue = routed(deadline=soon(), priority=9)
    pass_deadline(overdue)
    assert ids(claim(both, roles=roles, max=10)) == pks(urgent)
    become_due(later)
    assert ids(claim(both, roles=roles, max=10)) == pks(later)


@pytest.mark.parametrize("seconds", [10, 3600])
def test_a_lease_lasts_as_long_as_it_is_told(seconds: int) -> None:
    routed()
    [got] = claim(finn(), lease_seconds=seconds)
    lasts = datetime.fromisoformat(got["lease"]["expires_at"]) - datetime.fromisoformat(got["updated_at"])
    assert lasts == timedelta(seconds=seconds)


def test_null_counts_as_absent() -> None:
    tasks = [routed(), routed()]
    nulls = dict.fromkeys(("roles", "task_types", "max", "lease_seconds", "wait_seconds"))
    assert ids(claim(finn(), **nulls) + claim(finn())) == pks(*tasks)
    assert finn().post("/tasks/claim").json() == {"tasks": []}


NO_LISTS: list[Any] = [[], "finance", {}, 5, ["finance"] * 21]
WRONG: list[tuple[str, Any]] = [
    *((name, value) for name in ("roles", "task_types") for value in NO_LISTS),
    *((name, [value]) for name in ("roles", "task_types") for value in (5, None, "", " a", "x" * 51)),
    *(("max", value) for value in (0, 11, "1", 1.5, True, ["1"])),
    *(("lease_seconds", value) for value in (9, 3601, "60", 60.5, True)),
    *(("wait_seconds", value) for value in (-1, 31, "1", 1.5, False)),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda value: str(value)[:24])
def test_refuses_what_is_no_such_thing(operator: Api, name: str, value: Any) -> None:
    task = routed()
    answer = operator.post("/tasks/claim", {"roles": ["finance"], name: value})
    assert_problem(answer, 400, "invalid-request")
    assert {field.partition(".")[0] for field in errors(answer)} == {name}
    assert stored(task).status == "pending"


@pytest.mark.parametrize(
    ("roles", "agent_roles", "asked"),
    [
        ("agent", "finance", ["legal"]),
        ("agent", "finance", ["finance", "legal"]),
        ("agent", "finance", ["Finance"]),
        ("agent", "", ["finance"]),
        ("auditor", "finance", ["finance"]),
        ("approver", "finance", None),
        ("auditor", "", None),
        ("auditor,approver", "", None),
    ],
)
def test_nobody_claims_to_a_role_that_is_not_theirs(roles: str, agent_roles: str, asked: list[str] | None) -> None:
    task = routed()
    assert_problem(Api(token("bob", roles, agent_roles)).post("/tasks/claim", {"roles": asked}), 403, "forbidden")
    assert stored(task).status == "pending"


@pytest.mark.parametrize("roles", ["agent", "operator"])
def test_without_a_role_one_has_to_be_named(roles: str) -> None:
    answer = Api(token("bob", roles, "")).post("/tasks/claim", {})
    assert (answer.status_code, errors(answer)) == (400, ["roles"])


def test_an_operator_claims_to_any_role(operator: Api) -> None:
    task = routed()
    [got] = claim(operator, roles=["finance", "nobody"])
    assert (ids([got]), got["lease"]["holder"]) == (pks(task), "local|olga")


def test_what_is_another_tenants_is_passed_over() -> None:
    foreign = routed(by=somebody("mona", tenant="other", agent_roles=("manager",)))
    assert claim(finn(), max=10) == claim(Api(token("olga", "operator", "")), roles=["finance"], max=10) == []
    assert ids(claim(Api(token("finn", tenant="other")), max=10)) == pks(foreign)


def test_an_agent_for_a_person_holds_it_on_their_behalf() -> None:
    task = routed()
    [got] = claim(Api(token("petra", act_subject="bot")))
    assert got["lease"]["holder"] == "local|bot"
    row, [attempt] = stored(task), attempts(task)
    assert (row.lease_for_issuer, row.lease_for_subject) == ("local", "petra")
    assert (attempt.holder_subject, attempt.holder_for_issuer, attempt.holder_for_subject) == ("bot", "local", "petra")
    assert work.chain(task)[-1]["on_behalf_of_subject"] == "petra"


def test_what_somebody_is_just_taking_is_passed_over() -> None:
    first, second = routed(), routed()

    def while_it_is_held() -> None:
        take(Task.objects.filter(pk=first.pk), actor=FINN, lasting=timedelta(minutes=1))
        theirs = work.in_a_thread(lambda: claim(Api(token("fay")), max=10)).result(10)
        assert ids(theirs) == pks(second)

    boundary.write(while_it_is_held)
    assert str(stored(first).holder) == "local|finn"


def test_an_idempotency_key_is_passed_over() -> None:
    tasks = [routed(), routed()]
    answers = [finn().post("/tasks/claim", {}, Idempotency_Key="once") for _ in tasks]
    assert [answer.json()["tasks"][0]["task_id"] for answer in answers] == pks(*tasks)
    assert all("Idempotent-Replayed" not in answer.headers for answer in answers)


def test_mona_cannot_claim_what_she_routed_to_others() -> None:
    routed()
    assert claim(mona(), max=10) == []
