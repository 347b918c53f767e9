"""What the client does beyond one call of the document: lists as a whole, waiting, traces, exports."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent_mesh.client import Client
from sessions_app.models import Task
from tests.agent_mesh.in_process import Wire, client
from tests.api import token
from tests.sessions_app.approval_calls import agree, ask, task_id
from tests.sessions_app.session_calls import UNKNOWN_ID, session_in
from tests.sessions_app.task_calls import claimed, routed

pytestmark = pytest.mark.django_db(transaction=True)
AUDITOR = ("ada", "auditor", "")


def test_a_walk_has_each_row_once_over_several_pages() -> None:
    made = {str(session_in("pending").pk) for _ in range(5)}
    wire = Wire()
    walked = [session["session_id"] for session in client(wire=wire).sessions.walk(page_size=2)]
    assert sorted(walked) == sorted(made)
    assert len(wire.sent) == 3


def test_a_walk_keeps_its_filters() -> None:
    wanted = session_in("active")
    session_in("pending")
    found = client().sessions.walk(page_size=1, status="active", metadata={"quarter": "Q4"})
    assert [session["session_id"] for session in found] == [str(wanted.pk)]


def test_tasks_approvals_and_events_are_walked_as_well() -> None:
    approval = ask()
    assert [task["task_id"] for task in client().tasks.walk(to_role="finance")] == [str(approval.task_id)]
    assert [one["approval_id"] for one in client().approvals.walk(status=["pending"])] == [str(approval.pk)]
    told = list(client(token(*AUDITOR)).audit.walk(subject_id=approval.pk, order="oldest"))
    assert [event["event_type"] for event in told] == ["approval.created"]


def test_events_are_followed_from_a_cursor() -> None:
    auditor = client(token(*AUDITOR)).audit
    session_in("active")
    first = auditor.since(page_size=1, order="oldest")
    assert [event["event_type"] for event in first["events"]] == ["session.created"]
    assert first["next_cursor"]
    then = auditor.since(first["next_cursor"], order="oldest")
    assert [event["event_type"] for event in then["events"]] == ["session.activated"]


def test_a_page_by_number_has_a_total() -> None:
    session_in("pending")
    page = client().sessions.page(1, 1, created_after=datetime.now(UTC) - timedelta(hours=1))
    assert (page["total"], page["page"], page["page_size"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"approver_role": "manager"}, "Neither task_id nor action"),
        ({"action": {"amount": 1}}, "approver_role is missing"),
        ({"task_id": UNKNOWN_ID, "session_id": UNKNOWN_ID, "approver_role": "manager"}, "Both task_id and session_id"),
    ],
)
def test_a_request_that_makes_no_sense_is_not_sent(asked: Any, said: str) -> None:
    wire = Wire()
    with pytest.raises(ValueError, match=said):
        client(wire=wire).approvals.request(**asked)
    with pytest.raises(ValueError, match="say why"):
        client(wire=wire).tasks.delete(UNKNOWN_ID, reason=" ")
    assert wire.sent == []


def test_a_request_without_a_task_belongs_to_a_session_or_to_its_requester() -> None:
    session, alice = session_in("active"), client()
    asked = alice.approvals.request(
        approver_role="manager", session_id=session.pk, action={"amount": 1}, use_within_seconds=60
    )
    alone = alice.approvals.request(None, "manager", action={"amount": 1})
    assert (asked["kind"], asked["session_id"], asked["use_within_seconds"]) == ("action", str(session.pk), 60)
    assert (alone["kind"], alone["session_id"], alone["task_id"]) == ("action", None, None)
    assert [one["approval_id"] for one in alice.approvals.walk(session_id=session.pk)] == [asked["approval_id"]]


def test_what_has_not_changed_is_none() -> None:
    session, task, approval = session_in("pending"), routed(), ask()
    me = client()
    assert me.sessions.get_if_changed(session.pk, 1) is None
    assert me.tasks.get_if_changed(task.pk, 1) is None
    assert me.approvals.get_if_changed(approval.pk, 1) is None
    changed = me.tasks.get_if_changed(task.pk, 0)
    assert changed is not None
    assert changed["version"] == 1


def test_waiting_ends_with_what_has_moved_on() -> None:
    task, approval = routed(), agree(ask())
    wire = Wire()
    me = client(wire=wire)
    assert me.tasks.wait(task.pk, version=0, seconds=30)["version"] == 1
    assert me.approvals.wait(approval.pk, version=1, seconds=30)["status"] == "approved"
    # The service may take that long, and the answer its time on top.
    assert [request.extensions["timeout"]["read"] for request in wire.sent] == [60.0, 60.0]


def test_a_decision_by_task_is_told() -> None:
    approval = ask()
    decided = client(token("petra", "approver", "manager")).approvals.decide(
        task_id(approval), "approved", comments="so"
    )
    assert decided == {"approval_id": str(approval.pk), "status": "approved"}


def test_a_version_guards_a_write() -> None:
    session = session_in("pending")
    wire = Wire()
    client(wire=wire).sessions.update(session.pk, status="active", version=1)
    assert wire.headers("If-Match") == ['"1"']


def test_an_export_is_every_event_as_json_and_as_csv() -> None:
    session = session_in("active")
    auditor = client(token(*AUDITOR)).audit
    told = [event["event_type"] for event in auditor.export(subject_id=session.pk)]
    assert told == ["session.created", "session.activated"]
    head, *lines = auditor.export_csv(subject_id=session.pk)
    assert head.startswith('"event_id","event_type"')
    assert len(lines) == 2


def test_calls_of_a_trace_name_it_and_others_do_not() -> None:
    me = client()
    traced = me.traced("close-2026-Q4").tasks.route("finance", "routing")
    assert traced["trace_id"] == "close-2026-Q4"
    assert me.tasks.route("finance", "routing")["trace_id"] != "close-2026-Q4"


def test_one_way_to_the_service_may_have_several_callers() -> None:
    me = client()
    hans = me.acting_as(token("hans", agent_roles="hr"))
    assert me.sessions.open("finance")["created_by"] == "local|alice"
    assert hans.sessions.open("hr")["created_by"] == "local|hans"


def test_times_ids_and_every_script_arrive_as_they_are() -> None:
    deadline = datetime(2099, 12, 31, 12, tzinfo=UTC)
    made = client().tasks.create("invoices", "finance", deadline=deadline, data={"payee": "Müller & Søn 株式会社 🧾"})
    stored = Task.objects.get(pk=made["task_id"])
    assert (stored.deadline, stored.data) == (deadline, {"payee": "Müller & Søn 株式会社 🧾"})


def test_what_is_no_json_is_not_sent() -> None:
    wire = Wire()
    with pytest.raises(ValueError, match="JSON"):
        client(wire=wire).sessions.open("finance", metadata={"rate": float("nan")})
    assert wire.sent == []


def test_a_holder_reports_and_is_told_whether_the_task_is_still_wanted() -> None:
    held = claimed()
    finn = client(token("finn"))
    told = finn.tasks.heartbeat(held.task.pk, held.token, progress={"percent": 40, "message": "16 of 41"})
    assert told["cancel_requested"] is False
    assert json.loads(json.dumps(told["lease"]))["epoch"] == 1


@pytest.mark.parametrize("base", ["localhost:8088", "ftp://localhost", "", "http://"])
def test_an_address_that_leads_nowhere_is_refused_at_once(base: str) -> None:
    with pytest.raises(ValueError, match="http"):
        Client(base, "token")


def test_closing_lets_go() -> None:
    with client() as me:
        assert me.service.status()["status"] == "ok"
    with pytest.raises(RuntimeError):
        me.service.status()
