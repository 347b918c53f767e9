"""An answer holds no more bytes than the bound, and what lies beyond it is not even decoded."""

import json
from typing import Any

import pytest

from orchestrator import answer_size
from orchestrator.answer_size import MAX_BYTES, AnswerSize
from orchestrator.problems import AnswerTooLarge
from sessions_app.models import Session, Task
from tests.api import Api, token
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_calls import routed
from tests.work import open_session

pytestmark = pytest.mark.django_db(transaction=True)
LONGEST = 65_000  # almost what a document may have


@pytest.fixture
def operator() -> Api:
    return Api(token("olga", "operator"))


def long_tasks(count: int) -> list[Task]:
    document = {"a": "x" * LONGEST}
    return [routed(data=document, context=document) for _ in range(count)]


def test_a_page_that_holds_too_many_bytes_is_refused_and_says_how_to_page(operator: Api) -> None:
    long_tasks(MAX_BYTES // (2 * LONGEST) + 1)
    for query in ("page_size=100", "cursor=&page_size=100"):
        answer = operator.get(f"/tasks?{query}")
        assert (answer.status_code, answer.json()["type"]) == (413, "/problems/answer-too-large")
        assert answer.json()["limit"] == MAX_BYTES
        assert "page_size" in answer.json()["detail"]
    assert operator.get("/tasks?cursor=&page_size=20").status_code == 200


def test_smaller_pages_show_every_row_once(operator: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_size, "MAX_BYTES", 6 * LONGEST)
    made = {str(task.pk) for task in long_tasks(5)}
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = operator.get(f"/tasks?cursor={cursor}&page_size=1").json()
        seen += [task["task_id"] for task in page["tasks"]]
        cursor = page["next_cursor"]
    assert len(seen) == 5
    assert set(seen) == made


def test_parts_beside_a_task_count_together(operator: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task = routed()
    for _ in range(3):
        open_session(task=task, metadata={"a": "x" * 1_000})
    where = f"/tasks/{task.pk}?include=sessions,attempts"
    assert operator.get(where).status_code == 200
    monkeypatch.setattr(answer_size, "MAX_BYTES", 3_000)
    assert operator.get(where).json()["type"] == "/problems/answer-too-large"
    assert operator.get(f"/tasks/{task.pk}").status_code == 200


def test_rows_beyond_the_bound_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        open_session(by=somebody("alice"), metadata={"number": number, "text": "x" * 1_000})
    decoded: list[Any] = []
    field: Any = Session._meta.get_field("metadata")

    class Counting(json.JSONDecoder):
        def decode(self, text: str, *args: Any) -> Any:
            decoded.append(text)
            return super().decode(text)

    monkeypatch.setattr(field, "decoder", Counting)
    monkeypatch.setattr(answer_size, "MAX_BYTES", 4_000)
    with pytest.raises(AnswerTooLarge):
        AnswerSize("Ask for fewer.").rows(Session.objects.all())
    assert len(decoded) == 3


def test_a_query_has_at_most_ten_metadata_filters(operator: Api) -> None:
    ten = [f"metadata.a{number}=1" for number in range(10)]
    assert operator.get(f"/sessions?{'&'.join(ten)}").status_code == 200
    answer = operator.get(f"/sessions?{'&'.join([*ten, 'metadata.b=1'])}")
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": "metadata.", "message": "At most 10 parameters may begin with it."}]


def test_a_repeated_event_type_counts_once(operator: Api) -> None:
    open_session()
    once = operator.get("/audit/events?event_type=session.created").json()["events"]
    often = operator.get(f"/audit/events?event_type={','.join(['session.created'] * 300)}").json()["events"]
    assert often == once != []
