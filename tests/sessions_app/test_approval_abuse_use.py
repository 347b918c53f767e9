"""What people might try with time: to approve past the deadline of the task, and to use a grant late."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from psycopg.errors import IntegrityConstraintViolation

from sessions_app.models import Approval
from tests.api import Api, errors
from tests.database import without_trigger
from tests.sessions_app import task_states
from tests.sessions_app.agreement_calls import SUBJECTS, Asking, body_of, each_subject, made_by
from tests.sessions_app.approval_calls import (
    ACTION,
    agree,
    ask,
    ask_at_creation,
    asker,
    lapse_grant,
    manager,
    nothing_but_refused,
    nothing_moves,
    now,
    problem_of,
    question,
    task_of,
    where,
)
from tests.sessions_app.approval_sql import Beside, move, refused, say
from tests.sessions_app.task_calls import pass_deadline

pytestmark = pytest.mark.django_db(transaction=True)

BODY = {"action": ACTION}
LAPSED = "has lapsed"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# Past the deadline of the task.


@pytest.mark.parametrize("state", ["pending", "active"])
def test_past_the_deadline_nothing_is_approved_and_everything_can_be_rejected(state: str) -> None:
    approval = ask(getattr(task_states, state)(), required_approvals=2)
    pass_deadline(task_of(approval))
    assert manager().get("/approvals?assignee=me").json()["approvals"] == []
    by_task = {"task_id": str(approval.task_id), "decision": "approved"}
    tried = ("petra", "approve", "deadline-exceeded")
    with nothing_but_refused(tried, tried):
        problem_of(manager().post(where(approval, "approve"), {}), 409, "deadline-exceeded")
        problem_of(manager().post("/approvals", by_task), 409, "deadline-exceeded")
    assert manager().post(where(approval, "reject"), {}).json()["status"] == "rejected"


def test_the_last_approval_of_a_quorum_may_come_past_the_deadline() -> None:
    approval = agree(ask(required_approvals=2))
    pass_deadline(task_of(approval))
    with nothing_but_refused(("max", "approve", "deadline-exceeded")):
        problem_of(manager("max").post(where(approval, "approve"), {}), 409, "deadline-exceeded")
    assert task_of(approval).status == "blocked"


def test_past_the_deadline_nothing_is_requested_and_nothing_consumed() -> None:
    granted = agree(SUBJECTS["task"]())
    pass_deadline(task_of(granted))
    with nothing_moves():
        answer = asker().post("/approvals", body_of(granted, action={"step": 2}))
        problem_of(answer, 409, "illegal-transition")
    with nothing_but_refused(("alice", "consume", "deadline-exceeded")):
        problem_of(asker().post(where(granted, "consume"), BODY), 409, "deadline-exceeded")


def test_sql_approves_nothing_past_the_deadline(beside: Beside) -> None:
    approval = ask(task_states.active())
    pass_deadline(task_of(approval))
    with refused(beside, IntegrityConstraintViolation, "its task is past its deadline"):
        say(beside, approval)
    with beside.transaction():
        say(beside, approval, decision="rejected")
        move(beside, approval, status="rejected")
    assert now(approval).status == "rejected"


def test_sql_consumes_nothing_past_the_deadline(beside: Beside) -> None:
    approval = agree(SUBJECTS["task"]())
    pass_deadline(task_of(approval))
    with refused(beside, IntegrityConstraintViolation, "is over, or waits for others"):
        move(beside, approval, consumed_at="2026-01-01T00:00Z")


# A grant has an end.


@each_subject
def test_a_grant_says_until_when_it_can_be_used(asking: Asking) -> None:
    approval = asking(use_within_seconds=3600)
    assert manager().get(where(approval)).json()["approved_until"] is None
    said = manager().post(where(approval, "approve"), {}).json()
    assert said["use_within_seconds"] == 3600
    assert moment(said["approved_until"]) - moment(said["decision_at"]) == timedelta(hours=1)


@each_subject
def test_a_grant_that_lapsed_is_not_used(beside: Beside, asking: Asking) -> None:
    approval = agree(asking(use_within_seconds=2_592_000))
    lapse_grant(approval)
    with nothing_but_refused(("alice", "consume", "approval-lapsed")):
        answer = asker().post(where(approval, "consume"), BODY)
    until = asker().get(where(approval)).json()["approved_until"]
    assert until in problem_of(answer, 409, "approval-lapsed")["detail"]
    with refused(beside, IntegrityConstraintViolation, LAPSED):
        move(beside, now(approval), consumed_at="2026-01-01T00:00Z")
    assert now(approval).consumed_at is None


def test_nor_by_the_holder_of_the_task() -> None:
    approval = agree(SUBJECTS["task"]())
    lapse_grant(approval)
    with nothing_but_refused(("finn", "consume", "approval-lapsed")):
        problem_of(asker("finn").post(where(approval, "consume"), BODY), 409, "approval-lapsed")


def test_of_a_grant_that_lapsed_another_action_is_still_another_action() -> None:
    approval = agree(SUBJECTS["alone"]())
    lapse_grant(approval)
    with nothing_but_refused(("alice", "consume", "action-mismatch")):
        problem_of(asker().post(where(approval, "consume"), {"action": {}}), 409, "action-mismatch")


@each_subject
def test_a_grant_from_before_there_was_an_end_does_not_lapse(asking: Asking) -> None:
    approval = agree(asking())
    with (
        without_trigger("approvals", "approvals_keep_their_question"),
        without_trigger("approvals", "approvals_complete_update"),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE approvals SET use_within_seconds = NULL WHERE id = %s", [approval.pk])
    lapse_grant(approval)
    shown = asker().get(where(approval)).json()
    assert (shown["use_within_seconds"], shown["approved_until"]) == (None, None)
    with nothing_moves():
        problem_of(asker().post("/approvals", body_of(approval)), 409, "already-requested")
    assert asker().post(where(approval, "consume"), BODY).status_code == 200


@each_subject
def test_how_long_a_grant_is_good_has_a_default_of_the_service(asking: Asking, settings: Any) -> None:
    assert asking().use_within_seconds == 86_400
    settings.APPROVAL_USE_WITHIN_SECONDS = 120
    assert asking(action={"step": 2}).use_within_seconds == 120
    assert asking(action={"step": 3}, use_within_seconds=60).use_within_seconds == 60
    _, (at_creation,) = ask_at_creation(question())
    assert at_creation.use_within_seconds == 120


@pytest.mark.parametrize(
    ("seconds", "status"), [(60, 201), (2_592_000, 201), (59, 400), (2_592_001, 400), (0, 400), (-60, 400), ("60", 400)]
)
def test_how_long_a_grant_is_good_has_bounds(agent: Api, seconds: Any, status: int) -> None:
    one = {"approver_role": "manager", "use_within_seconds": seconds}
    work = {"task_type": "x", "to_role": "finance"}
    calls: list[tuple[str, dict[str, Any], str]] = [
        ("/approvals", {**one, "task_id": str(task_states.pending().pk)}, "use_within_seconds"),
        ("/approvals", {**one, "action": {"step": 1}}, "use_within_seconds"),
        ("/tasks", {**work, "requires_approval": one}, "requires_approval.0.use_within_seconds"),
        ("/tasks", {**work, "requires_approval": [one]}, "requires_approval.0.use_within_seconds"),
    ]
    for path, body, field in calls:
        answer = agent.post(path, body)
        assert answer.status_code == status, answer.content
        if status == 400:
            assert list(errors(answer)) == [field]
    assert set(Approval.objects.values_list("use_within_seconds", flat=True)) <= {seconds}


@each_subject
def test_the_request_of_the_same_act_after_the_grant_lapsed_shows_the_first(asking: Asking) -> None:
    approval = agree(asking(), comments="Fine.")
    lapse_grant(approval)
    again = made_by(asker().post("/approvals", body_of(approval)))
    (shown,) = manager("max").get(where(again)).json()["earlier"]
    assert (shown["approval_id"], shown["outcome"], shown["comments"]) == (str(approval.pk), "approved", "Fine.")
