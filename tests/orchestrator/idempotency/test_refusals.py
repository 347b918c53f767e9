"""Which refusals are remembered, and that none leaves anything behind."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from orchestrator import rate_limit
from orchestrator.idempotency.models import IdempotencyRecord
from sessions_app.models import Session
from tests.api import Api, token
from tests.database import service_connection
from tests.orchestrator.idempotency.keyed import (
    KEY,
    NEW,
    assert_first,
    assert_refused,
    assert_replay,
    events,
    in_claim,
    keep,
    key_for,
    opened,
    remembered,
)
from tests.orchestrator.idempotency.urls import Opening
from tests.sessions_app.session_calls import UNKNOWN_ID, overdue_session, path, session_in, unchanged
from tests.statements import first_words

pytestmark = pytest.mark.django_db(transaction=True)

with_failing_views = override_settings(ROOT_URLCONF="tests.orchestrator.idempotency.urls")


@pytest.fixture(autouse=True)
def nothing_happens_afterwards() -> Iterator[None]:
    yield
    Opening.afterwards = None


# Not remembered: made right, the same key goes through.


@pytest.mark.parametrize(
    ("status", "body", "media_type"),
    [
        (400, b"{", "application/json"),
        (400, b'{"agent_role": ""}', "application/json"),
        (400, b'{"agent_role": "finance", "task_id": "' + UNKNOWN_ID.encode() + b'"}', "application/json"),
        (403, b'{"agent_role": "legal"}', "application/json"),
        (413, b" " * (1024 * 1024 + 1), "application/json"),
        (415, b"agent_role=finance", "text/plain"),
    ],
    ids=["json", "shape", "task", "forbidden", "size", "media type"],
)
def test_a_request_that_is_wrong_is_not_remembered(agent: Api, status: int, body: bytes, media_type: str) -> None:
    for _ in range(2):
        assert_first(agent.send_raw("POST", "/sessions", body, media_type, idempotency_key=KEY), status)
    assert (opened(), events(), remembered()) == (0, 0, 0)
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert_replay(agent.post("/sessions", NEW, idempotency_key=KEY), first)


@pytest.mark.parametrize(
    ("status", "method", "at"),
    [
        (404, "PUT", f"/sessions/{UNKNOWN_ID}"),
        (404, "POST", "/nowhere"),
        (400, "PUT", "/sessions/not-an-id"),
        (400, "POST", "/sessions?nonsense=1"),
        (405, "DELETE", "/sessions"),
    ],
)
def test_a_path_that_is_wrong_is_not_remembered(agent: Api, status: int, method: str, at: str) -> None:
    body = {"POST": NEW, "PUT": {}}.get(method)
    for _ in range(2):
        assert_first(agent.send(method, at, body, idempotency_key=KEY), status)
    assert remembered() == 0
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))


def test_who_is_refused_before_the_key_is_looked_at_has_not_used_it(agent: Api, settings: Any) -> None:
    def opening(api: Api) -> Any:
        return api.post("/sessions", NEW, idempotency_key=KEY)

    assert_refused(assert_first(opening(Api(None)), 401), 401, "unauthenticated")
    assert_refused(assert_first(opening(Api(token("alice", roles="cook"))), 403), 403, "forbidden")
    settings.RATE_LIMIT = (1, 3600)
    rate_limit.of_subjects.cache_clear()
    try:
        agent.get("/sessions")
        assert_refused(assert_first(opening(agent), 429), 429, "too-many-requests")
    finally:
        settings.RATE_LIMIT = None
        rate_limit.of_subjects.cache_clear()
    assert remembered() == 0
    first = assert_first(opening(agent))
    assert_replay(opening(agent), first)


@pytest.mark.parametrize("query", ["&".join(f"a{n}=1" for n in range(1100)), "a=%00", "%ff=%ff", "=", "&&;"])
def test_an_odd_query_is_a_refusal_like_any_other(agent: Api, query: str) -> None:
    keyed = agent.post(f"/sessions?{query}", NEW, idempotency_key=KEY)
    plain = agent.post(f"/sessions?{query}", NEW)
    assert keyed.status_code == plain.status_code
    if keyed.status_code != 201:
        assert (keyed.status_code, keyed.headers["Content-Type"]) == (400, "application/problem+json")
        assert (opened(), remembered()) == (0, 0)


def test_what_was_not_there_is_found_once_it_is(agent: Api) -> None:
    session = session_in("pending")
    stranger = Api(token("mallory", agent_roles="legal"))
    body = {"status": "active"}
    assert_first(stranger.put(path(session), body, idempotency_key=KEY), 404)
    later = Api(token("mallory", agent_roles="finance"))
    assert_first(later.put(path(session), body, idempotency_key=KEY), 200)


def test_a_failed_precondition_is_not_remembered(agent: Api) -> None:
    session = session_in("pending")

    def move() -> Any:
        return agent.put(path(session), {"status": "active"}, if_match='"2"', idempotency_key=KEY)

    assert_refused(assert_first(move(), 412), 412, "precondition-failed")
    agent.put(path(session), {"metadata": {}})
    first = assert_first(move(), 200)
    assert_replay(move(), first)


def test_a_mismatch_is_not_remembered(agent: Api) -> None:
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    for _ in range(2):
        refused = assert_first(agent.post("/sessions", {"agent_role": "x"}, idempotency_key=KEY), 422)
        assert_refused(refused, 422, "idempotency-key-mismatch")
    assert remembered() == 1
    assert_replay(agent.post("/sessions", NEW, idempotency_key=KEY), first)


# Remembered: refusals judged on state.


def test_an_illegal_move_is_remembered_though_it_would_be_legal_by_now(agent: Api) -> None:
    session = session_in("pending")
    body = {"status": "completed"}
    with unchanged(session.id):
        first = assert_first(agent.put(path(session), body, idempotency_key=KEY, x_request_id="the-first-one"), 409)
    assert_refused(first, 409, "illegal-transition")
    agent.put(path(session), {"status": "active"})
    with unchanged(session.id):
        again = agent.put(path(session), body, idempotency_key=KEY, x_request_id="the-second-one")
    assert_replay(again, first)
    assert again.json()["request_id"] == "the-first-one"
    assert_first(agent.put(path(session), body, idempotency_key="another"), 200)


def test_that_a_session_was_past_its_time_is_remembered(agent: Api) -> None:
    session = overdue_session("pending")
    first = assert_first(agent.put(path(session), {"status": "active"}, idempotency_key=KEY), 409)
    assert_refused(first, 409, "session-expired")
    assert_replay(agent.put(path(session), {"status": "active"}, idempotency_key=KEY), first)


def test_a_delete_refused_on_state_is_remembered(operator: Api) -> None:
    session = session_in("pending")
    first = assert_first(operator.send("DELETE", f"{path(session)}?reason=over", idempotency_key=KEY), 409)
    operator.put(path(session), {"status": "expired"})
    assert_replay(operator.send("DELETE", f"{path(session)}?reason=over", idempotency_key=KEY), first)
    assert Session.objects.filter(pk=session.pk).exists()


def test_a_remembered_refusal_is_bound_to_its_request(agent: Api) -> None:
    session = session_in("pending")
    assert_first(agent.put(path(session), {"status": "completed"}, idempotency_key=KEY), 409)
    answer = agent.put(path(session), {"status": "active"}, idempotency_key=KEY)
    assert_refused(answer, 422, "idempotency-key-mismatch")


def test_a_refusal_costs_a_second_transaction(agent: Api) -> None:
    session = session_in("pending")
    with CaptureQueriesContext(connection) as captured:
        agent.put(path(session), {"status": "completed"}, idempotency_key=KEY)
    sent = first_words(captured.captured_queries)
    assert sent == ["BEGIN", "SELECT", "SELECT", "SELECT", "ROLLBACK", "BEGIN", "SELECT", "INSERT", "COMMIT"]


# Whatever ends badly is rolled back, however it says so.


def ended(api: Api, end: str, key: str | None = KEY) -> Any:
    headers = {} if key is None else {"idempotency_key": key}
    with with_failing_views:
        if end.startswith("plain"):
            return api.post(f"/plain?end={end.removeprefix('plain-')}", {}, **headers)
        return api.post(f"/opening/{end}", {}, **headers)


def test_the_views_that_fail_write_where_they_do_not(agent: Api) -> None:
    first = assert_first(ended(agent, "well"), 200)
    assert_replay(ended(agent, "well"), first)
    assert (opened(), remembered()) == (1, 1)


def test_an_answer_of_a_view_that_declares_no_roles_is_not_replayed(agent: Api) -> None:
    assert_first(ended(agent, "plain-well"), 200)
    assert_refused(assert_first(ended(agent, "plain-well"), 403), 403, "forbidden")
    assert (opened(), remembered()) == (1, 1)


@pytest.mark.parametrize("end", ["error", "unrendered", "answered-500", "plain-error"])
def test_a_500_is_rolled_back_and_not_remembered(agent: Api, end: str) -> None:
    for _ in range(2):
        assert_first(ended(agent, end), 500)
    assert (opened(), events(), remembered()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("forbidden", 403),
        ("denied", 403),
        ("not-found", 404),
        ("shape", 400),
        ("precondition", 412),
        ("unavailable", 503),
        ("answered-503", 503),
        ("answered-409", 409),
    ],
)
def test_a_refusal_after_a_write_is_rolled_back_and_not_remembered(agent: Api, end: str, status: int) -> None:
    for _ in range(2):
        assert_first(ended(agent, end), status)
    assert (opened(), events(), remembered()) == (0, 0, 0)


def test_a_refusal_on_state_after_a_write_is_rolled_back_and_remembered(agent: Api) -> None:
    first = assert_first(ended(agent, "illegal"), 409)
    assert (opened(), events(), remembered()) == (0, 0, 1)
    assert_replay(ended(agent, "illegal"), first)


@pytest.mark.parametrize("end", ["illegal", "forbidden", "shape", "not-found"])
def test_a_keyed_refusal_reads_as_one_without_a_key(agent: Api, end: str) -> None:
    keyed, plain = ended(agent, end), ended(agent, end, key=None)
    assert keyed.status_code == plain.status_code
    assert {**keyed.json(), "request_id": ""} == {**plain.json(), "request_id": ""}
    assert keyed.headers["Content-Type"] == plain.headers["Content-Type"]


# Between the rollback of a refusal and its record the key is free for a moment.


def meanwhile(does: Callable[[], object]) -> None:
    Opening.afterwards = does


def test_a_twin_that_came_to_an_answer_meanwhile_has_the_last_word(agent: Api) -> None:
    def twin() -> None:
        with service_connection() as beside:
            keep(beside, key_for(body={}, path="/opening/illegal"), body=b'{"by": "the twin"}')

    meanwhile(twin)
    answer = ended(agent, "illegal")
    assert (answer.status_code, answer.content) == (201, b'{"by": "the twin"}')
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert (opened(), remembered()) == (0, 1)


def test_a_twin_that_began_meanwhile_is_waited_for_by_the_caller(agent: Api) -> None:
    with service_connection() as beside:

        def twin() -> None:
            beside.execute("BEGIN")
            assert in_claim(beside, key_for(body={}, path="/opening/illegal")) == "first"

        meanwhile(twin)
        answer = assert_refused(ended(agent, "illegal"), 409, "request-in-flight")
        assert answer.headers["Retry-After"] == "1"
        beside.execute("ROLLBACK")
    assert remembered() == 0


def test_another_request_that_took_the_key_meanwhile_keeps_it(agent: Api) -> None:
    def other() -> None:
        with service_connection() as beside:
            keep(beside, key_for(body={"another": 1}, path="/opening/illegal"))

    meanwhile(other)
    assert_refused(ended(agent, "illegal"), 422, "idempotency-key-mismatch")
    assert IdempotencyRecord.objects.get().status == 201
