"""GET /tasks/{id}"""

import time
from typing import Any
from urllib.parse import quote

import pytest

from orchestrator import boundary
from sessions_app.models import Task
from sessions_app.transitions import task as transitions
from tests.api import Api, errors, token
from tests.sessions_app.session_calls import NO_UUIDS, UNKNOWN_ID, session_in
from tests.sessions_app.task_calls import (
    FINN,
    LEGAL,
    MONA,
    STATES,
    assert_problem,
    claimed,
    finn,
    lapse,
    mona,
    pass_deadline,
    path,
    routed,
    task_in,
)
from tests.work import in_a_thread, open_session

pytestmark = pytest.mark.django_db(transaction=True)

FAR = "2099-01-31T09:00:00Z"


def get(caller: Api, task: Task, query: str = "", **headers: str) -> Any:
    return caller.get(f"{path(task)}{query}", **headers)


def overdue(state: str) -> Task:
    task = task_in(state)
    pass_deadline(task)
    return task


@pytest.mark.parametrize("state", STATES)
def test_says_where_the_task_is_and_where_it_may_go(state: str) -> None:
    task = task_in(state)
    answer = get(mona(), task)
    assert (answer.status_code, answer.headers["ETag"]) == (200, f'"{task.version}"')
    assert answer.headers["Cache-Control"] == "private, no-cache"
    told = answer.json()
    assert (told["task_id"], told["status"], told["version"]) == (str(task.pk), state, task.version)
    assert told["allowed_transitions"] == LEGAL[state]
    assert (told["lease"] is not None) == (state == "active")


def test_shows_who_holds_it_and_no_token_of_theirs() -> None:
    held = claimed()
    answer = get(mona(), held.task)
    assert set(answer.json()["lease"]) == {"holder", "epoch", "expires_at"}
    assert (answer.json()["lease"]["holder"], answer.json()["lease"]["epoch"]) == ("local|finn", 1)
    assert held.token not in answer.content.decode()


@pytest.mark.parametrize(("state", "left"), [("pending", ["failed", "cancelled"]), ("completed", [])])
def test_past_its_deadline_it_shows_what_is_stored_and_may_only_end_badly(state: str, left: list[str]) -> None:
    told = get(mona(), overdue(state)).json()
    assert (told["status"], told["allowed_transitions"]) == (state, left)


@pytest.mark.parametrize("written", ["{}", "task-{}", "TASK-{}", "Task-{}"])
def test_takes_the_id_with_its_prefix_or_without_in_any_case(written: str) -> None:
    task = routed()
    for pk in (str(task.pk), str(task.pk).upper()):
        answer = mona().get(f"/tasks/{written.format(pk)}")
        assert (answer.status_code, answer.json()["task_id"]) == (200, str(task.pk))


@pytest.mark.parametrize(
    "pk", [*NO_UUIDS, f"session-{UNKNOWN_ID}", f"task{UNKNOWN_ID}", f"task-task-{UNKNOWN_ID}", "task-"]
)
def test_refuses_an_id_that_is_none(pk: str) -> None:
    answer = mona().get(f"/tasks/{quote(pk)}")
    assert (answer.status_code, errors(answer)) == (400, ["id"])


def test_unseen_and_missing_look_the_same() -> None:
    unseen = routed(to_role="legal")
    answers = [finn().get(f"/tasks/{pk}", X_Request_Id="request-1") for pk in (str(unseen.pk), UNKNOWN_ID)]
    texts = [
        answer.content.decode().replace(pk, "")
        for answer, pk in zip(answers, (str(unseen.pk), UNKNOWN_ID), strict=True)
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert texts[0] == texts[1]


# Conditional reading.


@pytest.mark.parametrize("tags", ['"1"', 'W/"1"', '"9", "1"', "*"])
@pytest.mark.parametrize("state", ["pending", "completed", "overdue, completed"])
def test_is_not_sent_again_to_a_caller_who_has_this_version(state: str, tags: str) -> None:
    task = overdue("completed") if "," in state else task_in(state)
    answer = get(mona(), task, if_none_match=tags.replace("1", str(task.version)))
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", f'"{task.version}"')


def test_is_sent_to_a_caller_who_has_another_version() -> None:
    assert get(mona(), routed(), if_none_match='"2"').status_code == 200


@pytest.mark.parametrize("state", ["active", "overdue, pending"])
def test_is_sent_again_where_its_version_does_not_tell_all(state: str) -> None:
    task = overdue("pending") if "," in state else task_in(state)
    for tags in (f'"{task.version}"', "*"):
        assert get(mona(), task, if_none_match=tags).status_code == 200


def test_refuses_a_tag_that_is_none() -> None:
    assert errors(get(mona(), routed(), if_none_match="1")) == ["If-None-Match"]


# What belongs to it.


def test_shows_its_sessions_and_attempts_the_newest_first_if_asked(operator: Api) -> None:
    held = claimed()
    older, newer = open_session(task=held.task), open_session(task=held.task)
    session_in("pending")
    finn().post(path(held, "release"), held.body("release"))
    again = claimed(held.task)
    answer = get(operator, held.task, "?include=sessions,attempts")
    assert (answer.status_code, "ETag" in answer.headers) == (200, False)
    told = answer.json()
    assert [one["session_id"] for one in told["sessions"]] == [str(newer.pk), str(older.pk)]
    assert [(one["epoch"], one["attempt"], one["outcome"], one["holder"]) for one in told["attempts"]] == [
        (2, 1, None, "local|finn"),
        (1, 1, "released", "local|finn"),
    ]
    assert told["attempts"][0]["ended_at"] is None
    assert {name: told[name] for name in told if name not in ("sessions", "attempts")} == get(
        operator, held.task
    ).json()
    assert again.token not in answer.content.decode()


@pytest.mark.parametrize("part", ["sessions", "attempts"])
def test_shows_only_the_part_that_is_asked_for_and_never_as_a_304(part: str) -> None:
    task = routed()
    answer = get(mona(), task, f"?include={part}", if_none_match='"1"')
    assert (answer.status_code, answer.json()[part]) == (200, [])
    assert {"sessions", "attempts"} & set(answer.json()) == {part}


def test_shows_of_its_sessions_what_the_caller_sees() -> None:
    task = routed()
    open_session(task=task, role="finance"), open_session(task=task, role="legal")
    for caller, seen in ((finn(), ["finance"]), (mona(), []), (Api(token("ada", "auditor", "")), ["legal", "finance"])):
        sessions = get(caller, task, "?include=sessions").json()["sessions"]
        assert [one["agent_role"] for one in sessions] == seen


@pytest.mark.parametrize(
    "query", ["include=", "include=nonsense", "include=sessions,", "include=Sessions", "include=approvals,approvals"]
)
def test_refuses_a_part_that_there_is_not(query: str) -> None:
    answer = get(mona(), routed(), f"?{query}")
    assert (answer.status_code, errors(answer)) == (400, ["include"])


# Waiting.

NO_WAITS = ("", "-1", "31", "1.5", "one", "1e1", "٣", "+1", " 1", "9" * 30)


@pytest.mark.parametrize("query", [f"wait={quote(text)}" for text in NO_WAITS])
def test_refuses_to_wait_for_what_is_no_number_of_seconds(query: str) -> None:
    assert errors(get(mona(), routed(), f"?{query}")) == ["wait"]


@pytest.mark.parametrize("text", [text for text in NO_WAITS if text != "31"])
def test_refuses_a_version_that_is_no_number(text: str) -> None:
    assert errors(get(mona(), routed(), f"?wait=1&version={quote(text)}")) == ["version"]


@pytest.mark.parametrize(
    "query", ["nonsense=1", "wait=1&wait=1", "version=1&version=1", "include=sessions&include=attempts"]
)
def test_refuses_what_it_does_not_know_or_gets_twice(query: str) -> None:
    assert_problem(get(mona(), routed(), f"?{query}"), 400, "invalid-request")


@pytest.mark.parametrize(
    "query", ["version=9", "version=1", "wait=0", "wait=0&version=1", "wait=30&version=9", "wait=30&version=0"]
)
def test_answers_at_once_where_there_is_nothing_to_wait_for(query: str) -> None:
    before = time.monotonic()
    answer = get(mona(), routed(), f"?{query}")
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("query", ["wait=30", "wait=30&version=1"])
def test_waits_until_the_row_moves_on(query: str) -> None:
    task = routed()
    waiting = in_a_thread(lambda: get(mona(), task, f"?{query}&include=attempts"))
    time.sleep(0.3)
    assert not waiting.done()
    boundary.write(lambda: transitions.cancel(task, actor=MONA))
    assert waiting.result(10).json()["status"] == "cancelled"


def test_answers_it_as_it_is_once_time_is_up() -> None:
    task = routed()
    before = time.monotonic()
    answer = get(mona(), task, "?wait=1&version=1")
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    assert 1 <= time.monotonic() - before < 5
    assert get(mona(), task, "?wait=1&version=1", if_none_match='"1"').status_code == 304


def test_nobody_waits_for_what_they_do_not_see() -> None:
    task = routed(to_role="legal")
    before = time.monotonic()
    assert_problem(get(finn(), task, "?wait=30"), 404, "not-found")
    assert time.monotonic() - before < 5


def test_a_lapsed_lease_is_shown_until_it_is_settled() -> None:
    held = claimed(by=FINN)
    lapse(held.task)
    told = get(mona(), held.task).json()
    assert (told["status"], told["lease"]["holder"]) == ("active", "local|finn")
