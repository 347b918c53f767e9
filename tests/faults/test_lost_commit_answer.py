"""The connection to the database is cut between COMMIT and its answer: the record tells what became of it."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import connection

from sessions_app.duties import REQUEUE_LAPSED
from sessions_app.models import Task
from sessions_app.sweeping import sweep
from tests.api import Api
from tests.concurrency import tasks, told
from tests.concurrency.racing import finn
from tests.database import superuser_connection
from tests.faults.checker import check
from tests.faults.harness import Client, again_and_again, all_at_once, serving, target, through, until_final
from tests.faults.history import Call, History
from tests.faults.proxy import COMMIT, Cut, Proxy, proxying
from tests.gunicorn_server import environment
from tests.orchestrator.idempotency.keyed import (
    KEY,
    NEW,
    assert_first,
    assert_refused,
    assert_replay,
    events,
    opened,
    remembered,
    wait_until_free,
)
from tests.sessions_app.session_calls import path, session_in

pytestmark = pytest.mark.django_db(transaction=True)

# One call, in this process.


@pytest.fixture
def between() -> Iterator[Proxy]:
    """What stands between this process's connection and the database."""
    with proxying(target(environment()["DATABASE_URL"])) as proxy, _by_way_of(proxy):
        yield proxy


@contextmanager
def _by_way_of(proxy: Proxy) -> Iterator[None]:
    place = connection.settings_dict
    before, options = {name: place[name] for name in ("HOST", "PORT")}, dict(place["OPTIONS"])
    connection.close()
    place.update(HOST="127.0.0.1", PORT=str(proxy.port))
    place["OPTIONS"].update(sslmode="disable", gssencmode="disable")
    try:
        yield
    finally:
        connection.close()
        place.update(before)
        place["OPTIONS"] = options


def opening(api: Api) -> Any:
    return api.post("/sessions", NEW, idempotency_key=KEY)


def test_a_commit_whose_answer_is_lost_is_answered_by_its_record(agent: Api, between: Proxy) -> None:
    between.cut = Cut(COMMIT, answered=True)
    answer = opening(agent)
    assert between.cuts == 1
    assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (201, "true")
    assert answer.headers["Location"] == path(answer.json())
    assert (opened(), events(), remembered()) == (1, 1, 1)
    assert_replay(opening(agent), answer)


def test_a_commit_that_never_arrived_is_a_503_and_may_be_tried_again(agent: Api, between: Proxy) -> None:
    between.cut = Cut(COMMIT, answered=False)
    answer = assert_refused(opening(agent), 503, "service-unavailable")
    assert between.cuts == 1
    assert answer.headers["Retry-After"] == "1"
    assert (opened(), remembered()) == (0, 0)
    assert_first(opening(agent))
    assert (opened(), remembered()) == (1, 1)


@pytest.mark.parametrize(
    ("word", "answered"),
    [
        (b"idempotency_reserve", False),
        (b"idempotency_reserve", True),
        (b'INSERT INTO "sessions"', True),
        (b"INSERT INTO idempotency_records", False),
        (b"INSERT INTO idempotency_records", True),
    ],
    ids=["before it is claimed", "claimed", "done", "before it is recorded", "recorded"],
)
def test_a_connection_lost_before_commit_is_a_503_and_the_key_is_free(
    agent: Api, between: Proxy, word: bytes, answered: bool
) -> None:
    between.cut = Cut(word, answered=answered)
    assert_refused(opening(agent), 503, "service-unavailable")
    assert between.cuts == 1
    assert (opened(), events(), remembered()) == (0, 0, 0)
    assert_first(opening(agent))
    assert (opened(), remembered()) == (1, 1)


def test_a_database_that_cannot_be_reached_is_tried_once(agent: Api, between: Proxy) -> None:
    """Where nothing can have been committed there is nothing to ask of another connection."""
    between.black_hole()
    assert_refused(opening(agent), 503, "service-unavailable")
    assert between.accepted == 1


def test_while_the_lost_backend_is_not_gone_nobody_else_has_the_effect(agent: Api, between: Proxy) -> None:
    between.cut = Cut(COMMIT, answered=False, linger=True)
    began = time.monotonic()
    assert_refused(opening(agent), 503, "service-unavailable")
    # It waits for the old backend to end, in vain, and not for long.
    assert 0.9 < time.monotonic() - began < 3
    assert_refused(opening(agent), 409, "request-in-flight")
    assert (opened(), remembered()) == (0, 0)
    between.reset()
    connection.close()
    wait_until_free()
    assert_first(opening(agent))
    assert opened() == 1


def test_a_refusal_whose_record_is_lost_to_sight_is_the_same_refusal_again(agent: Api, between: Proxy) -> None:
    session = session_in("pending")

    def complete() -> Any:
        return agent.put(path(session), {"status": "completed"}, idempotency_key=KEY)

    between.cut = Cut(COMMIT, answered=True)
    assert_refused(complete(), 503, "service-unavailable")
    assert (between.cuts, remembered()) == (1, 1)
    again = assert_refused(complete(), 409, "illegal-transition")
    assert again.headers["Idempotent-Replayed"] == "true"


def test_without_a_key_the_caller_is_told_that_it_is_not_known(agent: Api, between: Proxy) -> None:
    between.cut = Cut(COMMIT, answered=True)
    assert_refused(agent.post("/sessions", NEW), 503, "service-unavailable")
    assert opened() == 1


def completing(agent: Api, task: Task, token: str, total: int = 1) -> Any:
    return agent.post(tasks.path(task, "complete"), {"lease_token": token, "output": {"sum": total}})


@pytest.mark.parametrize("answered", [True, False], ids=["it arrived", "it never arrived"])
def test_a_completion_whose_commit_was_not_answered_is_sent_again_and_done_once(between: Proxy, answered: bool) -> None:
    agent, (task, token) = finn(), tasks.held()
    between.cut = Cut(COMMIT, answered=answered)
    assert_refused(completing(agent, task, token), 503, "service-unavailable")
    assert between.cuts == 1
    assert Task.objects.get(pk=task.pk).status == ("completed" if answered else "active")
    again, once_more = completing(agent, task, token), completing(agent, task, token)
    assert (again.status_code, again.json()["status"], again.json()["version"]) == (200, "completed", 3)
    assert (once_more.status_code, once_more.content, once_more.headers["ETag"]) == (200, again.content, '"3"')
    assert told.words(task) == ["created", "claimed", "completed"]
    # Another result is another call.
    assert_refused(completing(agent, task, token, total=2), 409, "lease-lost")
    tasks.assert_tasks_hold()


def test_a_claim_whose_commit_was_not_answered_is_healed_by_its_lease(between: Proxy) -> None:
    agent, task = finn(), tasks.routed()
    between.cut = Cut(COMMIT, answered=True)
    assert_refused(agent.post("/tasks/claim", {}), 503, "service-unavailable")
    assert between.cuts == 1
    assert agent.post("/tasks/claim", {}).json() == {"tasks": []}
    tasks.lapse(task)
    assert sweep(REQUEUE_LAPSED).moved == 1
    assert told.words(task) == ["created", "claimed", "requeued"]
    tasks.assert_tasks_hold()


@pytest.mark.parametrize("fault", ["reset", "half_close"])
def test_a_connection_that_goes_bad_between_requests_costs_one_503_at_most(
    agent: Api, between: Proxy, fault: str
) -> None:
    agent.post("/sessions", NEW)
    getattr(between, fault)()
    first = opening(agent)
    if first.status_code == 503:
        first = opening(agent)
    assert_first(first)
    assert opened() == 2


# Workers under load.


@pytest.mark.slow
def test_commits_cut_again_and_again_under_load_double_and_lose_nothing() -> None:
    history, address = History(), environment()["DATABASE_URL"]
    chance = random.Random(1)
    with (
        proxying(target(address), seed=1, reset_chance=0.002) as proxy,
        serving(through(address, proxy.port), workers=2) as service,
    ):
        client = Client(service.base, history)
        with again_and_again(0.05, partial(cut_one, proxy, chance)):
            last = all_at_once(6, [partial(opened_by, client, n) for n in range(300)])
    outcomes = Counter((str(call.outcome), call.status) for call in history.calls)
    print(f"{proxy.cuts} commits cut, {proxy.resets} resets by chance: {dict(outcomes)}")
    with superuser_connection() as beside:
        assert check(history, beside) == []
    assert len({call.body for call in last}) == opened() == 300
    assert proxy.cuts > 20
    assert {status for _, status in outcomes} <= {201, 409, 503}


def cut_one(proxy: Proxy, chance: random.Random) -> None:
    """The next commit that comes by, before it arrives or once it is answered."""
    proxy.cut = Cut(COMMIT, answered=chance.random() < 0.5)


def opened_by(client: Client, n: int) -> Call:
    attempt: Callable[[], Call] = partial(client.open, f"key-{n}")
    return until_final(attempt)
