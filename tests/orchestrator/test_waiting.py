"""Waiting: who is woken, who may wait, and what is held meanwhile."""

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future

import pytest
from django.db import OperationalError, connection, transaction

from orchestrator.hang_ups import CallerHungUp
from orchestrator.waiting import Demand, TooManyWait, Waiters
from tests.database import close_kept, superuser_connection
from tests.work import in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)

PAUSE = 0.01
LONG = 10.0
"""Nobody who is woken waits as long."""


class Board:
    """What there is to come back for. Whoever looks reads it; whoever takes has it for themselves."""

    def __init__(self, **there: int) -> None:
        self.there, self.looks = dict(there), 0
        self.fails: Exception | None = None
        self._lock = threading.Lock()

    def look(self, asked: Mapping[Demand, int]) -> Mapping[Demand, int]:
        self.looks += 1
        if self.fails is not None:
            raise self.fails
        return {demand: self.there.get(str(demand), 0) for demand in asked}

    def take(self, *names: str) -> str | None:
        with self._lock:
            for name in names:
                if self.there.get(name, 0):
                    self.there[name] -= 1
                    return name
        return None


def waiters(board: Board, most: int = 8) -> Waiters:
    return Waiters(board.look, most=most, pause=PAUSE)


def stays() -> bool:
    """Of a caller that does not hang up."""
    return False


def waiting(
    queue: Waiters,
    board: Board,
    *names: str,
    seconds: float = LONG,
    subject: object = None,
    hung_up: Callable[[], bool] = stays,
) -> "Future[str | None]":
    """Somebody who waits until there is one of these to take; None when time is up. Each is a subject of its own."""

    def wait() -> str | None:
        until, got = time.monotonic() + seconds, None
        with queue.place(names, subject or object(), hung_up) as sleep:
            while got is None and (left := until - time.monotonic()) > 0:
                sleep(left)
                got = board.take(*names)
        return got

    before = len(queue._places)
    waiter = in_a_thread(wait)
    wait_until(lambda: waiter.done() or (len(queue._places) > before and queue._places[-1].asleep))
    return waiter


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "It does not come."
        time.sleep(0.001)


def done(*those: "Future[str | None]") -> list[bool]:
    return [each.done() for each in those]


# Who is woken.


def test_as_many_are_woken_as_there_is_something_for() -> None:
    woken = []
    board = Board()
    queue = waiters(board)

    def wait(n: int) -> None:
        with queue.place(["work"], object(), stays) as sleep:
            sleep(1.0)
            woken.append((n, time.monotonic()))

    began = time.monotonic()
    several = []
    for n in range(5):
        several.append(in_a_thread(lambda n=n: wait(n)))  # type: ignore[misc]
        wait_until(lambda n=n: sum(place.asleep for place in queue._places) > n)  # type: ignore[misc]
    found: Iterator[Mapping[Demand, int]] = iter([{"work": 2}])
    queue._look = lambda _asked: next(found, {})
    for each in several:
        each.result(5)
    assert sorted(n for n, at in woken if at - began < 0.9) == [0, 1]


def test_who_came_first_is_served_first() -> None:
    board = Board()
    queue = waiters(board)
    those = [waiting(queue, board, "work") for _ in range(4)]
    for n in range(4):
        board.there["work"] = 1
        assert those[n].result(5) == "work"
        assert done(*those) == [True] * (n + 1) + [False] * (3 - n)


def test_who_was_woken_in_vain_keeps_the_place() -> None:
    board = Board()
    queue = waiters(board, most=2)
    first, second = waiting(queue, board, "work"), waiting(queue, board, "work")
    # The board promises what another process has taken meanwhile.
    queue._look = lambda _asked: {"work": 1}
    time.sleep(10 * PAUSE)
    with pytest.raises(TooManyWait):
        waiting(queue, board, "work").result(5)
    queue._look = board.look
    time.sleep(3 * PAUSE)
    board.there["work"] = 1
    assert first.result(5) == "work"
    assert not second.done()
    board.there["work"] = 1
    assert second.result(5) == "work"


def test_nobody_is_woken_for_what_they_did_not_ask_for() -> None:
    board = Board()
    queue = waiters(board)
    other, ours = waiting(queue, board, "letters"), waiting(queue, board, "work", "calls")
    board.there["calls"] = 1
    assert ours.result(5) == "calls"
    assert not other.done()
    board.there["letters"] = 1
    assert other.result(5) == "letters"


def test_one_look_serves_all_and_nobody_looks_where_nobody_waits() -> None:
    board = Board()
    queue = waiters(board)
    those = [waiting(queue, board, "work", seconds=0.3) for _ in range(8)]
    assert [each.result(5) for each in those] == [None] * 8
    wait_until(lambda: not queue._asked())
    time.sleep(3 * PAUSE)
    looks = board.looks
    assert 3 < looks < 0.6 / PAUSE
    time.sleep(10 * PAUSE)
    assert board.looks == looks
    late = waiting(queue, board, "work")
    board.there["work"] = 1
    assert late.result(5) == "work"


def test_what_comes_while_a_waiter_takes_its_place_is_not_lost() -> None:
    board = Board()
    queue = waiters(board)
    for n in range(100):
        waiter = in_a_thread(lambda: _taken(queue, board))
        time.sleep(0.0001 * (n % 7))
        board.there["work"] = 1
        assert waiter.result(5) == "work"


def _taken(queue: Waiters, board: Board) -> str | None:
    if got := board.take("work"):
        return got
    with queue.place(["work"], object(), stays) as sleep:
        sleep(2.0)
        return board.take("work")


# Who may wait.


def test_beyond_the_limit_nobody_waits_and_a_place_comes_free_with_whoever_leaves() -> None:
    board = Board()
    queue = waiters(board, most=2)
    first, second = waiting(queue, board, "work"), waiting(queue, board, "work", seconds=0.1)
    with pytest.raises(TooManyWait):
        waiting(queue, board, "work").result(5)
    assert second.result(5) is None
    third = waiting(queue, board, "work")
    board.there["work"] = 2
    assert (first.result(5), third.result(5)) == ("work", "work")
    assert queue._places == []


def test_one_subject_has_at_most_a_quarter_of_the_places_and_others_have_the_rest() -> None:
    board = Board()
    queue = waiters(board, most=8)
    greedy = [waiting(queue, board, "work", subject="finn") for _ in range(2)]
    with pytest.raises(TooManyWait):
        waiting(queue, board, "work", subject="finn").result(5)
    others = [waiting(queue, board, "work", subject=f"agent {n}") for n in range(6)]
    with pytest.raises(TooManyWait):
        waiting(queue, board, "work").result(5)
    board.there["work"] = 8
    assert [each.result(5) for each in greedy + others] == ["work"] * 8


def test_a_caller_that_hangs_up_leaves_and_gives_its_place_back() -> None:
    board, gone = Board(), threading.Event()
    queue = waiters(board, most=1)
    waiter = waiting(queue, board, "work", hung_up=gone.is_set)
    gone.set()
    with pytest.raises(CallerHungUp):
        waiter.result(5)
    board.there["work"] = 1
    assert waiting(queue, board, "work").result(5) == "work"


def test_where_none_may_wait_none_does() -> None:
    with pytest.raises(TooManyWait):
        waiting(waiters(Board(), most=0), Board(), "work").result(5)


def test_a_waiter_that_fails_gives_its_place_back() -> None:
    queue = waiters(Board(), most=1)
    with pytest.raises(ZeroDivisionError), queue.place(["work"], object(), stays):
        raise ZeroDivisionError
    assert queue._places == []


def test_nobody_waits_inside_a_transaction() -> None:
    queue = waiters(Board())
    with (
        pytest.raises(RuntimeError, match="transaction"),
        transaction.atomic(),
        queue.place(["work"], object(), stays) as sleep,
    ):
        sleep(LONG)
    assert queue._places == []


# The end, and trouble.


@pytest.mark.parametrize("hangs", [False, True])
def test_at_the_end_all_are_woken_and_nobody_waits_any_more(hangs: bool) -> None:
    board, stopping, released = Board(), threading.Event(), threading.Event()
    queue = waiters(board)
    if hangs:
        queue._look = lambda _asked: released.wait(LONG) and {}  # type: ignore[assignment,return-value]
    queue.stop_when(stopping.is_set)
    those = [waiting(queue, board, "work") for _ in range(8)]
    began = time.monotonic()
    stopping.set()
    for each in those:
        with pytest.raises(TooManyWait):
            each.result(5)
    assert time.monotonic() - began < 1
    with pytest.raises(TooManyWait):
        waiting(queue, board, "work").result(5)
    released.set()


@pytest.mark.parametrize("error", [OperationalError("gone"), ValueError("a mistake of ours")])
def test_who_waits_goes_on_waiting_while_nobody_can_look(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    board = Board(work=1)
    board.fails = error
    queue = waiters(board)
    waiter = waiting(queue, board, "work")
    looks = board.looks
    wait_until(lambda: board.looks > looks + 3)
    assert not waiter.done()
    board.fails = None
    assert waiter.result(5) == "work"
    told = caplog.records[0]
    assert (told.levelname, bool(told.exc_info)) == ("WARNING", isinstance(error, ValueError))


def test_the_thread_that_looks_starts_anew_in_a_forked_process() -> None:
    board = Board()
    queue = waiters(board, most=1)
    kept = waiting(queue, board, "work")
    with queue._changed:
        connection.close()
        with warnings.catch_warnings():
            # Python 3.12 warns of what is tested here.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            _end(queue, board)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert not kept.done()
    board.there["work"] = 1
    assert kept.result(5) == "work"


def _end(queue: Waiters, board: Board) -> None:
    """In the child, forked while another thread waited and the lock was held: there is a place, and it is woken."""
    try:
        board.there["work"] = 1
        began = time.monotonic()
        with queue.place(["work"], object(), stays) as sleep:
            sleep(5.0)
        os._exit(7 if time.monotonic() - began < 4 else 8)
    finally:
        os._exit(9)


# What is held meanwhile.


def test_no_connection_is_held_by_who_waits_and_one_by_who_looks_while_somebody_waits() -> None:
    board, pids = Board(), list[int]()

    def look(asked: Mapping[Demand, int]) -> Mapping[Demand, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pids.append(cursor.fetchone()[0])
        return board.look(asked)

    queue = Waiters(look, most=8, pause=PAUSE)
    with superuser_connection() as beside:
        those = [_connected(queue, board) for _ in range(4)]
        wait_until(lambda: len(pids) > 3)
        connection.close()
        close_kept()
        held = beside.execute(OTHERS).fetchall()
        assert [pid for pid, _ in held] == [pids[-1]]
        assert {state for _, state in held} <= {"idle", "active"}
        board.there["work"] = 4
        assert [each.result(5) for each in those] == ["work"] * 4
        wait_until(lambda: not beside.execute(OTHERS).fetchall())


OTHERS = (
    "SELECT pid, state FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


def _connected(queue: Waiters, board: Board) -> "Future[str | None]":
    """Who waits has asked the database before, as every claim has."""

    def wait() -> str | None:
        connection.ensure_connection()
        with queue.place(["work"], object(), stays) as sleep:
            while (got := board.take("work")) is None:
                sleep(LONG)
        return got

    return in_a_thread(wait)
