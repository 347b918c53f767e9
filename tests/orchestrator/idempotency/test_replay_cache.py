"""Redis in front: it answers where it knows, and makes no difference where it does not."""

import json
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from prometheus_client import REGISTRY

from orchestrator import redis
from orchestrator.idempotency.authentication import Store, StoredAnswer, code
from orchestrator.idempotency.claim import Answer, Key, stored_answer
from orchestrator.idempotency.replay_cache import MAX_BODY_BYTES, MOST_WAITING, ReplayCache, _written, replay_cache
from tests.api import Api, token
from tests.database import service_connection
from tests.faults.valkey import Valkey, with_redis
from tests.orchestrator.idempotency.keyed import (
    KEY,
    NEW,
    OnOpening,
    assert_first,
    assert_refused,
    assert_replay,
    key_for,
    let_expire,
    opened,
    remembered,
)
from tests.sessions_app.session_calls import path, session_in
from tests.statements import first_words

pytestmark = pytest.mark.django_db(transaction=True)


def stored(key: Key, answer: Answer) -> StoredAnswer:
    return stored_answer(key, answer, now=datetime.now(UTC), request_id="another")


NAME = f"idempotency:1:{key_for().k.hex()}"


def cache() -> ReplayCache:
    found = replay_cache()
    assert found is not None
    return found


def settled() -> None:
    """Until everything that is to be cached is."""
    cache()._waiting.join()


def opening(api: Api, key: str = KEY) -> Any:
    answer = api.post("/sessions", NEW, idempotency_key=key)
    settled()
    return answer


def statements(call: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        call()
    return first_words(captured.captured_queries)


# What it answers.


def test_a_hit_answers_without_the_database(agent: Api, redis_server: Valkey) -> None:
    first = assert_first(opening(agent))
    assert statements(lambda: assert_replay(opening(agent), first)) == []


def test_a_hit_is_the_answer_that_the_database_has(agent: Api, redis_server: Valkey) -> None:
    opening(agent)
    hit = opening(agent)
    redis_server.flush()
    from_the_database = opening(agent)
    assert_replay(from_the_database, hit)
    mine = {"X-Request-Id", "X-Trace-Id", "traceresponse"}
    assert {**hit.headers} | dict.fromkeys(mine) == {**from_the_database.headers} | dict.fromkeys(mine)


def test_a_hit_for_another_request_is_refused_without_the_database(agent: Api, redis_server: Valkey) -> None:
    opening(agent)
    sent = statements(
        lambda: assert_refused(
            agent.post("/sessions", {"agent_role": "it"}, idempotency_key=KEY), 422, "idempotency-key-mismatch"
        )
    )
    assert sent == []
    assert opened() == 1


def test_a_hit_is_refused_to_a_caller_without_any_role_of_the_call(agent: Api, redis_server: Valkey) -> None:
    first = assert_first(opening(agent))
    assert_refused(opening(Api(token("alice", roles="auditor"))), 403, "forbidden")
    assert_replay(opening(agent), first)


def test_there_is_one_round_trip_on_the_path(agent: Api, redis_server: Valkey) -> None:
    opening(agent, "to connect")
    opening(agent, "to connect")
    redis_server.calls()
    opening(agent)
    assert redis_server.calls() == {"get": 1, "set": 1}
    opening(agent)
    assert redis_server.calls() == {"get": 1}
    agent.post("/sessions", NEW)
    agent.get("/sessions", idempotency_key=KEY)
    assert redis_server.calls() == {}


def test_the_answer_does_not_wait_for_being_cached(agent: Api, redis_server: Valkey) -> None:
    held = threading.Event()
    opening(agent, "to start")
    cache()._waiting.put(lambda: held.wait(5))
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert redis_server.client.exists(NAME) == 0
    held.set()
    settled()
    assert redis_server.client.exists(NAME) == 1
    assert_replay(agent.post("/sessions", NEW, idempotency_key=KEY), first)


def test_more_than_can_wait_is_let_go(agent: Api, redis_server: Valkey) -> None:
    held = threading.Event()
    opening(agent, "to start")
    cache()._waiting.put(lambda: held.wait(5))
    for n in range(MOST_WAITING + 10):
        cache().put(stored(key_for(str(n)), Answer(200, {}, b"")), time.monotonic() + 60)
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    held.set()
    settled()
    assert redis_server.client.exists(NAME) == 0
    assert_replay(agent.post("/sessions", NEW, idempotency_key=KEY), first)


def test_one_that_cannot_be_kept_is_not_the_last(agent: Api, redis_server: Valkey) -> None:
    opening(agent, "to start")
    cache()._waiting.put(lambda: 1 / 0)
    first = opening(agent)
    assert redis_server.client.exists(NAME) == 1
    assert_replay(opening(agent), first)


def test_what_is_committed_is_answered_though_it_cannot_be_cached(
    agent: Api, redis_server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    monkeypatch.undo()
    assert_replay(opening(agent), first)


@pytest.mark.parametrize("fault", ["RAISE EXCEPTION 'no'", "PERFORM pg_terminate_backend(pg_backend_pid())"])
def test_what_is_not_committed_is_not_cached(
    agent: Api, redis_server: Valkey, on_opening: OnOpening, fault: str
) -> None:
    on_opening.does(f"{fault};", at_commit=True)
    assert opening(agent).status_code in (500, 503)
    assert redis_server.client.keys() == []
    on_opening.no_more()
    assert_first(opening(agent))
    assert opened() == 1


def test_the_costs_of_the_first_are_those_without_redis(agent: Api, redis_server: Valkey) -> None:
    assert statements(lambda: opening(agent)) == ["BEGIN", "SELECT", "SELECT", "INSERT", "INSERT", "INSERT", "COMMIT"]


# What is in it.


def test_it_holds_json_under_hashes_and_no_key_of_a_caller(agent: Api, redis_server: Valkey) -> None:
    first = opening(agent)
    assert redis_server.client.keys() == [NAME.encode()]
    kept = json.loads(redis_server.client.get(NAME) or b"")
    assert set(kept) == {"fp", "status", "headers", "body", "request_id", "created_at", "expires_at", "mac"}
    assert (kept["status"], kept["headers"]["Location"]) == (201, first.headers["Location"])
    assert KEY not in str(kept)


def test_an_entry_lasts_no_longer_than_the_record(agent: Api, redis_server: Valkey, settings: Any) -> None:
    settings.IDEMPOTENCY_TTL_SECONDS = 100
    opening(agent)
    with service_connection() as beside:
        left = beside.execute("SELECT extract(epoch FROM expires_at - clock_timestamp()) FROM idempotency_records")
        record = float(left.fetchone()[0])  # type: ignore[index]
    assert 98 < redis_server.client.pttl(NAME) / 1000 <= record + 0.05


def test_the_time_that_the_request_took_is_taken_off(agent: Api, redis_server: Valkey, settings: Any) -> None:
    answer = Answer(201, {}, b"{}")
    cache().put(stored(key_for(), answer), time.monotonic() + 30)
    settled()
    assert 0 < redis_server.client.pttl(NAME) <= 30_000
    redis_server.flush()
    cache().put(stored(key_for(), answer), time.monotonic() - 0.001)
    settled()
    assert redis_server.client.keys() == []


def test_a_body_of_more_than_64_kib_is_not_cached_and_replays_all_the_same(agent: Api, redis_server: Valkey) -> None:
    body = {**NEW, "metadata": {"text": "x" * 65_000}}
    first = assert_first(agent.post("/sessions", body, idempotency_key=KEY))
    settled()
    assert len(first.content) > MAX_BODY_BYTES - 600
    for size, kept in ((MAX_BODY_BYTES, 1), (MAX_BODY_BYTES + 1, 0)):
        redis_server.flush()
        cache().put(stored(key_for("sized"), Answer(200, {}, b"x" * size)), time.monotonic() + 60)
        settled()
        assert len(redis_server.client.keys()) == kept
    redis_server.flush()
    assert_replay(agent.post("/sessions", body, idempotency_key=KEY), first)


def test_what_is_not_remembered_is_not_cached(agent: Api, redis_server: Valkey) -> None:
    session = session_in("pending")
    agent.post("/sessions", {"agent_role": "legal"}, idempotency_key="forbidden")
    agent.put(path(session), {"status": "active"}, idempotency_key="precondition", if_match='"9"')
    agent.post("/sessions", {}, idempotency_key="shape")
    settled()
    assert redis_server.client.keys() == []


def test_a_remembered_refusal_is_cached(agent: Api, redis_server: Valkey) -> None:
    session = session_in("pending")
    first = assert_first(agent.put(path(session), {"status": "completed"}, idempotency_key=KEY), 409)
    settled()
    again: Any = None

    def repeat() -> None:
        nonlocal again
        again = agent.put(path(session), {"status": "completed"}, idempotency_key=KEY)

    assert statements(repeat) == []
    assert_replay(again, first)


def test_a_204_is_cached_and_replays_without_a_content_type(operator: Api, redis_server: Valkey) -> None:
    session = session_in("completed")
    first = assert_first(operator.send("DELETE", f"{path(session)}?reason=over", idempotency_key=KEY), 204)
    settled()
    assert len(redis_server.client.keys()) == 1
    assert_replay(operator.send("DELETE", f"{path(session)}?reason=over", idempotency_key=KEY), first)


def test_another_epoch_knows_nothing_of_the_last(agent: Api, redis_server: Valkey, settings: Any) -> None:
    """As after a database was restored to a point before the answer."""
    first = assert_first(opening(agent))
    with service_connection() as beside:
        beside.execute("DELETE FROM idempotency_records")
    assert_replay(opening(agent), first)
    settings.IDEMPOTENCY_EPOCH = 2
    assert_first(opening(agent))
    assert opened() == 2


def test_without_redis_there_is_no_cache(agent: Api) -> None:
    assert replay_cache() is None
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert_replay(agent.post("/sessions", NEW, idempotency_key=KEY), first)


def test_after_its_time_the_key_is_new_in_both(agent: Api, redis_server: Valkey) -> None:
    first = assert_first(opening(agent))
    let_expire()
    redis_server.client.pexpire(NAME, 1)
    time.sleep(0.005)
    second = assert_first(opening(agent))
    assert first.json()["session_id"] != second.json()["session_id"]
    assert_replay(opening(agent), second)


# What somebody else has put there.


class Boom:
    """What a pickle can do: run anything."""

    ran = False

    def __reduce__(self) -> Any:
        return (_explode, ())


def _explode() -> None:
    Boom.ran = True


GOOD = stored_answer(
    key_for(),
    Answer(201, {"Content-Type": "application/json"}, b"{}"),
    now=datetime(2100, 1, 1, tzinfo=UTC),
    request_id="another",
)
KEPT_MEMBERS = ("fp", "status", "headers", "body", "request_id", "created_at", "expires_at", "mac")


def entry(**changes: Any) -> bytes:
    """A good entry for the usual call, with changes."""
    good = {**json.loads(_written(GOOD)), **changes}
    return json.dumps({name: value for name, value in good.items() if value is not ...}).encode()


def spoiled(name: str, *values: Any) -> dict[str, bytes]:
    """Entries that are good but for one member."""
    return {f"{name} {value!r}"[:40]: entry(**{name: value}) for value in values}


OTHERWISE = {
    "fp": "00" * 32,
    "status": 200,
    "headers": {"Content-Type": "application/json", "Location": "/elsewhere"},
    "body": "eyJhIjoxfQ==",
    "request_id": "forged",
    "created_at": "2100-01-01T00:00:01.000000Z",
    "expires_at": "2200-01-01T00:00:00.000000Z",
}
"""Members that could have been written, and were not."""
POISON: dict[str, bytes] = {
    "a pickle": pickle.dumps(Boom()),
    "a pickle of an entry": pickle.dumps(json.loads(entry())),
    "nothing": b"",
    "garbage": bytes(range(256)),
    "UTF-16": entry().decode().encode("utf-16"),
    "half an entry": entry()[:-5],
    "deep": b"[" * 200_000,
    "a list": b"[1, 2, 3, 4]",
    "a number": b"7",
    "null": b"null",
    "an object of something else": b'{"a": 1}',
    "a million digits": b'{"fp": ' + b"9" * 1_000_000 + b"}",
    **{f"no {name}": entry(**{name: ...}) for name in KEPT_MEMBERS},
    **{f"another {name}": entry(**{name: value}) for name, value in OTHERWISE.items()},
    "for another key": _written(replace(GOOD, k=bytes(32))),
    "with the code of the database": entry(mac=code(GOOD, Store.DATABASE).hex()),
    "past its time": _written(replace(GOOD, expires_at="2026-01-01T00:00:00.000000Z")),
    **spoiled("mac", None, 7, "", "zz", "00" * 32, "é"),
    **spoiled("request_id", None, 7, []),
    **spoiled("fp", None, 7, [], "", "zz", "ab", key_for().fp.hex() * 2),
    **spoiled("status", None, "201", "x", [], {}, True, 201.5, float("inf"), 1e308),
    **spoiled("status", -1, 0, 99, 100, 199, 500, 503, 600, 10**30),
    **spoiled("status", 300, 304, 400, 401, 403, 404, 405, 412, 413, 415, 422, 429),
    **spoiled("body", None, 7, [], "e30", "not base64", "é", "e30=\n"),
    **spoiled("headers", None, 7, "Location", [["Location", "/"]], {"Location": None}, {"Location": 7}),
    **spoiled("headers", {"Location": {"a": 1}}, {"Location": "/\r\nSet-Cookie: a=b"}, {"Location": "/\x00"}),
    **spoiled("headers", {"Set-Cookie": "a=b"}, {"Content-Type\r\nX": "a"}, {"": ""}),
}


def test_an_entry_that_is_good_is_taken(agent: Api, redis_server: Valkey) -> None:
    redis_server.client.set(NAME, entry())
    again = opening(agent)
    assert (again.status_code, again.content, again.headers["Idempotent-Replayed"]) == (201, b"{}", "true")
    assert opened() == 0


@pytest.mark.parametrize("poison", POISON.values(), ids=list(POISON))
def test_anything_else_is_as_if_it_were_not_there(agent: Api, redis_server: Valkey, poison: bytes) -> None:
    redis_server.client.set(NAME, poison)
    first = assert_first(opening(agent))
    assert (opened(), remembered()) == (1, 1)
    assert_replay(opening(agent), first)
    assert not Boom.ran


def test_a_value_of_another_kind_is_as_if_it_were_not_there(agent: Api, redis_server: Valkey) -> None:
    redis_server.client.rpush(NAME, "a", "list")
    first = assert_first(opening(agent))
    assert_replay(opening(agent), first)
    assert opened() == 1


# What is counted.


def counted() -> dict[str, float]:
    names = {
        **{name: ("orchestrator_keyed_requests_total", {"outcome": name}) for name in ("first", "replay")},
        **{name: ("orchestrator_keyed_requests_total", {"outcome": name}) for name in ("mismatch", "in_flight")},
        **{name: ("orchestrator_replay_cache_lookups_total", {"result": name}) for name in ("hit", "miss")},
        "forged": ("orchestrator_stored_answers_refused_total", {"store": "redis"}),
        "breaker": ("orchestrator_redis_breaker_openings_total", {}),
    }
    found = {name: REGISTRY.get_sample_value(sample, labels) for name, (sample, labels) in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def counts(call: Callable[[], Any]) -> dict[str, float]:
    before = counted()
    call()
    return {name: value - before[name] for name, value in counted().items() if value != before[name]}


def test_counts_what_it_found(agent: Api, redis_server: Valkey) -> None:
    other = {"agent_role": "it"}
    assert len(counted()) == 8
    assert counts(lambda: opening(agent)) == {"first": 1, "miss": 1}
    assert counts(lambda: opening(agent)) == {"replay": 1, "hit": 1}
    assert counts(lambda: agent.post("/sessions", other, idempotency_key=KEY)) == {"mismatch": 1, "hit": 1}
    redis_server.flush()
    assert counts(lambda: opening(agent)) == {"replay": 1, "miss": 1}
    assert counts(lambda: agent.post("/sessions", other, idempotency_key=KEY)) == {"mismatch": 1, "miss": 1}
    assert counts(lambda: agent.post("/sessions", NEW)) == {}
    redis_server.client.set(NAME, entry(body="eyJhIjoxfQ=="))
    assert counts(lambda: opening(agent)) == {"replay": 1, "miss": 1, "forged": 1}


def test_counts_without_redis_too(agent: Api) -> None:
    assert counts(lambda: agent.post("/sessions", NEW, idempotency_key=KEY)) == {"first": 1}
    assert counts(lambda: agent.post("/sessions", NEW, idempotency_key=KEY)) == {"replay": 1}


def test_counts_how_often_the_breaker_opens(agent: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    # However slow the machine is, the second call comes before Redis is tried again.
    monkeypatch.setattr(redis, "OPEN_SECONDS", 60)
    with with_redis("redis://127.0.0.1:1/0"):
        assert counts(lambda: agent.post("/sessions", NEW, idempotency_key=KEY)) == {
            "first": 1,
            "miss": 1,
            "breaker": 1,
        }
        assert counts(lambda: agent.post("/sessions", NEW, idempotency_key=KEY)) == {"replay": 1, "miss": 1}
