"""One key, one effect, one answer: what a repeated request gets."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestrator import rate_limit
from orchestrator.idempotency.models import IdempotencyRecord
from orchestrator.people.cut_off import cut_off
from orchestrator.people.models import Person
from sessions_app.models import Session
from tests.api import Api, token
from tests.database import service_connection
from tests.orchestrator.idempotency.keyed import (
    KEY,
    NEW,
    OnOpening,
    assert_first,
    assert_refused,
    assert_replay,
    events,
    let_expire,
    opened,
    remembered,
)
from tests.orchestrator.tokens import after, claims, header, made
from tests.sessions_app.session_calls import path, session_in, unchanged
from tests.statements import first_words
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

ON_EVERY_ANSWER = {
    "X-Trace-Id",
    "traceresponse",
    "Content-Length",
    "X-Request-Id",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "Referrer-Policy",
    "Cache-Control",
    "Content-Security-Policy",
}


# The same answer.


def test_opening_twice_opens_once_and_answers_alike(agent: Api) -> None:
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    again = agent.post("/sessions", NEW, idempotency_key=KEY)
    assert_replay(again, first)
    assert again.headers["Location"] == path(again.json())
    assert (opened(), events(), remembered()) == (1, 1, 1)


@pytest.mark.parametrize(
    ("method", "body", "state", "status"),
    [
        ("PUT", {"status": "completed", "reason": "Geprüft. ✓"}, "active", 200),
        ("PATCH", {"metadata": {"quarter": None, "jahr": "zwölf"}}, "pending", 200),
        ("DELETE", None, "completed", 204),
        ("PUT", {}, "pending", 200),
    ],
    ids=["move", "patch", "delete", "nothing to change"],
)
def test_each_write_is_made_once_and_answered_alike(
    operator: Api, method: str, body: Any, state: str, status: int
) -> None:
    at = path(session_in(state)) + ("?reason=over" if method == "DELETE" else "")
    first = assert_first(operator.send(method, at, body, idempotency_key=KEY), status)
    trail = events()
    for _ in range(2):
        assert_replay(operator.send(method, at, body, idempotency_key=KEY), first)
    assert (events(), remembered()) == (trail, 1)


def test_a_replay_has_no_other_header_of_the_first_answer(operator: Api) -> None:
    first = assert_first(operator.post("/sessions", NEW, idempotency_key=KEY))
    again = operator.post("/sessions", NEW, idempotency_key=KEY)
    assert set(again.headers) == {"Content-Type", "Location", "ETag", "Idempotent-Replayed"} | ON_EVERY_ANSWER
    assert "Allow" in first.headers
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert again.headers["Cache-Control"] == "no-store"


def test_a_replay_has_a_request_id_of_its_own(agent: Api) -> None:
    agent.post("/sessions", NEW, idempotency_key=KEY, x_request_id="the-first-one")
    again = agent.post("/sessions", NEW, idempotency_key=KEY, x_request_id="the-second-one")
    assert again.headers["X-Request-Id"] == "the-second-one"
    assert IdempotencyRecord.objects.get().request_id == "the-first-one"


def test_a_replay_is_the_first_answer_however_the_row_has_moved_on(operator: Api) -> None:
    first = assert_first(operator.post("/sessions", NEW, idempotency_key=KEY))
    at = path(first.json())
    for status in ("active", "completed"):
        operator.put(at, {"status": status})
    assert_replay(operator.post("/sessions", NEW, idempotency_key=KEY), first)
    assert operator.send("DELETE", f"{at}?reason=over").status_code == 204
    assert_replay(operator.post("/sessions", NEW, idempotency_key=KEY), first)
    assert opened() == 0


def test_an_answer_of_any_size_is_remembered(agent: Api) -> None:
    body = {**NEW, "metadata": {"text": "x" * 65_000}}
    first = assert_first(agent.post("/sessions", body, idempotency_key=KEY))
    assert len(first.content) > 65_000
    assert_replay(agent.post("/sessions", body, idempotency_key=KEY), first)


def test_different_keys_are_different_requests(agent: Api) -> None:
    for n in range(3):
        assert_first(agent.post("/sessions", NEW, idempotency_key=f"{KEY}-{n}"))
    assert opened() == remembered() == 3


def test_without_a_key_each_request_has_its_effect(agent: Api) -> None:
    for _ in range(2):
        assert_first(agent.post("/sessions", NEW))
    assert (opened(), remembered()) == (2, 0)


def test_a_read_ignores_the_key(agent: Api) -> None:
    session = session_in("pending")
    for key in (KEY, "not, a key"):
        assert_first(agent.get(path(session), idempotency_key=key), 200)
        assert_first(agent.send("HEAD", path(session), idempotency_key=key), 200)
    agent.put(path(session), {"status": "active"})
    assert agent.get(path(session), idempotency_key=KEY).json()["status"] == "active"
    assert remembered() == 0


def test_switched_off_the_key_means_nothing(agent: Api, settings: Any) -> None:
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    settings.IDEMPOTENCY_ENABLED = False
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert_first(agent.post("/sessions", NEW, idempotency_key="not, a key"))
    assert (opened(), remembered()) == (3, 1)


# Time.


def test_an_answer_is_remembered_for_as_long_as_the_setting_says(agent: Api, settings: Any) -> None:
    settings.IDEMPOTENCY_TTL_SECONDS = 7200
    agent.post("/sessions", NEW, idempotency_key=KEY)
    kept = IdempotencyRecord.objects.get()
    assert abs(kept.expires_at - kept.created_at - timedelta(hours=2)) < timedelta(seconds=1)


def test_after_its_time_the_key_is_new(agent: Api) -> None:
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    let_expire()
    second = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert first.json()["session_id"] != second.json()["session_id"]
    assert (opened(), remembered()) == (2, 1)
    assert_replay(agent.post("/sessions", NEW, idempotency_key=KEY), second)


def test_after_its_time_the_key_is_free_for_another_request(agent: Api) -> None:
    agent.post("/sessions", NEW, idempotency_key=KEY)
    let_expire()
    assert_first(agent.post("/sessions", {**NEW, "metadata": {}}, idempotency_key=KEY))
    assert (opened(), remembered()) == (2, 1)


# What is judged again, and what is not.


def test_rights_on_the_row_are_not_judged_again(agent: Api) -> None:
    session = session_in("pending")
    first = assert_first(agent.put(path(session), {"status": "active"}, idempotency_key=KEY), 200)
    without = Api(token("alice", agent_roles="legal"))
    assert without.post("/sessions", NEW).status_code == 403
    assert_replay(without.put(path(session), {"status": "active"}, idempotency_key=KEY), first)


def test_the_token_is_judged_again(agent: Api) -> None:
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    over = Api(made(header(), claims(tenant="default", iat=after(-900), exp=after(-600))))
    assert_refused(over.post("/sessions", NEW, idempotency_key=KEY), 401, "unauthenticated")
    assert_refused(Api(None).post("/sessions", NEW, idempotency_key=KEY), 401, "unauthenticated")


def test_a_known_role_is_judged_again(agent: Api) -> None:
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    nobody = Api(token("alice", roles="cook"))
    assert_refused(nobody.post("/sessions", NEW, idempotency_key=KEY), 403, "forbidden")


@pytest.mark.parametrize("roles", ["auditor", "approver", "auditor,approver"])
def test_a_caller_without_any_role_of_the_call_gets_no_replay(agent: Api, roles: str) -> None:
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    demoted = Api(token("alice", roles=roles)).post("/sessions", NEW, idempotency_key=KEY)
    assert_refused(assert_first(demoted, 403), 403, "forbidden")
    assert first.json()["session_id"] not in demoted.content.decode()
    assert_replay(Api(token("alice", roles="operator")).post("/sessions", NEW, idempotency_key=KEY), first)
    assert (opened(), remembered()) == (1, 1)


def test_a_remembered_refusal_is_not_replayed_without_a_role_of_the_call(agent: Api) -> None:
    session = session_in("pending")

    def complete(api: Api) -> Any:
        return api.put(path(session), {"status": "completed"}, idempotency_key=KEY)

    first = assert_first(complete(agent), 409)
    assert_refused(complete(Api(token("alice", roles="auditor"))), 403, "forbidden")
    assert_replay(complete(agent), first)


def test_a_caller_of_another_tenant_gets_no_replay(agent: Api) -> None:
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    moved = Api(token("alice", tenant="globex")).post("/sessions", NEW, idempotency_key=KEY)
    assert assert_first(moved).json()["session_id"] != first.json()["session_id"]


def test_whoever_is_cut_off_gets_no_replay(agent: Api) -> None:
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    Person.objects.create(username="local|alice", issuer="local", subject="alice", is_active=False)
    cut_off.forget()
    assert_refused(agent.post("/sessions", NEW, idempotency_key=KEY), 401, "unauthenticated")


def test_a_replay_counts_as_a_call(agent: Api, settings: Any) -> None:
    settings.RATE_LIMIT = (2, 3600)
    rate_limit.of_subjects.cache_clear()
    try:
        first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
        again = agent.post("/sessions", NEW, idempotency_key=KEY)
        assert_replay(again, first)
        assert again.headers["RateLimit"].startswith('"subject";r=0')
        assert_refused(agent.post("/sessions", NEW, idempotency_key=KEY), 429, "too-many-requests")
    finally:
        rate_limit.of_subjects.cache_clear()


def test_what_cannot_be_read_is_refused_before_the_key_is_looked_at(agent: Api, settings: Any) -> None:
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    settings.MAX_BODY_BYTES = 1024
    for body, media_type, status in (
        (b"{", "application/json", 400),
        (b"x", "text/plain", 415),
        (b" " * 1025, "application/json", 413),
    ):
        assert agent.send_raw("POST", "/sessions", body, media_type, idempotency_key=KEY).status_code == status
        assert agent.send_raw("POST", "/sessions", body, media_type, idempotency_key="a, b").status_code == status


# One transaction.


def statements(call: Any) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert call().status_code < 300
    return first_words(captured.captured_queries)


def test_a_key_costs_two_statements_in_the_same_transaction(agent: Api) -> None:
    session = session_in("pending")
    for keyed, plain in (
        (
            lambda: agent.post("/sessions", NEW, idempotency_key=KEY),
            lambda: agent.post("/sessions", NEW),
        ),
        (
            lambda: agent.put(path(session), {"metadata": {"n": 1}}, idempotency_key="another"),
            lambda: agent.put(path(session), {"metadata": {"n": 2}}),
        ),
    ):
        begin, *work, commit = statements(plain)
        assert (begin, commit) == ("BEGIN", "COMMIT")
        assert statements(keyed) == ["BEGIN", "SELECT", *work, "INSERT", "COMMIT"]


def test_a_replay_costs_one_statement(agent: Api) -> None:
    agent.post("/sessions", NEW, idempotency_key=KEY)
    assert statements(lambda: agent.post("/sessions", NEW, idempotency_key=KEY)) == ["BEGIN", "SELECT", "COMMIT"]


def test_effect_event_and_record_are_of_one_transaction(agent: Api) -> None:
    agent.post("/sessions", NEW, idempotency_key=KEY)
    with service_connection() as beside:
        told = beside.execute(
            "SELECT xmin::text FROM sessions UNION SELECT xmin::text FROM audit_events"
            " UNION SELECT xmin::text FROM idempotency_records"
        ).fetchall()
    assert len(told) == 1


@pytest.mark.parametrize("at_commit", [False, True], ids=["inside", "at commit"])
def test_nothing_is_remembered_where_the_effect_fails(agent: Api, on_opening: OnOpening, at_commit: bool) -> None:
    on_opening.does("RAISE EXCEPTION 'not this one' USING ERRCODE = '23514';", at_commit=at_commit)
    assert_refused(agent.post("/sessions", NEW, idempotency_key=KEY), 500, "internal-error")
    assert (opened(), events(), remembered()) == (0, 0, 0)
    on_opening.no_more()
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert (opened(), remembered()) == (1, 1)


@pytest.mark.parametrize("sqlstate", ["40P01", "40001"])
@pytest.mark.parametrize("at_commit", [False, True], ids=["inside", "at commit"])
def test_what_another_transaction_won_is_repeated_with_one_effect(
    agent: Api, on_opening: OnOpening, sqlstate: str, at_commit: bool
) -> None:
    lose = f"IF nextval('openings') < 3 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '{sqlstate}'; END IF;"
    on_opening.does(lose, at_commit=at_commit)
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert on_opening.times() == 3
    assert (opened(), events(), remembered()) == (1, 1, 1)
    assert_replay(agent.post("/sessions", NEW, idempotency_key=KEY), first)
    assert_chain_holds(Session.objects.get())


def test_whoever_lost_three_times_is_told_to_try_again_and_may(agent: Api, on_opening: OnOpening) -> None:
    on_opening.does("PERFORM nextval('openings'); RAISE EXCEPTION 'lost' USING ERRCODE = '40P01';")
    assert_refused(agent.post("/sessions", NEW, idempotency_key=KEY), 503, "service-unavailable")
    assert on_opening.times() == 3
    assert (opened(), remembered()) == (0, 0)
    on_opening.no_more()
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))


def test_a_replay_changes_nothing(agent: Api) -> None:
    session = session_in("pending")
    first = assert_first(agent.put(path(session), {"status": "active"}, idempotency_key=KEY), 200)
    kept = IdempotencyRecord.objects.values().get()
    with unchanged(session.id):
        assert_replay(agent.put(path(session), {"status": "active"}, idempotency_key=KEY), first)
    assert str(IdempotencyRecord.objects.values().get()) == str(kept)
