"""Several callers on one session at the same moment, each on a connection of its own."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from sessions_app.models import Session
from tests.api import Api, token
from tests.database import superuser_connection
from tests.sessions_app.session_calls import LEGAL, events_of, path, session_in, stored

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 8
CROWD = 32
PATIENCE_SECONDS = 2.5

Call = Callable[[Api], Any]


@pytest.fixture
def bearer() -> str:
    return token("alice")


def put(session: Session, body: dict[str, Any], **headers: str) -> Call:
    return lambda api: api.put(path(session), body, **headers)


@contextmanager
def started(bearer: str, calls: Sequence[Call]) -> Iterator[list[Future[Any]]]:
    """All calls, let go at once, a thread and a connection for each."""
    barrier = Barrier(len(calls))

    def run(call: Call) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait(timeout=30)
            return call(Api(bearer))
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        yield [pool.submit(run, call) for call in calls]


def at_once(bearer: str, session: Session, *calls: Call) -> list[Any]:
    """The answers to calls that start at the same moment, wherever they then meet."""
    with started(bearer, calls) as running:
        return [future.result() for future in running]


def queued(bearer: str, session: Session, *calls: Call) -> list[Any]:
    """The answers to calls that all wait for the session's lock when it comes free: each has read it unmoved."""
    with superuser_connection() as holder, superuser_connection() as watcher:
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM sessions WHERE id = %s FOR UPDATE", [session.id])
        with started(bearer, calls) as running:
            reached = _wait_for_waiters(watcher, len(calls))
            holder.execute("ROLLBACK")
            answers = [future.result() for future in running]
    assert reached == len(calls)
    return answers


def _wait_for_waiters(watcher: Any, expected: int) -> int:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    until = time.monotonic() + PATIENCE_SECONDS
    while (reached := int(watcher.execute(waiting).fetchone()[0])) < expected and time.monotonic() < until:
        time.sleep(0.005)
    return reached


def codes(answers: Sequence[Any]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


def won(answers: Sequence[Any]) -> Any:
    (winner,) = [answer for answer in answers if answer.status_code == 200]
    return winner.json()


def assert_path_is_whole(pk: UUID) -> None:
    """One event for each version, each from where the last led, by a legal move, and the row is where they end."""
    events, row = events_of(pk), stored(pk)
    assert [event.seq for event in events] == list(range(1, row["version"] + 1))
    for before, after in pairwise(events):
        assert after.from_status == before.to_status
        assert bytes(after.prev_hash or b"") == bytes(before.hash)
        assert after.to_status in (before.to_status, *LEGAL[str(before.to_status)])
    assert (row["status"], bytes(row["audit_head"])) == (events[-1].to_status, bytes(events[-1].hash))


# Two callers.


@pytest.mark.parametrize(("one", "other"), [("completed", "failed"), ("completed", "expired"), ("failed", "expired")])
def test_of_two_conflicting_moves_one_wins(bearer: str, one: str, other: str) -> None:
    session = session_in("active")
    answers = queued(bearer, session, put(session, {"status": one}), put(session, {"status": other}))
    assert codes(answers) == [200, 409]
    assert_one_end(session, answers)


def test_of_two_conflicting_moves_one_wins_whenever_they_come(bearer: str) -> None:
    for _ in range(ROUNDS):
        session = session_in("active")
        answers = at_once(bearer, session, put(session, {"status": "completed"}), put(session, {"status": "failed"}))
        assert codes(answers) == [200, 409]
        assert_one_end(session, answers)


def assert_one_end(session: Session, answers: Sequence[Any]) -> None:
    """The winner's state stands, its event is the only new one, and the losers are told where the session is."""
    winner = won(answers)
    row = stored(session.id)
    assert (row["status"], row["version"]) == (winner["status"], winner["version"])
    assert row["version"] == session.version + 1
    assert_path_is_whole(session.id)
    for loser in (answer.json() for answer in answers if answer.status_code != 200):
        assert loser["type"] == "/problems/illegal-transition"
        assert (loser["from"], loser["allowed"]) == (winner["status"], [])


def test_a_move_made_twice_to_a_lasting_state_is_made_once_and_both_are_content(bearer: str) -> None:
    for race in (queued, at_once):
        session = session_in("pending")
        answers = race(bearer, session, *[put(session, {"status": "active"})] * 2)
        assert codes(answers) == [200, 200]
        assert answers[0].json() == answers[1].json()
        assert [event.event_type for event in events_of(session.id)] == ["session.created", "session.activated"]
        assert_path_is_whole(session.id)


def test_a_move_made_twice_to_a_final_state_is_made_once_and_the_other_refused(bearer: str) -> None:
    for state in ("completed", "failed", "expired"):
        for race in (queued, at_once):
            session = session_in("active")
            answers = race(bearer, session, *[put(session, {"status": state})] * 2)
            assert codes(answers) == [200, 409]
            assert_one_end(session, answers)


def test_expiry_against_activation_leaves_it_expired_by_a_legal_path(bearer: str) -> None:
    for _ in range(ROUNDS):
        session = session_in("pending")
        activated, expired = at_once(
            bearer, session, put(session, {"status": "active"}), put(session, {"status": "expired"})
        )
        assert expired.status_code == 200
        assert stored(session.id)["status"] == "expired"
        assert stored(session.id)["version"] == (3 if activated.status_code == 200 else 2)
        assert activated.status_code == (200 if expired.json()["version"] == 3 else 409)
        assert_path_is_whole(session.id)


# A crowd.


def test_of_thirty_two_callers_on_one_session_one_wins(bearer: str) -> None:
    session = session_in("active")
    ends = LEGAL["active"]
    answers = queued(bearer, session, *(put(session, {"status": ends[n % len(ends)]}) for n in range(CROWD)))
    assert Counter(codes(answers)) == {200: 1, 409: CROWD - 1}
    assert_one_end(session, answers)


def test_of_thirty_two_callers_one_wins_whenever_they_come(bearer: str) -> None:
    session = session_in("active")
    answers = at_once(bearer, session, *(put(session, {"status": "completed", "reason": str(n)}) for n in range(CROWD)))
    assert Counter(codes(answers)) == {200: 1, 409: CROWD - 1}
    assert_one_end(session, answers)
    assert events_of(session.id)[-1].reason == stored(session.id)["reason"] == won(answers)["reason"]


def test_of_thirty_two_activations_one_is_recorded(bearer: str) -> None:
    session = session_in("pending")
    answers = at_once(bearer, session, *[put(session, {"status": "active"})] * CROWD)
    assert codes(answers) == [200] * CROWD
    assert {answer.json()["version"] for answer in answers} == {2}
    assert_path_is_whole(session.id)


# If-Match.


def test_of_writers_who_read_the_same_version_one_writes(bearer: str) -> None:
    for race in (queued, at_once):
        session = session_in("pending")
        tag = f'"{session.version}"'
        answers = race(bearer, session, *(put(session, {"metadata": {"n": n}}, if_match=tag) for n in range(8)))
        assert Counter(codes(answers)) == {200: 1, 412: 7}
        assert stored(session.id)["metadata"] == won(answers)["metadata"]
        assert stored(session.id)["version"] == 2
        assert {answer.json().get("current_version") for answer in answers} == {None, 2}
        assert_path_is_whole(session.id)


def test_writers_who_read_again_lose_no_write(bearer: str) -> None:
    session = session_in("pending")

    def add_one(api: Api) -> Any:
        for _ in range(100):
            shown = api.get(path(session))
            counted = shown.json()["metadata"].get("count", 0) + 1
            answer = api.put(path(session), {"metadata": {"count": counted}}, if_match=shown.headers["ETag"])
            if answer.status_code != 412:
                return answer
        return answer

    answers = at_once(bearer, session, *[add_one] * 8)
    assert codes(answers) == [200] * 8
    assert stored(session.id)["metadata"] == {"count": 8}
    assert stored(session.id)["version"] == session.version + 8
    assert_path_is_whole(session.id)


def test_every_write_without_if_match_is_a_version_of_its_own(bearer: str) -> None:
    session = session_in("active")
    answers = queued(bearer, session, *(put(session, {"metadata": {"writer": n}}) for n in range(16)))
    assert codes(answers) == [200] * 16
    assert sorted(answer.json()["version"] for answer in answers) == list(range(3, 19))
    last = max((answer.json() for answer in answers), key=lambda shown: int(shown["version"]))
    assert stored(session.id)["metadata"] == last["metadata"]
    assert_path_is_whole(session.id)
