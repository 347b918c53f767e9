"""Ids of tasks are taken with or without `task-`, in any case, and answered bare: in paths, bodies and queries."""

from uuid import UUID

import pytest

from sessions_app.models import Session
from tests.api import Api, errors
from tests.sessions_app.session_calls import UNKNOWN_ID, path, session_in
from tests.sessions_app.task_calls import routed

pytestmark = pytest.mark.django_db(transaction=True)

WAYS = ("{}", "task-{}", "TASK-{}", "Task-{}")
NONE = (f"approval-{UNKNOWN_ID}", f"session-{UNKNOWN_ID}", f"task{UNKNOWN_ID}", f"task--{UNKNOWN_ID}", "task-")
every_way = pytest.mark.parametrize("way", WAYS)


def written(way: str, pk: UUID) -> str:
    return way.format(str(pk).upper() if way == "TASK-{}" else pk)


@every_way
def test_a_session_is_opened_for_one(agent: Api, way: str) -> None:
    task = routed()
    answer = agent.post("/sessions", {"agent_role": "finance", "task_id": written(way, task.pk)})
    assert (answer.status_code, answer.json()["task_id"]) == (201, str(task.pk))


@every_way
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_session_is_pointed_to_one(agent: Api, method: str, way: str) -> None:
    session, task = session_in("pending"), routed()
    answer = agent.send(method, path(session), {"task_id": written(way, task.pk)})
    assert (answer.status_code, answer.json()["task_id"], answer.json()["version"]) == (200, str(task.pk), 2)
    again = agent.send(method, path(session), {"task_id": str(task.pk)})
    assert again.json()["version"] == 2


@every_way
def test_sessions_are_found_by_one(agent: Api, way: str) -> None:
    task = routed()
    opened = agent.post("/sessions", {"agent_role": "finance", "task_id": str(task.pk)}).json()
    session_in("pending")
    found = agent.get(f"/sessions?task_id={written(way, task.pk)}").json()["sessions"]
    assert [one["session_id"] for one in found] == [opened["session_id"]]


@pytest.mark.parametrize("text", NONE)
def test_what_has_another_prefix_is_no_id_of_a_task(agent: Api, text: str) -> None:
    assert errors(agent.post("/sessions", {"agent_role": "finance", "task_id": text})) == ["task_id"]
    assert errors(agent.get(f"/sessions?task_id={text}")) == ["task_id"]
    assert errors(agent.get(f"/tasks/{text}")) == ["id"]
    assert not Session.objects.exists()


def test_a_session_has_no_such_prefix(agent: Api) -> None:
    assert errors(agent.get(f"/sessions/session-{session_in('pending').pk}")) == ["id"]
