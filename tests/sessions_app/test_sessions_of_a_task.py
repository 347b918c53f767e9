"""How many sessions of one task are open at once: a hundred, whoever opens them and however."""

from collections import Counter

import pytest

from orchestrator.problems import Problem
from sessions_app.models import Session, Task
from sessions_app.models.session import MAX_OPEN_OF_TASK
from tests.api import Api
from tests.sessions_app.approval_calls import problem_of
from tests.sessions_app.task_states import pending
from tests.work import in_a_thread, move_session, open_session

pytestmark = pytest.mark.django_db(transaction=True)

SLUG = "too-many-open-sessions"


def with_sessions(count: int) -> Task:
    task = pending()
    for _ in range(count):
        open_session(task=task)
    return task


def test_a_task_has_at_most_a_hundred_open_sessions(agent: Api) -> None:
    task = with_sessions(MAX_OPEN_OF_TASK)
    body = {"agent_role": "finance", "task_id": str(task.pk)}
    said = problem_of(agent.post("/sessions", body), 409, SLUG)
    assert (said["limit"], said["detail"]) == (100, "At most 100 sessions of a task may be open.")
    other = open_session()
    problem_of(agent.put(f"/sessions/{other.pk}", {"task_id": str(task.pk)}), 409, SLUG)
    problem_of(agent.send("PATCH", f"/sessions/{other.pk}", {"task_id": str(task.pk)}), 409, SLUG)
    assert Session.objects.filter(task=task).count() == MAX_OPEN_OF_TASK
    # One that is over makes room for another, and those of another task do not count.
    one = Session.objects.filter(task=task)[0]
    assert agent.put(f"/sessions/{one.pk}", {"status": "active"}).status_code == 200
    move_session(Session.objects.get(pk=one.pk), "completed")
    assert agent.post("/sessions", body).status_code == 201
    assert agent.post("/sessions", {**body, "task_id": str(pending().pk)}).status_code == 201


def test_of_several_at_once_no_more_are_opened_than_there_is_room_for() -> None:
    task = with_sessions(MAX_OPEN_OF_TASK - 1)

    def attempt() -> str:
        try:
            open_session(task=task)
        except Problem as refusal:
            return refusal.slug
        return "opened"

    attempts = [in_a_thread(attempt) for _ in range(6)]
    assert Counter(one.result(20) for one in attempts) == {"opened": 1, SLUG: 5}
    assert Session.objects.filter(task=task).count() == MAX_OPEN_OF_TASK
