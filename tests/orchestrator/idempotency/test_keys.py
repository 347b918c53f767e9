"""What is a key, whose it is, and what counts as the same request."""

from typing import Any

import pytest
from django.test import RequestFactory

from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from orchestrator.idempotency.claim import Key, key_of
from orchestrator.idempotency.models import IdempotencyRecord
from sessions_app.models import Session
from tests.api import Api, errors, token
from tests.orchestrator.idempotency.keyed import (
    KEY,
    NEW,
    assert_first,
    assert_refused,
    assert_replay,
    opened,
    remembered,
)
from tests.orchestrator.served import served
from tests.sessions_app.session_calls import path, session_in

database = pytest.mark.django_db(transaction=True)


# Form.


@database
@pytest.mark.parametrize(
    "key", ["k", "0", "k" * 255, "!#$%&'()*+-./09:;<=>?@AZ[]^_`az{|}~", "a\\b", "k:" + "é".encode().hex()]
)
def test_takes_1_to_255_visible_characters(agent: Api, key: str) -> None:
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=key))
    assert_replay(agent.post("/sessions", NEW, idempotency_key=key), first)
    assert opened() == 1


@database
def test_a_key_in_quotes_is_the_same_key_bare(agent: Api) -> None:
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=f'"{KEY}"'))
    assert_replay(agent.post("/sessions", NEW, idempotency_key=KEY), first)


@database
@pytest.mark.parametrize(
    "key",
    [
        *("", " ", '"', '""', "a b", "a\tb", " a", "a,b", '"a,b"', '"a', 'a"', 'a"b', '"a"b"', '"a b"', '"a\\b"'),
        *("é", "a\x7f", "k" * 256, f'"{"k" * 256}"', '"a", "b"', '"a";q=1'),
    ],
)
def test_refuses_any_other_form_and_does_nothing(agent: Api, key: str) -> None:
    answer = assert_refused(agent.post("/sessions", NEW, idempotency_key=key), 400, "invalid-request")
    assert errors(answer) == ["Idempotency-Key"]
    assert (opened(), remembered()) == (0, 0)


@database
def test_refuses_two_keys_on_one_request() -> None:
    # A server joins a repeated header with a comma.
    status, _, _ = served("POST", "/sessions", HTTP_IDEMPOTENCY_KEY="a,a")
    assert status == 400
    assert opened() == 0


@database
@pytest.mark.parametrize("at", ["/status", "/health", "/problems", "/api-docs", "/admin/", "/metrics"])
def test_a_key_on_a_public_path_means_nothing(agent: Api, at: str) -> None:
    answers = [agent.post(at, {}, **headers) for headers in ({}, {"idempotency_key": "not, a key"})]
    assert len({answer.status_code for answer in answers}) == 1
    assert remembered() == 0


@database
def test_the_key_itself_is_kept_nowhere(agent: Api) -> None:
    agent.post("/sessions", NEW, idempotency_key=KEY)
    kept = IdempotencyRecord.objects.values().get()
    assert KEY not in str(
        {name: bytes(value) if isinstance(value, memoryview) else value for name, value in kept.items()}
    )
    assert len(bytes(kept["k"])) == len(bytes(kept["fp"])) == 32


# Whose.


def bearer(**claims: Any) -> Api:
    return Api(token(**claims))


@database
@pytest.mark.parametrize(
    "other",
    [{"subject": "bob"}, {"subject": "alice", "tenant": "acme"}, {"subject": "alice", "act_subject": "bot"}],
    ids=["person", "tenant", "agent"],
)
def test_the_same_key_of_another_caller_is_another_key(agent: Api, other: dict[str, str]) -> None:
    mine = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    theirs = assert_first(bearer(**other).post("/sessions", NEW, idempotency_key=KEY))
    assert mine.json()["session_id"] != theirs.json()["session_id"]
    assert opened() == remembered() == 2


@database
def test_an_agent_is_another_caller_for_each_person_it_acts_for() -> None:
    answers = [
        assert_first(bearer(subject=person, act_subject="bot").post("/sessions", NEW, idempotency_key=KEY)).json()
        for person in ("petra", "paul")
    ]
    assert [Session.objects.get(pk=one["session_id"]).on_behalf_of_subject for one in answers] == ["petra", "paul"]
    again = bearer(subject="petra", act_subject="bot").post("/sessions", NEW, idempotency_key=KEY)
    assert again.json() == answers[0]
    assert opened() == remembered() == 2


@database
def test_no_two_pairs_of_caller_and_key_run_together() -> None:
    assert_first(bearer(subject="alice").post("/sessions", NEW, idempotency_key="1-x"))
    assert_first(bearer(subject="alice1").post("/sessions", NEW, idempotency_key="-x"))
    assert opened() == 2


@database
def test_a_refreshed_token_replays() -> None:
    first = assert_first(bearer(subject="alice", ttl=600).post("/sessions", NEW, idempotency_key=KEY))
    again = bearer(subject="alice", roles="operator", agent_roles="")
    assert_replay(again.post("/sessions", NEW, idempotency_key=KEY), first)
    assert opened() == 1


def caller(tenant: str, issuer: str, subject: str) -> Actor:
    return Actor(Identity(issuer, subject), tenant, Kind.PERSON, Origin(Via.API), frozenset({Role.AGENT}))


def test_tenant_issuer_subject_and_key_are_framed() -> None:
    parts = [
        ("a", "b", "c", "d"),
        ("ab", "", "c", "d"),
        ("a", "bc", "", "d"),
        ("a", "b", "cd", ""),
        ("b", "a", "c", "d"),
        ('a","b', "", "c", "d"),
        ("a", 'b","c', "", "d"),
    ]
    request = RequestFactory().post("/sessions")
    assert len({key_of(request, caller(*scope), key, {}).k for *scope, key in parts}) == len(parts)


# The request.


def fingerprint(body: Any = None, method: str = "POST", at: str = "/sessions", **headers: str) -> bytes:
    request = RequestFactory().generic(method, at, headers=headers)
    return key_of(request, caller("t", "i", "s"), KEY, {} if body is None else body).fp


BODIES: list[Any] = [
    *([], "", 0, False, {"a": None}, {"a": 1}, {"a": "1"}, {"a": True}),
    *({"a": [1, 2]}, {"a": [2, 1]}, {"A": 1}, {"a": 1.5}, {"a": {"b": 1}}),
]


def test_the_fingerprint_tells_requests_apart_by_all_that_matters() -> None:
    different = [
        fingerprint(),
        fingerprint(method="PUT"),
        fingerprint(at="/sessions/"),
        fingerprint(at="/sessions?a=1"),
        fingerprint(at="/sessions?a=2"),
        fingerprint(at="/sessions?a=1&a=2"),
        fingerprint(at="/sessions?a=2&a=1"),
        fingerprint(at="/sessions?a"),
        fingerprint(**{"If-Match": '"1"'}),
        fingerprint(**{"If-Match": "*"}),
        *map(fingerprint, BODIES),
    ]
    assert len(set(different)) == len(different)


def test_the_fingerprint_is_the_same_however_the_request_is_written() -> None:
    assert fingerprint(at="/sessions?a=1&b=2") == fingerprint(at="/sessions?b=2&a=1")
    assert fingerprint(at="/sessions?a=%41") == fingerprint(at="/sessions?a=A")
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1.0}) == fingerprint({"a": 1})
    assert fingerprint({"a": [2**53]}) == fingerprint({"a": [float(2**53)]})
    assert fingerprint(**{"X-Request-Id": "another-request", "Content-Type": "text/plain"}) == fingerprint()


def test_key_and_fingerprint_are_hashes() -> None:
    found = key_of(RequestFactory().post("/sessions"), caller("t", "i", "s"), KEY, {})
    assert isinstance(found, Key)
    assert (len(found.k), len(found.fp)) == (32, 32)


SAME = [
    b'{"agent_role": "finance", "metadata": {"n": 1, "m": [1.5, true]}}',
    b'{"metadata":{"m":[1.50,true],"n":1.0},"agent_role":"finance"}',
    b'\n{ "metadata": {"n": 10e-1, "m": [15e-1, true]}, "agent\\u005frole": "fin\\u0061nce" }\r\n',
]
OTHER = [
    b'{"agent_role": "finance", "metadata": {"n": "1", "m": [1.5, true]}}',
    b'{"agent_role": "finance", "metadata": {"n": 1, "m": [true, 1.5]}}',
    b'{"agent_role": "finance", "metadata": {"n": 1, "m": [1.5, 1]}}',
    b'{"agent_role": "Finance", "metadata": {"n": 1, "m": [1.5, true]}}',
    b'{"agent_role": "finance", "metadata": {"n": 1, "m": [1.5, true]}, "task_id": null}',
    b"{}",
    b"",
    b"[]",
]


@database
def test_the_same_json_written_otherwise_is_the_same_request(agent: Api) -> None:
    first = assert_first(agent.send_raw("POST", "/sessions", SAME[0], idempotency_key=KEY))
    for body in SAME[1:]:
        assert_replay(agent.send_raw("POST", "/sessions", body, idempotency_key=KEY), first)
    assert opened() == 1


@database
@pytest.mark.parametrize("body", OTHER)
def test_another_body_under_the_key_is_refused_and_has_no_effect(agent: Api, body: bytes) -> None:
    first = assert_first(agent.send_raw("POST", "/sessions", SAME[0], idempotency_key=KEY))
    answer = agent.send_raw("POST", "/sessions", body, idempotency_key=KEY)
    assert_refused(answer, 422, "idempotency-key-mismatch")
    assert (opened(), remembered()) == (1, 1)
    assert_replay(agent.send_raw("POST", "/sessions", SAME[0], idempotency_key=KEY), first)


@database
@pytest.mark.parametrize("change", ["method", "path", "query", "if-match", "no if-match"])
def test_the_key_on_another_request_is_refused_and_has_no_effect(agent: Api, change: str) -> None:
    one, other = session_in("pending"), session_in("pending")
    body, tag = {"status": "active"}, {"if_match": '"1"'}
    first = assert_first(agent.put(path(one), body, idempotency_key=KEY, **tag), 200)
    answer = {
        "method": lambda: agent.send("PATCH", path(one), body, idempotency_key=KEY, **tag),
        "path": lambda: agent.put(path(other), body, idempotency_key=KEY, **tag),
        "query": lambda: agent.put(f"{path(one)}?a=1", body, idempotency_key=KEY, **tag),
        "if-match": lambda: agent.put(path(one), body, idempotency_key=KEY, if_match='"2"'),
        "no if-match": lambda: agent.put(path(one), body, idempotency_key=KEY),
    }[change]()
    assert_refused(answer, 422, "idempotency-key-mismatch")
    assert agent.get(path(other)).json()["status"] == "pending"
    assert_replay(agent.put(path(one), body, idempotency_key=KEY, **tag), first)


@database
def test_a_body_left_out_and_an_empty_object_are_the_same_request(agent: Api) -> None:
    session = session_in("pending")
    first = assert_first(agent.put(path(session), {}, idempotency_key=KEY), 200)
    assert_replay(agent.put(path(session), None, idempotency_key=KEY), first)
