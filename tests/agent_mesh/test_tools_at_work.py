"""What each MCP tool does with a task, an approval or an id, and what it refuses."""

import json
from typing import Any

import pytest

from sessions_app.models import Approval, Task
from tests.agent_mesh.in_process import Wire, client
from tests.agent_mesh.talking import mesh, text
from tests.agent_mesh.test_tools import WORK
from tests.api import token
from tests.sessions_app.approval_calls import ACTION, agree, ask, refuse, task_of
from tests.sessions_app.session_calls import UNKNOWN_ID, session_in, task_for
from tests.sessions_app.task_calls import claimed, mona, routed, stored

pytestmark = pytest.mark.django_db(transaction=True)


# Sending.


def test_what_stands_beside_the_data_becomes_part_of_it() -> None:
    with mesh() as alice:
        sent = alice.does("send_task", target="hr", task={"task_type": "leave", "who": "hans", "data": {"days": 3}})
    assert Task.objects.get().data == {"who": "hans", "days": 3} == sent["data"]


def test_an_object_may_come_as_its_json() -> None:
    with mesh() as alice:
        alice.does("send_task", target="hr", task=json.dumps({"task_type": "leave"}))
    assert Task.objects.get().task_type == "leave"


@pytest.mark.parametrize("task", [{}, {"description": "so"}, {"task_type": ""}, {"task_type": "a", "data": [1]}])
def test_a_task_without_a_type_is_a_mistake_and_not_sent(task: Any) -> None:
    wire = Wire()
    with mesh(wire=wire) as alice:
        assert alice.fails("send_task", target="hr", task=task)["error"] == "mistake"
    assert wire.sent == []


def test_who_has_several_roles_says_from_which() -> None:
    with mesh(token("mona", agent_roles="manager,finance")) as mona_:
        assert "from_role" in mona_.fails("send_task", target="hr", task=WORK)["text"]
        assert mona_.does("send_task", target="hr", task=WORK, from_role="finance")["from_role"] == "finance"


@pytest.mark.parametrize(("said", "priority"), [({}, 5), ({"priority": "low"}, 2), ({"priority": "high"}, 8)])
def test_a_notification_is_a_task_for_its_reader(said: dict[str, Any], priority: int) -> None:
    with mesh() as alice:
        sent = alice.does("notify", target="manager", message="The books are closed.", **said)
    task = Task.objects.get(pk=sent["task_id"])
    assert (task.task_type, task.to_role, task.description) == ("notification", "manager", "The books are closed.")
    assert task.priority == priority


def test_an_empty_message_and_an_unknown_priority_are_mistakes() -> None:
    with mesh() as alice:
        assert "empty" in alice.fails("notify", target="manager", message=" ")["text"]
        assert "priority" in alice.fails("notify", target="manager", message="so", priority="urgent")["text"]
    assert not Task.objects.exists()


# Working.


def test_a_task_that_is_failed_goes_back_or_is_over() -> None:
    with mesh(token("finn")) as finn:
        for retryable, status in ((True, "pending"), (False, "failed")):
            task = routed()
            held = finn.does("claim_task")["task"]
            proof = {"task_id": held["task_id"], "lease_token": held["lease"]["token"]}
            ended = finn.does("fail_task", **proof, code="closed", message="The ledger is.", retryable=retryable)
            assert ended["status"] == status
            assert stored(task).error == {"code": "closed", "message": "The ledger is."}


def test_a_holder_is_told_that_the_task_was_called_off() -> None:
    held = claimed()
    assert mona().post(f"/tasks/{held.task.pk}/cancel").status_code == 200
    with mesh(token("finn")) as finn:
        answer = finn.call("heartbeat", task_id=str(held.task.pk), lease_token=held.token)
    assert text(answer).startswith("Stop: the task was called off.")


def test_a_lease_that_is_gone_is_told() -> None:
    held = claimed()
    with mesh(token("finn")) as finn:
        told = finn.fails("complete_task", task_id=str(held.task.pk), lease_token="none")
    assert (told["error"], told["status"]) == ("lease-lost", 409)


# Asking.


@pytest.mark.parametrize("decision", ["approved", "rejected", "Approved"])
def test_no_tool_decides(decision: str) -> None:
    task = task_for("finance")
    with mesh() as alice:
        told = alice.fails(
            "request_approval", task_id=str(task.pk), approver_role="manager", reason="so", decision=decision
        )
    assert "no tool decides" in told["text"]
    assert not Approval.objects.exists()


def test_comments_stand_after_the_reason() -> None:
    task = task_for("finance")
    with mesh() as alice:
        asked = alice.does(
            "request_approval",
            task_id=str(task.pk),
            approver_role="manager",
            reason="So much.",
            decision="pending",
            comments="See the offer.",
            action=ACTION,
            required_approvals=2,
        )
    approval = Approval.objects.get(pk=asked["approval_id"])
    assert (approval.reason, approval.action, approval.required_approvals) == ("So much.\n\nSee the offer.", ACTION, 2)


def test_waiting_too_short_answers_that_it_is_pending_and_keeps_the_task() -> None:
    held = claimed()
    with mesh(token("finn")) as finn:
        asked = finn.does(
            "request_approval", task_id=str(held.task.pk), approver_role="manager", reason="so", action=ACTION
        )
        until = stored(held.task).lease_expires_at
        waited = {"approval_id": f"approval-{asked['approval_id']}", "timeout_seconds": 1}
        assert finn.does("await_approval", **waited, lease_token=held.token)["status"] == "pending"
        assert "from 0 to 240" in finn.fails("await_approval", **{**waited, "timeout_seconds": 900})["text"]
    assert until is not None
    assert (stored(held.task).lease_expires_at or until) > until


def test_what_people_agreed_to_is_used_once_and_for_nothing_else() -> None:
    approval = agree(ask(action=ACTION))
    used = {"approval_id": str(approval.pk)}
    with mesh() as alice:
        assert alice.fails("consume_approval", **used, action={**ACTION, "amount": 1})["error"] == "action-mismatch"
        assert alice.does("consume_approval", **used, action=ACTION)["consumed_at"]
        assert alice.fails("consume_approval", **used, action=ACTION)["error"] == "already-consumed"


BARE = {"approver_role": "manager", "reason": "Above the limit."}


def test_an_act_is_gated_without_a_task() -> None:
    with mesh() as alice:
        answer = alice.call("request_approval", **BARE, action=ACTION, use_within_seconds=600)
        asked = answer.structured_content or {}
        assert (asked["kind"], asked["task_id"], asked["use_within_seconds"]) == ("action", None, 600)
        assert "can be used for 600 seconds after that" in text(answer)
        approval = agree(Approval.objects.get())
        waited = alice.call("await_approval", approval_id=asked["approval_id"])
        until = (waited.structured_content or {})["approved_until"]
        assert text(waited).startswith(f"Approval {approval.pk} is approved: use it before {until}, then it lapses.")
        assert alice.does("consume_approval", approval_id=asked["approval_id"], action=ACTION)["consumed_at"]
        waited = alice.call("await_approval", approval_id=asked["approval_id"])
        assert "is approved, and was used at 20" in text(waited)
    assert not Task.objects.exists()


def test_without_a_task_and_an_action_it_is_a_mistake() -> None:
    with mesh() as alice:
        assert "Neither task_id nor action" in alice.fails("request_approval", **BARE)["text"]
        asked = {**BARE, "action": ACTION, "task_id": UNKNOWN_ID, "session_id": UNKNOWN_ID}
        assert "Both task_id and session_id" in alice.fails("request_approval", **asked)["text"]
        assert (
            "not of a task" in alice.fails("request_approval", **{**asked, "session_id": f"task-{UNKNOWN_ID}"})["text"]
        )


def test_asking_twice_names_the_request_to_await() -> None:
    with mesh() as alice:
        asked = alice.does("request_approval", **BARE, action=ACTION)["approval_id"]
        refusal = alice.fails("request_approval", **BARE, action=ACTION)
    assert (refusal["error"], refusal["approval_id"]) == ("already-requested", asked)
    assert f"Do not ask again: await_approval {asked}, then consume_approval" in refusal["text"]


def test_a_rejection_stands_and_later_requests_of_the_session_show_it() -> None:
    with mesh() as alice:
        session = client().sessions.open("finance")["session_id"]
        asked = {**BARE, "session_id": f"session-{session}"}
        alice.does("request_approval", **asked, action=ACTION)
        rejected = refuse(Approval.objects.get(), comments="Too\ndear.")
        refusal = alice.fails("request_approval", **asked, action=ACTION)
        assert (refusal["error"], refusal["rejected"]["approval_id"]) == ("already-rejected", str(rejected.pk))
        assert "do not do it, and do not ask again" in refusal["text"]
        cheaper = alice.call("request_approval", **asked, action={**ACTION, "amount": 1})
        assert "Rejected before by manager: 'Too dear.'." in text(cheaper)
        shown = alice.does("fetch_status", task_id=session)
    assert [one["status"] for one in shown["approvals"]] == ["pending", "rejected"]


def test_there_is_no_lease_to_keep_without_a_task() -> None:
    with mesh() as alice:
        asked = alice.does("request_approval", **BARE, action=ACTION)["approval_id"]
        assert "leave lease_token out" in alice.fails("await_approval", approval_id=asked, lease_token="so")["text"]


def test_waiting_ends_with_a_refusal_too() -> None:
    approval = refuse(ask())
    with mesh() as alice:
        assert alice.does("await_approval", approval_id=str(approval.pk))["status"] == "rejected"


# Looking.


def test_a_session_is_found_with_what_belongs_to_its_task() -> None:
    approval = ask()
    with mesh() as alice:
        me = client()
        opened = me.sessions.open("finance", task_id=approval.task_id, metadata={"note": "x" * 500})
        for written in (opened["session_id"], f"session-{opened['session_id'].upper()}"):
            told = alice.does("fetch_status", task_id=written)
            assert (told["kind"], told["id"], told["status"]) == ("session", opened["session_id"], "pending")
        assert told["trace_id"] == task_of(approval).trace_id
        assert [one["approval_id"] for one in told["approvals"]] == [str(approval.pk)]
        assert (len(told["metadata"]), told["metadata_cut"]) == (200, True)


def test_a_session_without_a_task_has_no_trace_and_no_approvals() -> None:
    session = session_in("active")
    with mesh() as alice:
        told = alice.does("fetch_status", task_id=str(session.pk))
    assert (told["status"], told["agent_role"], told["trace_id"], told["approvals"]) == ("active", "finance", None, [])
    assert (told["metadata"], told["metadata_cut"]) == ('{"quarter": "Q4"}', False)


def test_an_approval_is_found_bare_and_with_its_prefix() -> None:
    approval = ask(action=ACTION)
    with mesh() as alice:
        for written in (str(approval.pk), f"approval-{approval.pk}"):
            told = alice.does("fetch_status", task_id=written)
            assert (told["kind"], told["status"], told["agent_role"]) == ("approval", "pending", "manager")
            assert (told["trace_id"], told["task_id"]) == (task_of(approval).trace_id, str(approval.task_id))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("42", "no UUID"),
        ("task-", "no UUID"),
        ("../admin", "no UUID"),
        ("job-" + UNKNOWN_ID, "no UUID"),
        (UNKNOWN_ID + "0", "no UUID"),
        (UNKNOWN_ID, "no task, session or approval"),
        ("task-" + UNKNOWN_ID, "no task 0197"),
        ("session-" + UNKNOWN_ID, "no session 0197"),
        ("approval-" + UNKNOWN_ID, "no approval 0197"),
    ],
)
def test_an_id_of_nothing_is_told_so(written: str, said: str) -> None:
    with mesh() as alice:
        assert said in alice.fails("fetch_status", task_id=written)["text"]


def test_the_id_of_something_else_is_told_so() -> None:
    session = session_in("active")
    with mesh() as alice:
        assert (
            "not of a session" in alice.fails("complete_task", task_id=f"session-{session.pk}", lease_token="a")["text"]
        )
