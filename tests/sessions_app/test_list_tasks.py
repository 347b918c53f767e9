"""GET /tasks"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from sessions_app.models import Task
from tests.api import Api, errors, token
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_calls import MONA, STATES, assert_problem, finn, mona, routed, task_in

pytestmark = pytest.mark.django_db(transaction=True)


def listed(caller: Api, **query: str) -> list[str]:
    """The ids that pass, by page and by cursor alike."""
    by_page = caller.get(f"/tasks?{urlencode({**query, 'page_size': '100'})}")
    by_cursor = caller.get(f"/tasks?{urlencode({**query, 'page_size': '100', 'cursor': ''})}")
    assert by_page.status_code == 200, by_page.content
    assert by_cursor.json()["tasks"] == by_page.json()["tasks"]
    found = [task["task_id"] for task in by_page.json()["tasks"]]
    assert by_page.json()["total"] == len(found)
    return found


def ids(*tasks: Task) -> list[str]:
    return [str(task.pk) for task in tasks]


def test_answers_a_page_of_whole_tasks_newest_first() -> None:
    older, newer = task_in("active"), routed()
    answer = mona().get("/tasks")
    assert (answer.status_code, "ETag" in answer.headers) == (200, False)
    assert answer.json() == {
        "tasks": [mona().get(f"/tasks/{pk}").json() for pk in ids(newer, older)],
        "total": 2,
        "page": 1,
        "page_size": 20,
        "next_cursor": None,
    }


def test_goes_by_page_and_by_cursor_past_every_row_once() -> None:
    expected = ids(*(routed() for _ in range(5)))[::-1]
    pages = [mona().get(f"/tasks?page={number}&page_size=2").json() for number in (1, 2, 3, 4)]
    assert [[task["task_id"] for task in page["tasks"]] for page in pages] == [
        *(expected[:2], expected[2:4], expected[4:], [])
    ]
    assert {page["total"] for page in pages} == {5}
    walked, cursor = [], ""
    while cursor is not None:
        page = mona().get(f"/tasks?cursor={cursor}&page_size=2").json()
        assert set(page) == {"tasks", "page_size", "next_cursor"}
        walked += [task["task_id"] for task in page["tasks"]]
        cursor = page["next_cursor"]
    assert walked == expected


@pytest.mark.parametrize("query", ["", "cursor=&"])
@pytest.mark.parametrize(("asked", "size"), [("2", 2), ("0", 1), ("-7", 1), ("101", 100)])
def test_limit_is_another_word_for_page_size(query: str, asked: str, size: int) -> None:
    for _ in range(3):
        routed()
    page = mona().get(f"/tasks?{query}limit={asked}").json()
    assert (page["page_size"], len(page["tasks"])) == (size, min(size, 3))
    assert page == {**mona().get(f"/tasks?{query}page_size={asked}").json(), "next_cursor": page["next_cursor"]}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=2&page_size=2", "limit"),
        ("limit=2&limit=2", "limit"),
        ("limit=two", "limit"),
        ("limit=", "limit"),
        ("limit=1.0", "limit"),
        ("page=one", "page"),
        ("page=1&cursor=", "cursor"),
        ("cursor=nonsense", "cursor"),
        ("nonsense=1", "nonsense"),
        ("agent_role=finance", "agent_role"),
        ("metadata.a=1", "metadata.a"),
        ("To_role=finance", "To_role"),
        ("to_role=finance&to_role=finance", "to_role"),
        ("target=a&target=b", "target"),
        ("status=gone", "status"),
        ("status=", "status"),
        ("status=expired", "status"),
        ("status=pending,", "status"),
        ("created_by=mona", "created_by"),
        ("created_by=|mona", "created_by"),
        ("created_after=soon", "created_after"),
        ("created_before=2026-01-31", "created_before"),
        ("created_before=2026-01-31T09:00:00", "created_before"),
        ("task_type=%00", "task_type"),
        ("trace_id=%00", "trace_id"),
    ],
)
def test_refuses_what_it_does_not_know_or_cannot_read(query: str, field: str) -> None:
    answer = mona().get(f"/tasks?{query}")
    assert_problem(answer, 400, "invalid-request")
    assert errors(answer) == [field]


def test_names_every_parameter_that_is_wrong() -> None:
    assert errors(mona().get("/tasks?status=gone&created_after=soon")) == ["status", "created_after"]


# Filters.


def test_finds_by_status_one_or_several_in_any_case() -> None:
    tasks = {state: task_in(state) for state in STATES}
    for state, task in tasks.items():
        assert listed(mona(), status=state.upper()) == ids(task)
    assert listed(mona(), status="failed,pending,failed") == ids(tasks["failed"], tasks["pending"])
    assert listed(mona(), status=",".join(STATES)) == ids(*tasks.values())[::-1]


@pytest.mark.parametrize(
    ("column", "filters"),
    [
        ("to_role", ("to_role", "target")),
        ("from_role", ("from_role",)),
        ("task_type", ("task_type",)),
    ],
)
def test_finds_by_what_stands_there_letter_by_letter(operator: Api, column: str, filters: tuple[str, ...]) -> None:
    works: list[dict[str, Any]] = [{column: text} for text in ("legal", "Legal", "legal-2", "Prüfung", "%", "a,b")]
    tasks = {work[column]: routed(**work) for work in works}
    for name in filters:
        for text, task in tasks.items():
            assert listed(operator, **{name: text}) == ids(task)
        for text in ("nobody", "leg%", "", "x" * 200):
            assert listed(operator, **{name: text}) == []


def test_target_and_to_role_are_both_kept(operator: Api) -> None:
    legal = routed(to_role="legal")
    assert listed(operator, target="legal", to_role="legal") == ids(legal)
    assert listed(operator, target="legal", to_role="finance") == []


def test_finds_by_trace(operator: Api) -> None:
    routed()
    traced = mona().post("/tasks", {"task_type": "routing", "to_role": "finance"}, X_Trace_Id="trace-7").json()
    assert listed(operator, trace_id="trace-7") == [traced["task_id"]]
    assert listed(operator, trace_id="trace") == []


def test_finds_by_creator(operator: Api) -> None:
    hers, his = routed(), routed(by=somebody("max", agent_roles=("manager",)))
    assert listed(operator, created_by="local|mona") == ids(hers)
    assert listed(operator, created_by="local|max") == ids(his)
    assert listed(operator, created_by="elsewhere|mona") == []


def test_created_after_has_its_moment_and_created_before_has_not(operator: Api) -> None:
    task = routed()
    at, later = task.created_at.isoformat(), (task.created_at + timedelta(microseconds=1)).isoformat()
    assert listed(operator, created_after=at, created_before=later) == ids(task)
    assert listed(operator, created_before=at) == []
    assert listed(operator, created_after=later) == []


def test_filters_go_together(operator: Api) -> None:
    wanted = task_in("active", to_role="finance", task_type="approval")
    task_in("active", to_role="finance"), task_in("pending", to_role="finance", task_type="approval")
    assert listed(operator, status="active", target="finance", task_type="approval") == ids(wanted)


def test_a_cursor_goes_with_its_filters_and_its_tenant() -> None:
    for _ in range(2):
        routed()
    cursor = mona().get("/tasks?cursor=&page_size=1&task_type=routing").json()["next_cursor"]
    assert mona().get(f"/tasks?cursor={cursor}&page_size=1&task_type=routing").status_code == 200
    other = Api(token("mona", agent_roles="manager", tenant="other"))
    for caller, query in ((mona(), ""), (mona(), "&task_type=approval"), (other, "&task_type=routing")):
        assert errors(caller.get(f"/tasks?cursor={cursor}{query}")) == ["cursor"]


# Who sees what.


def test_shows_what_is_to_the_callers_roles_or_their_own() -> None:
    to_finance, to_legal = routed(), routed(to_role="legal")
    by_finance = routed(by=somebody("finn"), from_role="finance", to_role="legal")
    foreign = routed(by=somebody("mona", tenant="other", agent_roles=("manager",)))
    assert listed(mona()) == ids(to_legal, to_finance)
    assert listed(finn()) == ids(by_finance, to_finance)
    assert listed(Api(token("bob", agent_roles="finance,legal"))) == ids(by_finance, to_legal, to_finance)
    assert listed(Api(token("bob", agent_roles="manager"))) == []
    for roles in ("auditor", "operator"):
        assert listed(Api(token("bob", roles, ""))) == ids(by_finance, to_legal, to_finance)
        assert listed(Api(token("bob", roles, "", tenant="other"))) == ids(foreign)
    assert listed(Api(token("mona", "approver", "finance"))) == []


def test_a_filter_shows_nobody_more_than_they_see() -> None:
    routed(to_role="legal")
    assert listed(finn(), target="legal") == []
    assert listed(finn(), created_by=str(MONA.identity)) == []
