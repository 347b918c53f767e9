"""A task from its routing to its end, as those who take part in it call the API."""

import pytest

from sessions_app.models import Task
from tests.api import Api, token
from tests.work import chain, events

pytestmark = pytest.mark.django_db(transaction=True)


def test_is_routed_claimed_kept_and_completed_and_a_late_call_is_refused_and_remembered() -> None:
    mona, finn = Api(token("mona", agent_roles="manager")), Api(token("finn"))
    work = {"target": "finance", "task": {"task_type": "routing", "data": {"invoices": 41}}}
    routed = mona.post("/tasks/route", work, Idempotency_Key="october")
    assert (routed.status_code, routed.json()["status"]) == (202, "pending")
    claimed = finn.post("/tasks/claim", {}).json()["tasks"][0]
    assert claimed["task_id"] == routed.json()["task_id"]
    where, proof = f"/tasks/task-{claimed['task_id']}", {"lease_token": claimed["lease"]["token"]}

    kept = finn.post(f"{where}/heartbeat", {**proof, "progress": {"percent": 40}})
    assert (kept.status_code, kept.json()["cancel_requested"]) == (200, False)
    done = finn.post(f"{where}/complete", {**proof, "output": {"unpaid": 3}})
    assert (done.status_code, done.json()["status"]) == (200, "completed")
    again = finn.post(f"{where}/complete", {**proof, "output": {"unpaid": 3}})
    assert (again.status_code, again.json()) == (200, done.json())
    late = finn.post(f"{where}/complete", {**proof, "output": {"unpaid": 4}})
    assert (late.status_code, late.json()["type"]) == (409, "/problems/lease-lost")

    task = Task.objects.get()
    told = [event["event_type"] for event in chain(task)]
    assert told == ["task.created", "task.claimed", "task.completed"]
    assert [event["reason"] for event in events("event_type = 'task.refused'")] == ["lease-lost"]
    assert task.version == len(told)
