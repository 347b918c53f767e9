"""Two callers on one task, each on a connection of its own: in either order, and whenever they come."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sessions_app.models import Session, Task
from tests.concurrency import tasks
from tests.concurrency.racing import Call, at_once, codes, finn, in_turn, kind, no_events, olga, wait_for_waiters
from tests.concurrency.tasks import assert_tasks_hold, held, path
from tests.concurrency.told import refusals, words
from tests.work import in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 6
BEGINNING = ["created", "claimed"]

OnHeld = Callable[[Task, str], Call]
"""What is called on a task that is held with a token."""


def complete(task: Task, token: str, output: object = None) -> Call:
    return lambda: finn().post(path(task, "complete"), {"lease_token": token, "output": output})


def heartbeat(task: Task, token: str) -> Call:
    return lambda: finn().post(path(task, "heartbeat"), {"lease_token": token})


def fail(task: Task, token: str) -> Call:
    return lambda: finn().post(
        path(task, "fail"), {"lease_token": token, "error": {"code": "broken", "message": ""}, "retryable": False}
    )


def release(task: Task, token: str) -> Call:
    return lambda: finn().post(path(task, "release"), {"lease_token": token})


def cancel(task: Task, _token: str = "") -> Call:
    return lambda: olga().post(path(task, "cancel"), {"reason": "not wanted"})


def force_release(task: Task, _token: str = "") -> Call:
    return lambda: olga().post(path(task, "force-release"), {"reason": "it hangs"})


def retry(task: Task) -> Call:
    return lambda: olga().post(path(task, "retry"))


def delete(task: Task) -> Call:
    return lambda: olga().send("DELETE", f"{path(task)}?reason=over")


def claim() -> Any:
    return finn().post("/tasks/claim", {})


def open_session(task: Task) -> Call:
    return lambda: finn().post("/sessions", {"agent_role": "finance", "task_id": str(task.pk)})


# What two calls on a held task come to: the answer to each, and what the chain then tells after its beginning. The
# first wins; what the other is told depends on what the first left.
HELD: list[tuple[OnHeld, OnHeld, list[object], list[str]]] = [
    (cancel, complete, [200, 200], ["cancel_requested", "completed"]),
    (complete, cancel, [200, "illegal-transition"], ["completed"]),
    (cancel, fail, [200, 200], ["cancel_requested", "cancelled"]),
    (fail, cancel, [200, "illegal-transition"], ["failed"]),
    (cancel, release, [200, 200], ["cancel_requested", "cancelled"]),
    (release, cancel, [200, 200], ["released", "cancelled"]),
    (cancel, force_release, [200, 200], ["cancel_requested", "cancelled"]),
    (force_release, cancel, [200, 200], ["force_released", "cancelled"]),
    (force_release, complete, [200, "lease-lost"], ["force_released"]),
    (complete, force_release, [200, "illegal-transition"], ["completed"]),
    (force_release, heartbeat, [200, "lease-lost"], ["force_released"]),
    (heartbeat, force_release, [200, 200], ["force_released"]),
    (complete, heartbeat, [200, "lease-lost"], ["completed"]),
    (heartbeat, complete, [200, 200], ["completed"]),
    (complete, fail, [200, "lease-lost"], ["completed"]),
    (fail, complete, [200, "lease-lost"], ["failed"]),
    (release, complete, [200, "lease-lost"], ["released"]),
]


Race = Callable[..., list[Any]]
RACES: list[Race] = [in_turn, lambda _task, *calls: at_once(*calls)]


def told(answers: Sequence[Any]) -> list[object]:
    """The status of each that was done, the kind of each refusal."""
    return [code if code == 200 else kind(answer) for code, answer in zip(codes(answers), answers, strict=True)]


def test_the_second_judges_what_the_first_left() -> None:
    for first, then, expected, chain in HELD:
        task, token = held()
        answers = in_turn(task, first(task, token), then(task, token))
        assert (first, then, told(answers)) == (first, then, expected)
        assert (first, then, words(task)) == (first, then, [*BEGINNING, *chain])
        assert refusals(task) == ["lease-lost"] * expected.count("lease-lost")
    assert_tasks_hold()


@pytest.mark.parametrize(
    ("one", "other"),
    [(cancel, complete), (force_release, complete), (complete, fail), (force_release, heartbeat), (cancel, release)],
)
def test_they_end_in_one_order_or_the_other_whenever_they_come(one: OnHeld, other: OnHeld) -> None:
    """Nothing comes about but what one call behind the other leaves."""
    outcomes = {(first, then): (expected, chain) for first, then, expected, chain in HELD}
    ahead, (answers, chain) = outcomes[one, other], outcomes[other, one]
    for _ in range(ROUNDS):
        task, token = held()
        came = told(at_once(one(task, token), other(task, token)))
        assert (came, words(task)[2:]) in (ahead, (answers[::-1], chain))
    assert_tasks_hold()


def test_the_same_complete_twice_at_once_is_one_and_both_are_told_the_same() -> None:
    for race in RACES:
        for _ in range(ROUNDS // 2):
            task, token = held()
            answers = race(task, *[complete(task, token, {"sum": 3})] * 2)
            assert codes(answers) == [200, 200]
            assert answers[0].json() == answers[1].json()
            assert words(task) == [*BEGINNING, "completed"]
            assert refusals(task) == []
    assert_tasks_hold()


def test_of_two_completes_with_different_outputs_one_stands_and_the_other_is_refused_and_remembered() -> None:
    winners = set()
    for race in (*RACES[1:] * ROUNDS, in_turn, lambda task, *calls: in_turn(task, *calls[::-1])[::-1]):
        task, token = held()
        answers = race(task, complete(task, token, {"sum": 1}), complete(task, token, {"sum": 2}))
        assert sorted(codes(answers)) == [200, 409]
        winner = codes(answers).index(200)
        assert kind(answers[1 - winner]) == "lease-lost"
        assert Task.objects.get(pk=task.pk).output == {"sum": winner + 1}
        assert (words(task), refusals(task)) == ([*BEGINNING, "completed"], ["lease-lost"])
        winners.add(winner)
    assert winners == {0, 1}
    assert_tasks_hold()


# Claims: they wait for nobody.


def test_a_cancel_that_comes_while_a_claim_is_written_finds_the_task_held() -> None:
    task = tasks.routed()
    with no_events():
        claiming = in_a_thread(claim)
        wait_for_waiters(1)
        cancelling = in_a_thread(cancel(task))
        wait_for_waiters(2)
    assert len(claiming.result(5).json()["tasks"]) == 1
    assert (cancelling.result(5).status_code, cancelling.result(5).json()["cancel_requested"]) == (200, True)
    assert words(task) == ["created", "claimed", "cancel_requested"]
    assert_tasks_hold()


def test_a_claim_that_comes_while_a_cancel_is_written_passes_the_task_over() -> None:
    task = tasks.routed()
    with no_events():
        cancelling = in_a_thread(cancel(task))
        wait_for_waiters(1)
        assert claim().json() == {"tasks": []}
    assert cancelling.result(5).json()["status"] == "cancelled"
    assert words(task) == ["created", "cancelled"]
    assert_tasks_hold()


def test_a_claim_against_a_cancel_leaves_it_cancelled_or_held_and_called_off() -> None:
    for _ in range(ROUNDS):
        task = tasks.routed()
        claimed, cancelled = at_once(claim, cancel(task))
        assert codes([claimed, cancelled]) == [200, 200]
        if claimed.json()["tasks"]:
            assert words(task) == ["created", "claimed", "cancel_requested"]
        else:
            assert words(task) == ["created", "cancelled"]
    assert_tasks_hold()


# What points to a task.


@pytest.mark.parametrize("race", RACES)
def test_of_two_retries_one_makes_a_task_and_the_other_is_told_which(race: Race) -> None:
    for _ in range(ROUNDS // 2):
        task = tasks.failed()
        answers = race(task, retry(task), retry(task))
        assert sorted(codes(answers)) == [201, 409]
        made, refused = sorted(answers, key=lambda answer: int(answer.status_code))
        assert kind(refused) == "already-retried"
        (again,) = Task.objects.filter(retry_of=task)
        assert made.json()["task_id"] == refused.json()["retry_id"] == str(again.pk)
    assert_tasks_hold()


def test_a_session_for_a_task_that_is_deleted_first_is_refused() -> None:
    task = tasks.done()
    deleted, opened = in_turn(task, delete(task), open_session(task))
    assert (deleted.status_code, opened.status_code) == (204, 400)
    assert (Task.objects.count(), Session.objects.count()) == (0, 0)
    assert_tasks_hold()


def test_a_task_for_which_a_session_is_opened_first_stays() -> None:
    task = tasks.done()
    opened, deleted = in_turn(task, open_session(task), delete(task))
    assert (opened.status_code, kind(deleted)) == (201, "still-referenced")
    assert deleted.json()["by"] == {"sessions": 1}
    assert_tasks_hold()


def test_a_delete_against_a_retry_or_a_session_leaves_nothing_that_points_nowhere() -> None:
    for n in range(ROUNDS):
        task = tasks.failed()
        made, deleted = at_once(retry(task) if n % 2 else open_session(task), delete(task))
        assert codes([made, deleted]) in ([201, 409], [404, 204], [400, 204])
        assert Task.objects.filter(pk=task.pk).exists() == (deleted.status_code == 409)
    assert_tasks_hold()
