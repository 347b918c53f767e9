"""Calls on one approval that meet: in either order, and whenever they come, it is settled once and used once."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from sessions_app.models import Approval, Task
from tests.concurrency.approvals import (
    approve,
    assert_approvals_hold,
    consume,
    expire,
    reject,
    withdraw,
)
from tests.concurrency.racing import (
    Call,
    at_once,
    codes,
    finn,
    in_turn,
    kind,
    no_events,
    olga,
    results,
    wait_for_waiters,
)
from tests.concurrency.tasks import assert_tasks_hold, path
from tests.concurrency.told import refusals, words
from tests.database import superuser_connection
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import ACTION, agree, ask, now, task_of
from tests.work import in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 3
SOON = timedelta(seconds=1.5)
"""Long enough to come in time on a busy machine, and shorter than anybody waits for a lock."""
BEGINNING = ["created", "blocked"]

Two = tuple[Callable[[Approval], Call], Callable[[Approval], Call]]


def told(answers: Sequence[Any]) -> list[object]:
    """The status of each that was done, the kind of each refusal."""
    return [code if code == 200 else kind(answer) for code, answer in zip(codes(answers), answers, strict=True)]


def assert_all_hold() -> None:
    assert_approvals_hold()
    assert_tasks_hold()


def until_past(approval: Approval) -> None:
    """Until its time has passed, by the clock that the database here shares."""
    while (left := approval.expires_at.timestamp() - time.time()) >= 0:
        time.sleep(left + 0.01)


def cancel_task(task: Task) -> Call:
    return lambda: olga().post(path(task, "cancel"), {"reason": "not wanted"})


def ask_about(task: Task) -> Call:
    return lambda: finn().post("/approvals", {"task_id": str(task.pk), "approver_role": "manager"})


# Deciders among themselves.


@pytest.mark.parametrize("needed", [1, 2])
def test_two_approvers_and_one_rejecter_leave_one_end_and_one_event_of_it(needed: int) -> None:
    for _ in range(ROUNDS):
        approval = ask(required_approvals=needed)
        came = told(at_once(approve(approval, "petra"), approve(approval, "max"), reject(approval, "rita")))
        after, chain = now(approval), words(approval)
        assert after.status in ("approved", "rejected")
        assert [word for word in chain if word not in ("created", "voted")] == [after.status]
        # Whoever came after the end is told so, and that is remembered.
        assert refusals(approval) == ["illegal-transition"] * came.count("illegal-transition")
        assert came.count(200) + len(refusals(approval)) == 3
        assert came.count(200) == len(chain) - 1
        task = task_of(approval)
        ends = ("unblocked", "pending") if after.status == "approved" else ("failed", "failed")
        assert (words(task), task.status) == ([*BEGINNING, ends[0]], ends[1])
    assert_all_hold()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
def test_the_first_that_is_enough_settles_it(order: tuple[int, ...]) -> None:
    approval = ask(required_approvals=2)
    calls = [approve(approval, "petra"), approve(approval, "max"), reject(approval, "rita")]
    came = told(in_turn(task_of(approval), *[calls[n] for n in order]))
    enough = 1 if order[0] == 2 else 2
    assert came == [200] * enough + ["illegal-transition"] * (3 - enough)
    assert words(approval)[-1] == ("rejected" if 2 in order[:enough] else "approved")
    assert_all_hold()


def test_the_last_two_votes_of_a_quorum_at_once_are_one_transition() -> None:
    for _ in range(ROUNDS):
        approval = agree(ask(required_approvals=3), "petra")
        answers = at_once(approve(approval, "max"), approve(approval, "paul"))
        assert codes(answers) == [200, 200]
        assert sorted(str(answer.json()["status"]) for answer in answers) == ["approved", "pending"]
        assert words(approval) == ["created", "voted", "voted", "approved"]
        assert words(task_of(approval)) == [*BEGINNING, "unblocked"]
    assert_all_hold()


def test_one_vote_too_many_at_once_is_told_the_outcome() -> None:
    for _ in range(ROUNDS):
        approval = agree(ask(required_approvals=2), "petra")
        came = told(at_once(approve(approval, "max"), approve(approval, "paul")))
        assert Counter(came) == {200: 1, "illegal-transition": 1}
        assert words(approval) == ["created", "voted", "approved"]
    assert_all_hold()


def test_the_same_person_at_once_counts_once() -> None:
    for _ in range(ROUNDS):
        approval = ask(required_approvals=2)
        came = told(at_once(approve(approval, "max"), approve(approval, "max")))
        assert Counter(came) == {200: 1, "already-decided": 1}
        assert (words(approval), now(approval).status) == (["created", "voted"], "pending")
    assert_all_hold()


# Two questions about one task.


def test_two_questions_granted_at_once_let_the_task_go_on_once() -> None:
    for _ in range(ROUNDS):
        first = ask()
        second = ask(task_of(first))
        assert codes(at_once(approve(first, "petra"), approve(second, "max"))) == [200, 200]
        assert words(task_of(first)) == [*BEGINNING, "unblocked"]
    assert_all_hold()


def test_one_granted_and_one_refused_at_once_fail_the_task() -> None:
    for _ in range(ROUNDS):
        first = ask()
        second = ask(task_of(first))
        came = told(at_once(approve(first, "petra"), reject(second, "max")))
        assert came in ([200, 200], ["illegal-transition", 200])
        assert words(task_of(first)) == [*BEGINNING, "failed"]
        assert now(first).status == ("approved" if came[0] == 200 else "cancelled")
    assert_all_hold()


# Against its time.


def test_a_vote_that_waits_until_the_time_has_passed_does_not_count() -> None:
    approval = ask(lasting=SOON)
    with superuser_connection() as holder, holder.transaction():
        holder.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", [approval.task_id])
        deciding = in_a_thread(approve(approval))
        wait_for_waiters(1)
        until_past(approval)
    assert told(results([deciding])) == ["approval-expired"]
    assert expire() == 1
    assert words(approval) == ["created", "expired"]
    assert words(task_of(approval)) == [*BEGINNING, "failed"]
    assert_all_hold()


def test_a_vote_in_time_that_is_written_while_the_time_passes_counts_and_the_sweep_leaves_it() -> None:
    approval = ask(lasting=SOON)
    with no_events():
        deciding = in_a_thread(approve(approval))
        wait_for_waiters(1)
        until_past(approval)
        sweeping = in_a_thread(expire)
    assert (told(results([deciding])), results([sweeping])) == ([200], [0])
    assert words(approval) == ["created", "approved"]
    assert_all_hold()


def test_a_vote_against_the_sweep_leaves_it_approved_or_expired() -> None:
    for n in range(2 * ROUNDS):
        approval = ask(lasting=timedelta(seconds=0.02 + 0.01 * (n % 4)))

        def swept(approval: Approval = approval) -> int:
            until_past(approval)
            return expire()

        decided, _ = at_once(approve(approval), swept)
        expire()
        after = now(approval).status
        ways: dict[str, list[object]] = {"approved": [200], "expired": ["approval-expired", "illegal-transition"]}
        assert told([decided])[0] in ways[after]
        assert words(approval) == ["created", after]
        assert task_of(approval).status == {"approved": "pending", "expired": "failed"}[after]
    assert_all_hold()


# Against being called off.


@pytest.mark.parametrize(
    ("two", "expected", "end", "task"),
    [
        ((approve, withdraw), [200, "illegal-transition"], "approved", "unblocked"),
        ((withdraw, approve), [200, "illegal-transition"], "cancelled", "unblocked"),
        ((reject, withdraw), [200, "illegal-transition"], "rejected", "failed"),
        ((withdraw, reject), [200, "illegal-transition"], "cancelled", "unblocked"),
        ((withdraw, withdraw), [200, "illegal-transition"], "cancelled", "unblocked"),
    ],
)
def test_of_a_decision_and_a_withdrawal_the_first_stands(two: Two, expected: list[object], end: str, task: str) -> None:
    approval = ask()
    assert told(in_turn(task_of(approval), *[call(approval) for call in two])) == expected
    assert (words(approval), words(task_of(approval))) == (["created", end], [*BEGINNING, task])
    assert_all_hold()


def test_an_approval_against_its_withdrawal_ends_in_one_of_both() -> None:
    for _ in range(ROUNDS):
        approval = ask()
        came = told(at_once(approve(approval), withdraw(approval)))
        assert Counter(came) == {200: 1, "illegal-transition": 1}
        end = now(approval).status
        assert end == ("approved" if came[0] == 200 else "cancelled")
        # The request was added to the task later: the task goes on without it.
        assert task_of(approval).status == "pending"
    assert_all_hold()


# Against the task's end.


def test_an_approval_before_the_end_of_its_task_stands_and_one_after_it_is_refused() -> None:
    approval = ask()
    assert told(in_turn(task_of(approval), approve(approval), cancel_task(task_of(approval)))) == [200, 200]
    assert words(approval) == ["created", "approved"]
    assert words(task_of(approval)) == [*BEGINNING, "unblocked", "cancelled"]
    approval = ask()
    assert told(in_turn(task_of(approval), cancel_task(task_of(approval)), approve(approval))) == [
        200,
        "illegal-transition",
    ]
    assert words(approval) == ["created", "cancelled"]
    assert words(task_of(approval)) == [*BEGINNING, "cancelled"]
    assert_all_hold()


def test_an_approval_against_the_end_of_a_held_task_is_given_or_closed() -> None:
    for _ in range(ROUNDS):
        task, token = task_states.held()
        approval = ask(task)

        def complete(task: Any = task, token: str = token) -> Any:
            return finn().post(path(task, "complete"), {"lease_token": token})

        came = told(at_once(approve(approval), complete))
        assert came in ([200, 200], ["illegal-transition", 200])
        assert words(approval) == ["created", "approved" if came[0] == 200 else "cancelled"]
        assert words(task) == ["created", "claimed", "completed"]
    assert_all_hold()


def test_a_question_against_the_end_of_its_task_is_closed_or_never_asked() -> None:
    for _ in range(ROUNDS):
        task = task_states.pending()
        asked, ended = at_once(ask_about(task), cancel_task(task))
        assert ended.status_code == 200
        if asked.status_code == 201:
            assert words(Approval.objects.get(task=task)) == ["created", "cancelled"]
        else:
            assert (kind(asked), Approval.objects.filter(task=task).exists()) == ("illegal-transition", False)
    assert_all_hold()


def test_a_question_against_a_claim_blocks_the_task_or_finds_it_held() -> None:
    for _ in range(ROUNDS):
        task = task_states.pending()
        asked, claimed = at_once(ask_about(task), lambda: finn().post("/tasks/claim"))
        assert codes([asked, claimed]) == [201, 200]
        held = bool(claimed.json()["tasks"])
        assert Approval.objects.get(task=task).blocks is not held
        assert words(task) == ["created", "claimed" if held else "blocked"]
        assert olga().post(path(task, "cancel")).status_code == 200
    assert_all_hold()


# Using it.


def test_used_twice_at_once_it_is_used_once() -> None:
    for _ in range(ROUNDS):
        task = task_states.active()
        approval = agree(ask(task, action=ACTION))
        came = told(at_once(consume(approval, "alice"), consume(approval, "finn"), consume(approval, "finn")))
        assert Counter(came) == {200: 1, "already-consumed": 2}
        assert words(approval) == ["created", "approved", "consumed"]
        assert refusals(approval) == ["already-consumed"] * 2
    assert_all_hold()


def test_used_before_the_end_of_its_task_or_not_at_all() -> None:
    approval = agree(ask(action=ACTION))
    assert told(in_turn(task_of(approval), consume(approval), cancel_task(task_of(approval)))) == [200, 200]
    approval = agree(ask(action=ACTION))
    assert told(in_turn(task_of(approval), cancel_task(task_of(approval)), consume(approval))) == [
        200,
        "illegal-transition",
    ]
    assert now(approval).consumed_at is None
    for _ in range(ROUNDS):
        approval = agree(ask(action=ACTION))
        used, _ = at_once(consume(approval), cancel_task(task_of(approval)))
        assert (now(approval).consumed_at is None) == (used.status_code == 409)
    assert_all_hold()


def test_used_at_the_moment_of_the_last_vote_it_is_used_after_it_or_not_yet() -> None:
    for _ in range(ROUNDS):
        approval = ask(task_states.active(), action=ACTION)
        voted, used = at_once(approve(approval), consume(approval))
        assert voted.status_code == 200
        assert told([used])[0] in (200, "illegal-transition")
        assert words(approval) == ["created", "approved", *["consumed"] * (used.status_code == 200)]
    assert_all_hold()
