"""Calls on approvals to race with, and what holds of every approval whatever has happened to it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

from sessions_app.duties import EXPIRE_APPROVALS
from sessions_app.models import Approval, Decision, Task
from sessions_app.models.recorded import moves
from sessions_app.sweeping import sweep
from tests.api import Api
from tests.concurrency.racing import Call, bearer
from tests.concurrency.tasks import TERMINAL as OVER
from tests.concurrency.tasks import assert_chain
from tests.concurrency.told import chains_of
from tests.sessions_app.approval_calls import ACTION, where
from tests.work import Event

LEGAL = {**moves(Approval)}
TERMINAL = {state for state, targets in LEGAL.items() if not targets}
KEEPING = {"approval.voted": "pending", "approval.consumed": "approved"}
"""What moves an approval to no other state, and in which."""


def decider(name: str) -> Api:
    """An approver of the role manager."""
    return Api(bearer(name, "approver", "manager"))


def approve(approval: Approval, by: str = "petra") -> Call:
    return lambda: decider(by).post(where(approval, "approve"), {"comments": f"Fine, says {by}."})


def reject(approval: Approval, by: str = "rita") -> Call:
    return lambda: decider(by).post(where(approval, "reject"), {"comments": f"No, says {by}."})


def withdraw(approval: Approval) -> Call:
    return lambda: Api(bearer("alice")).post(where(approval, "cancel"))


def consume(approval: Approval, by: str = "alice") -> Call:
    return lambda: Api(bearer(by)).post(where(approval, "consume"), {"action": ACTION})


def expire() -> int:
    """How many the sweep found past their time."""
    outcome = sweep(EXPIRE_APPROVALS)
    assert outcome.poison == {}
    return outcome.moved


# What holds, whatever happened.


def assert_approvals_hold(tenant: str = "default") -> None:
    """Of every approval there is, and of every one there was: its chain, its path, its decisions and its task."""
    told = chains_of("approval", tenant)
    rows = {approval.pk: approval for approval in Approval.objects.filter(tenant=tenant)}
    said: dict[UUID, list[Decision]] = defaultdict(list)
    for decision in Decision.objects.filter(approval__tenant=tenant):
        said[decision.approval_id].append(decision)
    assert rows.keys() == {pk for pk, trail_of in told.items() if trail_of[-1]["event_type"] != "approval.deleted"}
    for pk, trail_of in told.items():
        assert_chain(trail_of)
        _assert_path(trail_of)
        if pk in rows:
            assert (rows[pk].version, rows[pk].status) == (len(trail_of), trail_of[-1]["to_status"])
            assert bytes(rows[pk].audit_head) == bytes(trail_of[-1]["hash"])
            _assert_decisions(rows[pk], trail_of, said[pk])
    _assert_tasks(tenant, rows)


def _assert_path(trail_of: Sequence[Event]) -> None:
    """Each event leads from where the last led by a legal move; at most one leads to an end, and one uses it."""
    assert (trail_of[0]["event_type"], trail_of[0]["from_status"]) == ("approval.created", None)
    for before, after in pairwise(trail_of):
        assert after["from_status"] == before["to_status"]
        if after["event_type"] == "approval.deleted":
            assert after is trail_of[-1]
        elif after["event_type"] in KEEPING:
            assert after["from_status"] == after["to_status"] == KEEPING[after["event_type"]]
        else:
            assert after["to_status"] in LEGAL[before["to_status"]], (before["to_status"], after["event_type"])
    assert sum(event["from_status"] == "pending" and event["to_status"] in TERMINAL for event in trail_of) <= 1
    assert sum(event["event_type"] == "approval.consumed" for event in trail_of) <= 1


def _assert_decisions(row: Approval, trail_of: Sequence[Event], said: Sequence[Decision]) -> None:
    """An event for each, by whoever made it; enough of them where it was approved, and none against."""
    verdicts = Counter(decision.decision for decision in said)
    assert verdicts["approved"] == row.granted <= row.required_approvals
    assert verdicts["rejected"] == (row.status == "rejected")
    assert (row.status == "approved") == (row.granted == row.required_approvals)
    voices = {"approval.voted", "approval.approved", "approval.rejected"}
    told = Counter(event["actor_subject"] for event in trail_of if event["event_type"] in voices)
    assert told == Counter(decision.decider_subject for decision in said)
    assert set(told.values()) <= {1}
    for decision in said:
        others = ("requester_subject", "requester_for_subject", "holder_subject", "holder_for_subject")
        assert decision.decider_subject not in [getattr(decision, other) for other in others]


def _assert_tasks(tenant: str, rows: Mapping[UUID, Approval]) -> None:
    """Nothing is open about a task that is over, and a task waits as long as a question is open that it waits for."""
    states: dict[UUID, Any] = dict(Task.objects.filter(tenant=tenant).values_list("pk", "status"))
    waiting = {row.task_id for row in rows.values() if row.status == "pending" and row.blocks}
    assert waiting == {pk for pk, status in states.items() if status == "blocked"}
    assert not [row for row in rows.values() if row.status == "pending" and states[row.task_id] in OVER]
