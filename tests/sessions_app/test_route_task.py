"""POST /tasks/route"""

from itertools import count
from typing import Any

import pytest

from sessions_app.models import Task
from tests.api import Api, errors, token
from tests.sessions_app.task_calls import assert_problem, mona, told

pytestmark = pytest.mark.django_db(transaction=True)

WORK = {"task_type": "routing", "description": "Check the invoices.", "data": {"invoices": 41}}
BODY = {"target": "finance", "task": WORK, "context": {"quarter": "Q4"}}
_keys = count()


def route(caller: Api, body: Any, **headers: str) -> Any:
    return caller.post("/tasks/route", body, **{"Idempotency_Key": f"key-{next(_keys)}", **headers})


def test_accepts_the_task_and_answers_it_whole() -> None:
    answer = route(mona(), BODY, X_Trace_Id="trace-1")
    task = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/tasks/{task['task_id']}")
    assert (task["status"], task["trace_id"], task["version"]) == ("pending", "trace-1", 1)
    assert (task["from_role"], task["to_role"], task["context"]) == ("manager", "finance", {"quarter": "Q4"})
    assert {name: task[name] for name in WORK} == WORK
    assert mona().get(answer.headers["Location"]).json() == task
    assert told(Task.objects.get()) == ["task.created"]


def test_the_type_alone_is_enough_and_null_counts_as_absent() -> None:
    least = {"target": "finance", "task": {"task_type": "notification"}}
    nulls = {**least, "context": None, "task": {**least["task"], "description": None, "data": None}}  # type: ignore[dict-item]
    for body in (least, nulls):
        task = route(mona(), body).json()
        assert (task["description"], task["data"], task["context"], task["priority"]) == ("", {}, {}, 5)


def test_takes_no_more_than_it_names() -> None:
    answer = route(mona(), {**BODY, "priority": 9, "task": {**WORK, "priority": 9, "to_role": "legal"}})
    assert (answer.status_code, errors(answer)) == (400, ["task.priority", "task.to_role", "priority"])
    assert not Task.objects.exists()


@pytest.mark.parametrize("body", [BODY, {}])
def test_a_key_is_required(body: Any) -> None:
    answer = mona().post("/tasks/route", body)
    assert_problem(answer, 400, "invalid-request")
    assert errors(answer) == ["Idempotency-Key"]
    assert not Task.objects.exists()


def test_with_the_same_key_it_is_routed_once() -> None:
    first, second = (route(mona(), BODY, Idempotency_Key="october") for _ in range(2))
    assert (first.status_code, second.status_code, second.json()) == (202, 202, first.json())
    assert Task.objects.count() == 1
    assert_problem(
        route(mona(), {**BODY, "target": "legal"}, Idempotency_Key="october"), 422, "idempotency-key-mismatch"
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**BODY, "target": None}, "target"),
        ({**BODY, "target": ""}, "target"),
        ({**BODY, "target": 5}, "target"),
        ({**BODY, "target": "x" * 51}, "target"),
        ({"task": WORK}, "target"),
        ({"target": "finance"}, "task"),
        ({**BODY, "task": None}, "task"),
        ({**BODY, "task": "routing"}, "task"),
        ({**BODY, "task": []}, "task"),
        ({**BODY, "task": {}}, "task.task_type"),
        ({**BODY, "task": {**WORK, "task_type": "x" * 51}}, "task.task_type"),
        ({**BODY, "task": {**WORK, "description": "x" * 4001}}, "task.description"),
        ({**BODY, "task": {**WORK, "data": []}}, "task.data"),
        ({**BODY, "task": {**WORK, "data": {"a": "x" * 64 * 1024}}}, "task.data"),
        ({**BODY, "context": "Q4"}, "context"),
        ({**BODY, "context": {"a": "x" * 64 * 1024}}, "context"),
    ],
)
def test_refuses_what_is_no_such_thing_and_remembers_no_key_of_it(body: Any, field: str) -> None:
    answer = route(mona(), body, Idempotency_Key="october")
    assert (answer.status_code, errors(answer)) == (400, [field])
    assert route(mona(), BODY, Idempotency_Key="october").status_code == 202


def test_comes_from_the_callers_role() -> None:
    assert route(Api(token("olga", "operator", "")), BODY).json()["from_role"] == "orchestrator"
    several = route(Api(token("mona", agent_roles="manager,legal")), BODY)
    assert (several.status_code, errors(several)) == (400, ["from_role"])
    assert_problem(route(Api(token("mona", agent_roles="")), BODY), 403, "forbidden")
    assert_problem(route(Api(token("mia", "approver", "manager")), BODY), 403, "forbidden")
