"""A subject that was cut off is out within thirty seconds, whatever its tokens say."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from orchestrator import middleware
from orchestrator.actors import Identity
from orchestrator.people.cut_off import SECONDS, CutOff
from orchestrator.people.models import Person
from orchestrator.problems import ServiceUnavailable
from tests.api import Api, token

pytestmark = pytest.mark.django_db(transaction=True)

ALICE = Identity("local", "alice")


class Clock:
    """Stands still until it is moved."""

    now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The worker has just read who is cut off, nobody; from here on its clock is moved by the test."""
    clock = Clock()
    worker = CutOff(clock)
    assert not worker.includes(ALICE, "default")
    monkeypatch.setattr(middleware, "cut_off", worker)
    return clock


def person(subject: str = "alice", issuer: str = "local", *, tenant: str = "default", is_active: bool) -> Person:
    """Somebody as a row."""
    known, _ = Person.objects.update_or_create(
        tenant=tenant,
        issuer=issuer,
        subject=subject,
        defaults={"username": f"{tenant}|{issuer}|{subject}", "is_active": is_active},
    )
    return known


def status(bearer: str) -> int:
    return int(Api(bearer).get("/sessions").status_code)


@pytest.fixture
def away() -> Iterator[None]:
    """Every connect fails."""
    place: dict[str, Any] = connection.settings_dict
    host = place["HOST"]
    connection.close()
    place["HOST"] = "/nowhere"
    yield
    connection.close()
    place["HOST"] = host


def test_who_is_cut_off_is_out_after_thirty_seconds_at_the_latest(clock: Clock) -> None:
    bearer = token("alice")
    assert status(bearer) == 200
    person(is_active=False)
    clock.now += SECONDS - 0.1
    assert status(bearer) == 200
    clock.now += 0.1
    answer = Api(bearer).get("/sessions")
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="orchestrator", error="invalid_token"'
    assert answer.json()["detail"] == Api(None).get("/sessions").json()["detail"]
    assert status(token("alice", roles="operator", agent_roles="")) == 401
    assert SECONDS <= 30


def test_nothing_that_it_asks_for_is_done(clock: Clock) -> None:
    api = Api(token("alice"))
    made = api.post("/sessions", {"agent_role": "finance"})
    assert made.status_code == 201
    person(is_active=False)
    clock.now += SECONDS
    assert api.post("/sessions", {"agent_role": "finance"}).status_code == 401
    assert api.put(made.headers["Location"], {"status": "active"}).status_code == 401
    (session,) = Api(token("bob")).get("/sessions").json()["sessions"]
    assert (session["status"], session["version"]) == ("pending", 1)


def test_who_is_restored_is_in_again_within_thirty_seconds(clock: Clock) -> None:
    person(is_active=False)
    clock.now += SECONDS
    assert status(token("alice")) == 401
    person(is_active=True)
    clock.now += SECONDS
    assert status(token("alice")) == 200


def test_nobody_else_is_cut_off_with_it(clock: Clock) -> None:
    person("alice", is_active=False)
    person("bob", "https://elsewhere.example", is_active=False)
    person("carol", is_active=True)
    clock.now += SECONDS
    assert status(token("alice")) == 401
    assert [status(token(subject)) for subject in ("bob", "carol", "nobody-known", "Alice", "alic")] == [200] * 5


def test_a_subject_is_cut_off_in_one_tenant_and_not_in_another(clock: Clock) -> None:
    here, there = token("alice"), token("alice", tenant="acme")
    agent_here, agent_there = (token("bob", act_subject="alice", tenant=tenant) for tenant in ("default", "acme"))
    person(is_active=False)
    person(tenant="acme", is_active=True)
    clock.now += SECONDS
    assert [status(bearer) for bearer in (here, agent_here)] == [401, 401]
    assert [status(bearer) for bearer in (there, agent_there)] == [200, 200]
    person(tenant="acme", is_active=False)
    person(is_active=True)
    clock.now += SECONDS
    assert [status(bearer) for bearer in (here, agent_here)] == [200, 200]
    assert [status(bearer) for bearer in (there, agent_there)] == [401, 401]


@pytest.mark.parametrize("cut", ["alice", "bot"])
def test_an_agent_is_out_with_its_principal_as_by_itself(clock: Clock, cut: str) -> None:
    bearer = token("alice", act_subject="bot")
    assert status(bearer) == 200
    person(cut, is_active=False)
    clock.now += SECONDS
    assert status(bearer) == 401
    assert status(token("alice", act_subject="another")) == (401 if cut == "alice" else 200)
    assert status(token("bob", act_subject="bot")) == (401 if cut == "bot" else 200)


def test_a_service_account_can_be_cut_off_too(clock: Clock) -> None:
    bearer = token("billing", service_account=True)
    assert status(bearer) == 200
    person("billing", is_active=False)
    clock.now += SECONDS
    assert status(bearer) == 401


def test_it_is_read_once_in_thirty_seconds_however_many_ask() -> None:
    clock = Clock()
    worker = CutOff(clock)
    with CaptureQueriesContext(connection) as captured:
        for number in range(100):
            worker.includes(Identity("local", f"caller-{number}"), "default")
            clock.now += 0.29
        assert len(captured) == 1
        clock.now += 1.1
        worker.includes(ALICE, "default")
        assert len(captured) == 2
        worker.forget()
        worker.includes(ALICE, "default")
        worker.includes(ALICE, "default")
    assert len(captured) == 3


def test_many_at_once_read_it_once() -> None:
    person(is_active=False)
    worker = CutOff(Clock())
    read: list[int] = []

    def asked(_: int) -> bool:
        try:
            with CaptureQueriesContext(connection) as captured:
                found = worker.includes(ALICE, "default")
            read.append(len(captured))
            return found
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(asked, range(8))) == [True] * 8
    assert sum(read) == 1


def test_who_cannot_be_known_to_be_in_is_told_to_come_again(clock: Clock, away: None) -> None:
    clock.now += SECONDS
    answer = Api(token("alice")).get("/nowhere")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/service-unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert Api(None).get("/nowhere").status_code == 401


def test_what_was_read_holds_for_its_thirty_seconds_without_the_database(clock: Clock, away: None) -> None:
    clock.now += SECONDS - 1
    assert Api(token("alice")).get("/nowhere").status_code == 404


def test_it_is_read_again_as_soon_as_the_database_is_back() -> None:
    person(is_active=False)
    worker = CutOff(Clock())
    place: dict[str, Any] = connection.settings_dict
    host = place["HOST"]
    connection.close()
    place["HOST"] = "/nowhere"
    try:
        with pytest.raises(ServiceUnavailable):
            worker.includes(ALICE, "default")
    finally:
        connection.close()
        place["HOST"] = host
    assert worker.includes(ALICE, "default")
