"""A purchase that needs two of three managers, from the asking to the one use of what was agreed to."""

import pytest

from sessions_app.models import Approval, Task
from tests.api import Api, token
from tests.work import assert_chain_holds, chain, events

pytestmark = pytest.mark.django_db(transaction=True)
ACTION = {"pay": "Hansen Tools", "amount": 48_000, "currency": "EUR"}


def manager(name: str) -> Api:
    return Api(token(name, "approver", "manager"))


def test_is_asked_at_creation_agreed_by_two_and_the_task_goes_on() -> None:
    finn = Api(token("finn"))
    asked = {"approver_role": "manager", "required_approvals": 2, "action": ACTION, "reason": "Above the limit."}
    work = {"task_type": "purchase", "to_role": "finance", "requires_approval": asked}
    made = finn.post("/tasks", work)
    assert (made.status_code, made.json()["status"]) == (201, "blocked"), made.content
    assert finn.post("/tasks/claim", {}).json() == {"tasks": []}

    mona, max_ = manager("mona"), manager("max")
    (found,) = mona.get("/approvals?assignee=me&status=pending").json()["approvals"]
    where = f"/approvals/approval-{found['approval_id']}"
    first = mona.post(f"{where}/approve", {"comments": "Checked."})
    assert (first.status_code, first.json()["status"]) == (200, "pending"), first.content
    assert mona.post(f"{where}/approve", {}).json()["type"] == "/problems/already-decided"
    assert mona.get("/approvals?assignee=me").json()["total"] == 0
    second = max_.post("/approvals", {"task_id": made.json()["task_id"], "decision": "approved"})
    assert (second.status_code, second.json()["status"]) == (202, "approved"), second.content

    claimed = finn.post("/tasks/claim", {}).json()["tasks"][0]
    other = finn.post(f"{where}/consume", {"action": {**ACTION, "amount": 49_000}})
    assert other.json()["type"] == "/problems/action-mismatch"
    used = finn.post(f"{where}/consume", {"action": {**ACTION, "amount": 48_000.0}})
    assert used.status_code == 200, used.content
    assert finn.post(f"{where}/consume", {"action": ACTION}).json()["type"] == "/problems/already-consumed"
    done = finn.post(f"/tasks/{claimed['task_id']}/complete", {"lease_token": claimed["lease"]["token"]})
    assert done.status_code == 200, done.content

    approval, task = Approval.objects.get(), Task.objects.get()
    told = [event["event_type"] for event in chain(approval)]
    assert told == ["approval.created", "approval.voted", "approval.approved", "approval.consumed"]
    told = [event["event_type"] for event in chain(task)]
    assert told == ["task.created", "task.unblocked", "task.claimed", "task.completed"]
    assert chain(task)[1]["cause"] == chain(approval)[2]["id"]
    assert_chain_holds(approval)
    assert_chain_holds(task)
    refused = events("event_type = 'approval.refused'")
    assert sorted(one["reason"] for one in refused) == ["action-mismatch", "already-consumed", "already-decided"]


def test_a_refusal_fails_what_waited_and_nobody_decides_their_own() -> None:
    alice = Api(token("alice", "agent,approver", "finance,manager"))
    task = alice.post("/tasks", {"task_type": "x", "to_role": "finance", "from_role": "finance"}).json()
    asked = alice.post("/approvals", {"task_id": task["task_id"], "approver_role": "manager"})
    assert asked.status_code == 201, asked.content
    assert alice.get(f"/tasks/{task['task_id']}").json()["status"] == "blocked"
    where = asked.headers["Location"]
    own = alice.post(f"{where}/approve", {})
    assert (own.status_code, own.json()["type"]) == (403, "/problems/separation-of-duties")
    assert Api(token("olga", "operator", "manager")).post(f"{where}/approve", {}).status_code == 403
    assert manager("mona").post(f"{where}/reject", {"comments": "No."}).status_code == 200
    failed = alice.get(f"/tasks/{task['task_id']}?include=approvals").json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "approval-rejected")
    assert failed["approvals"][0]["decisions"][0]["decider"] == "local|mona"
    olga = Api(token("olga", "operator", ""))
    again = olga.post(f"/tasks/{task['task_id']}/retry", {})
    assert (again.status_code, again.json()["status"]) == (201, "blocked"), again.content
    cancelled = olga.post(f"/tasks/{again.json()['task_id']}/cancel", {})
    assert cancelled.json()["status"] == "cancelled"
    assert sorted(Approval.objects.values_list("status", flat=True)) == ["cancelled", "rejected"]
    assert olga.send("DELETE", f"/tasks/{again.json()['task_id']}?reason=Old.").status_code == 204
    assert Approval.objects.count() == 1
