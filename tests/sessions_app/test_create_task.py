"""POST /tasks"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from sessions_app.models import Task
from tests.api import Api, errors, token
from tests.sessions_app.task_calls import assert_problem, finn, mona
from tests.work import assert_chain_holds, events

pytestmark = pytest.mark.django_db(transaction=True)

LEAST = {"task_type": "routing", "to_role": "finance"}
FAR, FARTHER = "2099-01-31T09:00:00Z", "2099-01-31T10:00:00Z"
WHOLE = {
    **LEAST,
    "from_role": "manager",
    "description": "Check the invoices.",
    "data": {"invoices": [41, 1.5, None]},
    "context": {"quarter": "Q4"},
    "priority": 9,
    "not_before": FAR,
    "deadline": FARTHER,
    "max_attempts": 20,
}
KIB64 = 64 * 1024


def document(size: int) -> dict[str, str]:
    """A document of exactly so many bytes."""
    return {"a": "x" * (size - len('{"a":""}'))}


def created(caller: Api, **fields: Any) -> dict[str, Any]:
    answer = caller.post("/tasks", {**LEAST, **fields})
    assert answer.status_code == 201, answer.content
    task: dict[str, Any] = answer.json()
    return task


def test_answers_the_whole_task_with_what_is_usual_where_nothing_was_said() -> None:
    answer = mona().post("/tasks", LEAST, X_Trace_Id="trace-1")
    task = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/tasks/{task['task_id']}")
    assert answer.headers["ETag"] == '"1"'
    assert UUID(task["task_id"]).version == 7
    assert task == {
        "task_id": task["task_id"],
        "task_type": "routing",
        "description": "",
        "status": "pending",
        "version": 1,
        "from_role": "manager",
        "to_role": "finance",
        "data": {},
        "context": {},
        "priority": 5,
        "not_before": None,
        "deadline": None,
        "attempt": 1,
        "max_attempts": 3,
        "lease": None,
        "cancel_requested": False,
        "progress": None,
        "output": None,
        "error": None,
        "retry_of": None,
        "trace_id": "trace-1",
        "created_by": "local|mona",
        "on_behalf_of": None,
        "created_at": task["created_at"],
        "updated_at": task["created_at"],
        "allowed_transitions": ["blocked", "active", "failed", "cancelled"],
    }


def test_keeps_everything_that_is_said() -> None:
    task = created(mona(), **WHOLE)
    moments = {"not_before": "2099-01-31T09:00:00.000000Z", "deadline": "2099-01-31T10:00:00.000000Z"}
    assert {name: task[name] for name in WHOLE} == {**WHOLE, **moments}
    assert mona().get(f"/tasks/{task['task_id']}").json() == task


def test_leaves_one_event() -> None:
    task = created(mona(), **WHOLE)
    row = Task.objects.get(pk=task["task_id"])
    [event] = events()
    assert (event["event_type"], event["from_status"], event["to_status"]) == ("task.created", None, "pending")
    assert (event["actor_subject"], event["role"], event["trace_id"]) == ("mona", "finance", task["trace_id"])
    assert_chain_holds(row)


@pytest.mark.parametrize("name", [name for name in WHOLE if name not in LEAST])
def test_null_counts_as_absent(name: str) -> None:
    usual = created(mona())
    assert created(mona(), **{name: None})[name] == usual[name]


@pytest.mark.parametrize("kind", ["notification", "approval", "routing", "zzz", "x" * 50, "Prüfung 2"])
def test_takes_any_type(kind: str) -> None:
    assert created(mona(), task_type=kind)["task_type"] == kind


def test_takes_any_target() -> None:
    assert created(mona(), to_role="nobody-yet")["status"] == "pending"


def test_refuses_members_that_it_does_not_know() -> None:
    refused = mona().post("/tasks", {**LEAST, "status": "completed", "attempt": 7})
    assert (refused.status_code, errors(refused)) == (400, ["status", "attempt"])
    assert not Task.objects.exists()


@pytest.mark.parametrize("name", ["data", "context"])
def test_a_document_may_have_sixty_four_kibibytes_and_not_one_more(name: str) -> None:
    assert created(mona(), **{name: document(KIB64)})[name] == document(KIB64)
    refused = mona().post("/tasks", {**LEAST, name: document(KIB64 + 1)})
    assert (refused.status_code, errors(refused)) == (400, [name])


def test_a_description_may_have_four_thousand_characters() -> None:
    assert created(mona(), description="ü" * 4000)["description"] == "ü" * 4000


@pytest.mark.parametrize(
    "written", ["2099-01-31T09:00:00Z", "2099-01-31t10:00:00.000000+01:00", "2099-01-31 09:00:00z"]
)
def test_takes_a_moment_with_any_offset_and_answers_it_in_utc(written: str) -> None:
    assert created(mona(), deadline=written)["deadline"] == "2099-01-31T09:00:00.000000Z"


NAMES: list[Any] = [None, "", " ", "x" * 51, " a", "a ", "a\n", "a\u200b", 5, True, [], {}]
MOMENTS: list[Any] = ["", "soon", "2099-01-31", "2099-01-31T09:00:00", "2099-02-30T09:00:00Z", 4073000000, True, {}]
NUMBERS: list[Any] = ["5", 1.5, True, [], {}, -1, 10**9]
NO_TEXTS: list[Any] = ["x" * 4001, 5, True, [], {}]
NO_DOCUMENTS: list[Any] = ["{}", 5, False, []]
WRONG: list[tuple[str, Any]] = [
    *(("task_type", value) for value in NAMES),
    *(("to_role", value) for value in NAMES),
    *(("from_role", value) for value in NAMES if value is not None),
    *(("description", value) for value in NO_TEXTS),
    *((name, value) for name in ("data", "context") for value in NO_DOCUMENTS),
    *(("priority", value) for value in (*NUMBERS, 10)),
    *(("max_attempts", value) for value in (*NUMBERS, 0, 21)),
    *((name, value) for name in ("not_before", "deadline") for value in MOMENTS),
    ("deadline", "2020-01-31T09:00:00Z"),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda value: str(value)[:20])
def test_refuses_what_is_no_such_thing(operator: Api, name: str, value: Any) -> None:
    answer = operator.post("/tasks", {**LEAST, name: value})
    assert_problem(answer, 400, "invalid-request")
    assert errors(answer) == [name]
    assert not Task.objects.exists()
    assert events() == []


@pytest.mark.parametrize("value", ["a\0b", {"a": "\0"}, {"\0": 1}])
def test_refuses_what_the_database_cannot_keep(value: Any) -> None:
    assert_problem(mona().post("/tasks", {**LEAST, "data": {"a": value}}), 400, "invalid-json")


def test_a_deadline_comes_after_the_beginning() -> None:
    answer = mona().post("/tasks", {**LEAST, "not_before": FARTHER, "deadline": FARTHER})
    assert (answer.status_code, errors(answer)) == (400, ["deadline"])


def test_a_beginning_may_have_passed() -> None:
    task = created(mona(), not_before="2020-01-31T09:00:00Z")
    assert finn().post("/tasks/claim").json()["tasks"][0]["task_id"] == task["task_id"]


def test_names_all_that_is_wrong() -> None:
    answer = mona().post("/tasks", {"priority": "5", "deadline": "soon"})
    assert set(errors(answer)) == {"task_type", "to_role", "priority", "deadline"}


def test_takes_no_query() -> None:
    assert_problem(mona().post("/tasks?limit=1", LEAST), 400, "invalid-request")


# From which role.


def test_comes_from_the_only_role_of_the_caller() -> None:
    assert created(mona())["from_role"] == "manager"


def test_one_of_several_roles_has_to_be_said() -> None:
    both = Api(token("mona", agent_roles="manager,legal"))
    answer = both.post("/tasks", LEAST)
    assert (answer.status_code, errors(answer)) == (400, ["from_role"])
    assert created(both, from_role="legal")["from_role"] == "legal"


def test_an_operator_without_a_role_creates_from_orchestrator_or_from_any() -> None:
    olga = Api(token("olga", "operator", ""))
    assert created(olga)["from_role"] == "orchestrator"
    assert created(olga, from_role="finance")["from_role"] == "finance"
    assert created(Api(token("olga", "operator", "legal")))["from_role"] == "legal"


@pytest.mark.parametrize(
    ("roles", "agent_roles", "body"),
    [
        ("agent", "manager", {"from_role": "finance"}),
        ("agent", "manager", {"from_role": "Manager"}),
        ("agent", "manager", {"from_role": "orchestrator"}),
        ("agent", "", {}),
        ("auditor", "", {}),
        ("approver", "manager", {}),
    ],
)
def test_nobody_creates_from_a_role_that_is_not_theirs(roles: str, agent_roles: str, body: dict[str, str]) -> None:
    answer = Api(token("mona", roles, agent_roles)).post("/tasks", {**LEAST, **body})
    assert_problem(answer, 403, "forbidden")
    assert not Task.objects.exists()


def test_an_agent_for_a_person_creates_it_on_their_behalf() -> None:
    bot = Api(token("petra", agent_roles="manager", act_subject="bot"))
    task = created(bot)
    assert (task["created_by"], task["on_behalf_of"]) == ("local|bot", "local|petra")


# How often.


def test_with_a_key_it_is_created_once_and_answered_as_often_as_asked() -> None:
    first, second = (mona().post("/tasks", LEAST, Idempotency_Key="october") for _ in range(2))
    assert (first.status_code, second.status_code, second.json()) == (201, 201, first.json())
    assert second.headers["Idempotent-Replayed"] == "true"
    task = Task.objects.get()
    assert len(str(task.idempotency_key)) == 64
    assert "october" not in str(task.idempotency_key)
    assert_problem(
        mona().post("/tasks", {**LEAST, "priority": 1}, Idempotency_Key="october"), 422, "idempotency-key-mismatch"
    )


def test_without_a_key_each_is_another() -> None:
    one, other = created(mona()), created(mona())
    assert one["task_id"] != other["task_id"]
    assert datetime.fromisoformat(other["created_at"]) - datetime.fromisoformat(one["created_at"]) > timedelta(0)
    assert set(Task.objects.values_list("idempotency_key", flat=True)) == {None}
