"""GET /audit/events and /audit/events/{id}: who reads which events, in which order, page by page."""

import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit_app.models import AuditEvent
from audit_app.serializers import EVENT_NAMES, event_out
from audit_app.trail import instant
from tests import work
from tests.api import Api, errors, token
from tests.audit_app.many_events import lives
from tests.audit_app.seals import wait_until_sealable
from tests.database import superuser_connection

UNKNOWN = UUID("00000000-0000-4000-8000-000000000000")

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def auditor() -> Api:
    return Api(token("ada", "auditor", ""))


def listed(caller: Api, query: str = "") -> list[dict[str, Any]]:
    answer = caller.get(f"/audit/events{query}")
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def types(caller: Api, query: str = "") -> list[str]:
    return [event["event_type"] for event in listed(caller, query)]


def test_shows_an_event_the_same_everywhere(auditor: Api) -> None:
    session = work.move_session(work.open_session(), "active", reason="because")
    shown = listed(auditor)[0]
    event = AuditEvent.objects.get(subject_id=session.pk, seq=2)
    assert tuple(shown) == EVENT_NAMES == tuple(event_out(event))
    assert shown == {
        "event_id": str(event.id),
        "event_type": "session.activated",
        "subject_type": "session",
        "subject_id": str(session.pk),
        "seq": 2,
        "from": "pending",
        "to": "active",
        "actor": "https://issuer.example|alice",
        "actor_kind": "agent",
        "on_behalf_of": None,
        "role": "finance",
        "via": "api",
        "reason": "because",
        "changes": {"reason": "because"} if "reason" in event.metadata["changes"] else {},
        "cause": None,
        "request_id": "request-1",
        "trace_id": "trace-1",
        "ip": "192.0.2.7",
        "timestamp": instant(event.timestamp),
        "prev_hash": bytes(work.chain(session)[0]["hash"]).hex(),
        "hash": bytes(event.hash).hex(),
    }
    assert auditor.get(f"/audit/events/{event.id}").json() == shown
    # Whoever has the text, from a proof, takes the same hash.
    assert work.hash_of(bytes.fromhex(shown["prev_hash"]), event.body).hex() == shown["hash"]


@pytest.mark.parametrize(
    ("roles", "status"),
    [("auditor", 200), ("operator", 200), ("agent", 403), ("approver", 403), ("agent,approver", 403)],
)
def test_is_for_auditors_and_operators(roles: str, status: int) -> None:
    event = work.chain(work.open_session())[0]
    caller = Api(token("alice", roles))
    for path in ("/audit/events", f"/audit/events/{event['id']}", "/audit/export", "/audit/export?format=csv"):
        assert caller.get(path).status_code == status, path
    assert Api(None).get("/audit/events").status_code == 401
    # It names no row: there is nothing that such an attempt would be kept with.
    assert AuditEvent.objects.count() == 1


def test_knows_nothing_of_other_tenants(auditor: Api) -> None:
    own, foreign = work.open_session(), work.open_session(by=work.actor(tenant="acme"))
    assert [event["subject_id"] for event in listed(auditor)] == [str(own.pk)]
    assert listed(auditor, f"?subject_id={foreign.pk}") == []
    unseen = auditor.get(f"/audit/events/{work.chain(foreign)[0]['id']}", x_request_id="request-1")
    missing = auditor.get(f"/audit/events/{uuid4()}", x_request_id="request-1")
    assert unseen.status_code == missing.status_code == 404
    assert unseen.json()["detail"] == missing.json()["detail"]
    wait_until_sealable()
    exported = b"".join(auditor.get("/audit/export").streaming_content).decode()
    assert str(own.pk) in exported
    assert str(foreign.pk) not in exported


def test_the_newest_comes_first_unless_the_oldest_is_asked_for(auditor: Api) -> None:
    work.move_session(work.open_session(), "active", "completed")
    told = ["session.completed", "session.activated", "session.created"]
    assert types(auditor) == types(auditor, "?order=newest") == told
    wait_until_sealable()
    assert types(auditor, "?order=oldest") == told[::-1]
    answer = auditor.get("/audit/events?order=sideways")
    assert (answer.status_code, list(errors(answer))) == (400, ["order"])


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_cursor_walks_all_in_either_order_and_serves_no_other_list(auditor: Api, order: str) -> None:
    for _ in range(4):
        work.move_session(work.open_session(), "active")
    wait_until_sealable()
    cursor, walked = "", []
    while cursor is not None:
        page = auditor.get(f"/audit/events?page_size=3&order={order}&cursor={cursor}").json()
        walked += [event["event_id"] for event in page["events"]]
        last, cursor = cursor, page["next_cursor"]
    assert walked == [event["event_id"] for event in listed(auditor, f"?order={order}")]
    assert len(walked) == len(set(walked)) == 8
    other = {"newest": "oldest", "oldest": "newest"}[order]
    for query in (f"?order={other}&cursor={last}", f"?order={order}&trace_id=x&cursor={last}"):
        answer = auditor.get(f"/audit/events{query}")
        assert (answer.status_code, list(errors(answer))) == (400, ["cursor"])


def test_filters(auditor: Api, agent: Api) -> None:
    session = work.move_session(work.open_session(), "active")
    task = work.new_task()
    told = agent.post(
        "/audit/ingest", {"source": "a", "category": "b", "action": "c", "traceId": "trace-9"}, x_request_id="request-9"
    )
    assert told.status_code == 202
    refused = Api(token("ada", "auditor")).put(f"/sessions/{session.pk}", {"status": "completed"})
    assert refused.status_code == 403
    own = ["session.refused", "session.activated", "session.created"]
    assert types(auditor, "?subject_type=task") == ["task.created"]
    assert types(auditor, f"?subject_id={session.pk}") == own
    assert types(auditor, f"?subject_type=session&subject_id={session.pk}") == own
    assert types(auditor, f"?subject_type=task&subject_id={session.pk}") == []
    assert types(auditor, f"?subject_id={str(task.pk).upper()}") == ["task.created"]
    for noun in ("task", "TASK"):
        assert types(auditor, f"?subject_id={noun}-{task.pk}") == ["task.created"]
    assert types(auditor, f"?subject_type=session&subject_id=session-{session.pk}") == own
    assert types(auditor, f"?subject_id=task-{session.pk}") == []
    assert types(auditor, f"?subject_type=session&subject_id=task-{task.pk}") == []
    assert types(auditor, "?event_type=session.created,external.recorded") == ["external.recorded", "session.created"]
    assert types(auditor, "?actor=local%7Calice") == ["external.recorded"]
    assert types(auditor, "?actor=https://issuer.example%7Cmona") == ["task.created"]
    assert types(auditor, "?trace_id=trace-9") == types(auditor, "?request_id=request-9") == ["external.recorded"]
    wait_until_sealable()
    second = listed(auditor, "?order=oldest")[1]["timestamp"]
    assert types(auditor, f"?before={second}") == ["session.created"]
    assert len(types(auditor, f"?after={second}")) == 4
    assert types(auditor, f"?after={second}&event_type=session.activated&order=oldest") == ["session.activated"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(("subject_type=door", "subject_type"), ("subject_type=", "subject_type"), ("subject_id=7", "subject_id")),
        *((f"subject_id=door-{UNKNOWN}", "subject_id"), (f"subject_id=task-task-{UNKNOWN}", "subject_id")),
        ("subject_id=task-", "subject_id"),
        *(("event_type=session.exploded", "event_type"), ("event_type=", "event_type"), ("actor=alice", "actor")),
        *(("event_type=session.created,", "event_type"), ("after=yesterday", "after"), ("before=2026-01-31", "before")),
        *(("page=1&cursor=", "cursor"), ("cursor=x", "cursor"), ("via=api", "via"), ("tenant=acme", "tenant")),
        *(("trace_id=a&trace_id=b", "trace_id"), ("limit=3", "limit")),
    ],
)
def test_refuses_what_it_does_not_know(auditor: Api, query: str, field: str) -> None:
    answer = auditor.get(f"/audit/events?{query}")
    assert (answer.status_code, list(errors(answer))) == (400, [field])


def test_refuses_an_id_that_is_none(auditor: Api) -> None:
    assert auditor.get("/audit/events/7").status_code == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nobody_writes_events_over_http(operator: Api, method: str) -> None:
    event = work.chain(work.open_session())[0]
    for path in ("/audit/events", f"/audit/events/{event['id']}", "/audit/export"):
        assert operator.send(method, path, {}).status_code == 405
    assert len(work.events()) == 1


def test_a_page_takes_two_queries_and_one_by_cursor_however_many_events(auditor: Api) -> None:
    lives(30)
    wait_until_sealable()
    for path, count in (("?page_size=100", 2), ("?page_size=100&cursor=", 1), ("?page=2&order=oldest", 2)):
        with CaptureQueriesContext(connection) as asked:
            assert listed(auditor, path)
        assert len(asked) == count, path


PLANS = {
    # With one tenant the index of the times alone serves as well as that of the tenant's.
    "cursor=": "timestamp|audit_events_page",
    # The same of the order of transactions.
    "cursor=&order=oldest": "audit_events_sealing|audit_events_feed",
    "cursor=&actor=local%7Crare": "audit_events_page_actor",
    "cursor=&subject_id=01a20e82-c890-736a-98d5-272d171ed2e1": "audit_events_chain",
    "cursor=&subject_type=session&subject_id=01a20e82-c890-736a-98d5-272d171ed2e1&order=oldest": "audit_events_chain",
    "cursor=&trace_id=rare": "idx_audit_events_trace_id",
    "cursor=&request_id=rare": "audit_events_request",
}


def test_every_page_goes_by_an_index(auditor: Api) -> None:
    lives(3_000)
    for query, index in PLANS.items():
        with CaptureQueriesContext(connection) as asked:
            listed(auditor, f"?{query}")
        with superuser_connection() as beside:
            plan = str(beside.execute(f"EXPLAIN (FORMAT JSON) {asked[0]['sql']}").fetchone())
        assert any(name in plan for name in index.split("|")), (query, plan)
        assert not re.search(r"'Seq Scan', [^{}]*'Relation Name': 'audit_events'", plan), query
