"""Stored answers carry a code under a key that is outside every store: what is forged is neither replayed nor run."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings
from prometheus_client import REGISTRY

from orchestrator.idempotency.authentication import Store, StoredAnswer, code, is_authentic
from orchestrator.idempotency.claim import Answer, stored_answer
from tests.api import Api
from tests.database import superuser_connection
from tests.orchestrator.idempotency.keyed import (
    KEY,
    NEW,
    assert_first,
    assert_refused,
    assert_replay,
    key_for,
    opened,
    put,
    remembered,
)

pytestmark = pytest.mark.django_db(transaction=True)

OLD_KEY = "a secret key from before, of 32 characters and more"
FORGERIES = {
    "body": "body = convert_to('{\"session_id\": \"forged\"}', 'UTF8')",
    "status": "status = 200",
    "headers": """headers = headers || '{"Location": "/sessions/forged"}'""",
    "header that the service never writes": """headers = headers || '{"Set-Cookie": "a=b"}'""",
    "headers of another kind": "headers = '[1e9999]'",
    "request id": "request_id = 'forged'",
    "age": "created_at = created_at - interval '1 day'",
    "end": "expires_at = expires_at + interval '1 day'",
    "end that never comes": "expires_at = 'infinity'",
    "beginning that never was": "created_at = '-infinity'",
    "code": "mac = sha256('forged')",
    "short code": "mac = substr(mac, 1, 31)",
    "empty code": "mac = ''",
    "missing code": "mac = NULL",
}


def tamper(assignment: str) -> None:
    with superuser_connection() as beside:
        assert beside.execute(f"UPDATE idempotency_records SET {assignment}").rowcount == 1


def opening(api: Api, key: str = KEY) -> Any:
    return api.post("/sessions", NEW, idempotency_key=key)


def refused() -> float:
    return REGISTRY.get_sample_value("orchestrator_stored_answers_refused_total", {"store": "database"}) or 0.0


def stored() -> StoredAnswer:
    """An answer to the usual call, given now."""
    return stored_answer(key_for(), Answer(201, {}, b"{}"), now=datetime.now(UTC), request_id="another")


@pytest.mark.parametrize("assignment", FORGERIES.values(), ids=list(FORGERIES))
def test_a_forged_record_is_not_replayed_and_its_request_not_repeated(
    agent: Api, assignment: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert_first(opening(agent))
    tamper(assignment)
    before = refused()
    with caplog.at_level(logging.ERROR):
        answer = assert_refused(opening(agent), 409, "stored-answer-invalid")
    assert b"forged" not in answer.content
    assert (opened(), remembered()) == (1, 1)
    assert refused() == before + 1
    assert [record.message for record in caplog.records] == ["a stored answer is not authentic"]
    assert KEY not in caplog.text


def test_a_record_of_one_key_is_none_of_another(agent: Api) -> None:
    assert_first(opening(agent))
    tamper(f"k = decode('{key_for('another').k.hex()}', 'hex')")
    assert_refused(opening(agent, "another"), 409, "stored-answer-invalid")
    assert opened() == 1


def test_a_record_of_one_request_is_none_of_another(agent: Api) -> None:
    assert_first(opening(agent))
    other = {"agent_role": "finance"}
    tamper(f"fp = decode('{key_for(body=other).fp.hex()}', 'hex')")
    assert_refused(agent.post("/sessions", other, idempotency_key=KEY), 409, "stored-answer-invalid")
    assert opened() == 1


def test_the_refusal_of_a_forged_record_is_not_stored(agent: Api) -> None:
    first = assert_first(opening(agent))
    tamper("status = 202")
    assert_refused(opening(agent), 409, "stored-answer-invalid")
    tamper("status = 201")
    assert_replay(opening(agent), first)


def test_a_stored_refusal_is_authenticated_too(agent: Api) -> None:
    session = assert_first(opening(agent)).json()["session_id"]

    def end() -> Any:
        return agent.put(f"/sessions/{session}", {"status": "completed"}, idempotency_key="to-end")

    first = assert_first(end(), 409)
    assert_replay(end(), first)
    with superuser_connection() as beside:
        beside.execute("UPDATE idempotency_records SET status = 200 WHERE status = 409")
    assert_refused(end(), 409, "stored-answer-invalid")


def test_a_former_key_is_accepted_while_it_is_a_fallback() -> None:
    answer = stored()
    with override_settings(SECRET_KEY=OLD_KEY):
        mac = code(answer, Store.DATABASE)
    assert not is_authentic(answer, mac, Store.DATABASE)
    with override_settings(SECRET_KEY_FALLBACKS=["yet another", OLD_KEY]):
        assert is_authentic(answer, mac, Store.DATABASE)
        assert not is_authentic(answer, mac, Store.REDIS)


def unsigned() -> None:
    """Store what the version before wrote, without a code."""
    with superuser_connection() as beside:
        put(beside, stored(), None)


def test_a_record_without_a_code_is_replayed_until_the_moment_that_the_operator_set(agent: Api, settings: Any) -> None:
    unsigned()
    settings.IDEMPOTENCY_UNSIGNED_UNTIL = datetime.now(UTC) + timedelta(minutes=1)
    answer = opening(agent)
    assert (answer.status_code, answer.content, answer.headers["Idempotent-Replayed"]) == (201, b"{}", "true")
    settings.IDEMPOTENCY_UNSIGNED_UNTIL = datetime.now(UTC)
    assert_refused(opening(agent), 409, "stored-answer-invalid")
    assert opened() == 0


def test_the_function_of_the_version_before_is_there_while_that_may_run() -> None:
    unsigned()
    with superuser_connection() as beside:
        key = key_for()
        row = beside.execute("SELECT * FROM idempotency_claim(%s, %s)", [key.k, key.fp]).fetchone()
    assert row is not None
    assert row[:4] == ("replay", 201, {}, b"{}")
