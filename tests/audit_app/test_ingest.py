"""POST /audit/ingest: events of other systems."""

import hashlib
import json
from typing import Any

import pytest

from audit_app.models import AuditEvent
from tests import work
from tests.api import Api, errors, token

pytestmark = pytest.mark.django_db(transaction=True)

LEAST = {"source": "ledger", "category": "payment", "action": "booked"}
MOST = {
    **LEAST,
    "subject": "invoice 4711",
    "timestamp": "2026-01-31T09:00:00+01:00",
    "metadata": {"amount": 48000, "currency": "EUR"},
    "content": [1, None, {"a": "b"}],
}


def told(caller: Api, body: Any, **headers: str) -> AuditEvent:
    answer = caller.post("/audit/ingest", body, **headers)
    assert answer.status_code == 202, answer.content
    assert list(answer.json()) == ["event_id"]
    return AuditEvent.objects.get(pk=answer.json()["event_id"])


def test_keeps_what_it_is_told_outside_every_chain(agent: Api) -> None:
    event = told(agent, MOST, x_request_id="request-9", x_trace_id="trace-9")
    assert (event.event_type, event.subject_type, event.subject_id, event.seq) == (
        "external.recorded",
        None,
        None,
        None,
    )
    assert (event.prev_hash, event.from_status, event.to_status, event.role, event.reason) == (None, None, None, "", "")
    assert (event.actor_issuer, event.actor_subject, event.via, event.tenant) == ("local", "alice", "api", "default")
    assert (event.request_id, event.trace_id) == ("request-9", "trace-9")
    assert event.metadata == {"changes": {**MOST, "timestamp": "2026-01-31T08:00:00.000000Z"}}
    assert bytes(event.hash) == work.hash_of(work.GENESIS, event.body)
    assert event.timestamp.year >= 2026


def test_the_three_names_are_enough_and_null_is_as_if_absent(agent: Api) -> None:
    nothing = dict.fromkeys(("subject", "timestamp", "metadata", "content", "traceId"))
    for body in (LEAST, {**LEAST, **nothing}):
        assert told(agent, body).metadata == {"changes": LEAST}


def test_the_trace_it_names_goes_before_that_of_the_request(agent: Api) -> None:
    event = told(agent, {**LEAST, "traceId": "theirs"}, x_trace_id="ours")
    assert (event.trace_id, event.metadata) == ("theirs", {"changes": LEAST})
    assert told(agent, LEAST, x_trace_id="ours").trace_id == "ours"


@pytest.mark.parametrize("size", [1022, 1023])
def test_what_is_long_is_kept_as_its_digest(agent: Api, size: int) -> None:
    content = "x" * size
    kept = told(agent, {**LEAST, "content": content}).metadata["changes"]["content"]
    text = json.dumps(content).encode()
    assert kept == (content if size == 1022 else {"bytes": 1025, "sha256": hashlib.sha256(text).hexdigest()})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        *(({name: value for name, value in LEAST.items() if name != gone}, gone) for gone in LEAST),
        *(({**LEAST, name: value}, name) for name in LEAST for value in ("", " a", 7, None, "x" * 101, "a\nb")),
        *(({**LEAST, "subject": value}, "subject") for value in (7, "x" * 4001, [7])),
        *(({**LEAST, "traceId": value}, "traceId") for value in ("with space", "ü", "x" * 129, 7)),
        *(({**LEAST, "timestamp": value}, "timestamp") for value in ("yesterday", 7, "2026-01-31T09:00:00")),
        *(({**LEAST, "metadata": value}, "metadata") for value in ("x", [7], 7, {"a": "x" * 65_536})),
        ({**LEAST, "content": "x" * 65_536}, "content"),
    ],
)
def test_refuses_what_has_another_shape(agent: Api, body: dict[str, Any], field: str) -> None:
    answer = agent.post("/audit/ingest", body)
    assert (answer.status_code, list(errors(answer))) == (400, [field]), answer.content
    assert AuditEvent.objects.count() == 0


def test_takes_64_kib_to_the_byte(agent: Api) -> None:
    told(agent, {**LEAST, "content": "x" * (65_536 - 2), "metadata": {"a": "ü" * ((65_536 - 8) // 2)}})


@pytest.mark.parametrize(
    ("roles", "status"),
    [("agent", 202), ("operator", 202), ("auditor", 403), ("approver", 403), ("auditor,approver", 403)],
)
def test_agents_and_operators_hand_in(roles: str, status: int) -> None:
    answer = Api(token("alice", roles)).post("/audit/ingest", LEAST)
    assert answer.status_code == status
    assert AuditEvent.objects.count() == (status == 202)
    assert Api(None).post("/audit/ingest", LEAST).status_code == 401


def test_is_of_the_tenant_of_whoever_tells_it() -> None:
    assert told(Api(token("al", tenant="acme")), LEAST).tenant == "acme"


def test_the_same_key_is_one_event(agent: Api) -> None:
    first, again = (agent.post("/audit/ingest", LEAST, idempotency_key="key-1") for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert AuditEvent.objects.count() == 1
    other = agent.post("/audit/ingest", MOST, idempotency_key="key-1")
    assert other.status_code == 422


def test_names_an_agent_and_for_whom_it_tells() -> None:
    event = told(Api(token("alice", act_subject="bot")), LEAST)
    assert (event.actor_subject, event.actor_kind, event.on_behalf_of_subject) == ("bot", "agent", "alice")
