"""Grants beside each other: one that lapsed does not stand in the way of one that is good, nor count as it."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from orchestrator import boundary
from orchestrator.problems import Unauthenticated
from orchestrator.work_problems import ApprovalLapsed
from sessions_app import queue
from sessions_app.models import Approval, Task
from sessions_app.transitions import approvals, lease, person
from sessions_app.transitions import task as tasks
from tests.concurrency.approvals import identity, lapse_grant, operator
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    agree,
    approver,
    ask,
    ask_at_creation,
    consume,
    now,
    question,
    refuse,
    task_of,
)
from tests.sessions_app.session_calls import somebody

pytestmark = pytest.mark.django_db(transaction=True)


def requested(about: Task, *, by: Any = None, **asked: Any) -> Approval:
    """A request about a task."""
    return boundary.write(lambda: approvals.request(about, question(**asked), actor=by or somebody()))


def test_a_grant_is_used_beside_an_earlier_one_of_its_role_that_lapsed() -> None:
    lapsed = lapse_grant(agree(ask(task_states.active(), action=ACTION)))
    good = agree(ask(task_of(lapsed), action=ACTION))
    assert consume(good).consumed_at is not None
    assert now(lapsed).consumed_at is None


def test_a_grant_of_one_role_is_not_used_once_that_of_another_role_for_the_same_act_lapsed() -> None:
    both = [question(role, action=ACTION) for role in ("manager", "board")]
    _, (manager, board) = ask_at_creation(*both, by=somebody())
    lapse_grant(agree(manager))
    agree(board, "max")
    with pytest.raises(ApprovalLapsed):
        consume(board)
    assert now(board).consumed_at is None


def test_grants_of_two_roles_for_one_act_are_used_together() -> None:
    both = [question(role, action=ACTION) for role in ("manager", "board")]
    _, (manager, board) = ask_at_creation(*both, by=somebody())
    agree(manager)
    agree(board, "max")
    used = consume(board)
    assert now(manager).consumed_at == used.consumed_at


def test_an_operator_who_is_cut_off_retries_nothing() -> None:
    task = task_of(refuse(ask()))
    boundary.write(partial(person.cut_off, identity("olga"), actor=operator("oskar"), reason="stolen"))
    with pytest.raises(Unauthenticated):
        boundary.write(lambda: tasks.retry(task, actor=operator()))
    assert not Task.objects.filter(retry_of=task).exists()


def test_a_replaced_request_of_a_released_task_blocks_it_no_more_than_before() -> None:
    task, token = task_states.held()
    former = ask(task, action=ACTION)
    boundary.write(partial(lease.release, task, token=token, actor=somebody("finn")))
    replacing = question("board", action=ACTION, replaces=former.pk, reason="They left.")
    later = boundary.write(lambda: approvals.request(task, replacing, actor=operator()))
    assert (later.blocks, task_of(later).status) == (False, "pending")


def test_an_operator_who_reopens_a_request_about_a_task_does_not_use_its_grant() -> None:
    task = task_states.active()
    rejected = refuse(ask(task, action=ACTION))
    again = question(action=ACTION, reopens=rejected.pk, reason="New figures.")
    reopened = boundary.write(lambda: approvals.request(task, again, actor=operator()))
    agree(reopened, "max")
    with pytest.raises(Exception, match="Only the requester"):
        consume(reopened, by=operator())
    assert consume(reopened).consumed_at is not None


def test_a_claim_looks_past_what_a_linked_identity_decided_about() -> None:
    decided = agree(ask(task_states.pending(priority=9)), "petra")
    other = task_states.pending()
    boundary.write(
        partial(
            person.link, identity("pia"), identity("petra"), tenant="default", actor=operator(), reason="one person"
        )
    )
    pia = somebody("pia")
    rows = queue.claimable(pia, ["finance"], None, 1)
    grants = boundary.write(lambda: lease.claim(rows, actor=pia, lasting=timedelta(minutes=1)))
    assert [grant.task.pk for grant in grants] == [other.pk]
    assert task_of(decided).status == "pending"
    assert approver("pia").identity == identity("pia")


def test_a_task_for_whose_act_one_role_was_asked_twice_is_retried_with_one_request() -> None:
    task, (first,) = ask_at_creation(question(action=ACTION))
    lapse_grant(agree(first))
    again = requested(task, action=ACTION, required_approvals=2)
    refuse(again, "rita")
    retried = boundary.write(lambda: tasks.retry(task_of(again), actor=operator()))
    (repeated,) = Approval.objects.filter(task=retried)
    assert (repeated.required_approvals, repeated.reopens_id) == (2, again.pk)


def test_a_grant_is_not_used_once_the_replacement_of_another_role_for_the_same_act_lapsed() -> None:
    both = [question(role, action=ACTION) for role in ("manager", "board")]
    task, (manager, board) = ask_at_creation(*both, by=somebody())
    replacing = question("legal", action=ACTION, replaces=manager.pk, reason="They left.")
    legal = boundary.write(lambda: approvals.request(task, replacing, actor=operator()))
    lapse_grant(agree(legal))
    agree(board, "max")
    with pytest.raises(ApprovalLapsed):
        consume(board)
