"""Slots that no subject has for itself."""

import gc
import os
import weakref

import pytest

from orchestrator.fair_shares import FairShares
from tests.work import in_a_thread


@pytest.mark.parametrize(("slots", "share"), [(1, 1), (2, 1), (3, 1), (4, 1), (7, 1), (8, 2), (12, 3), (40, 10)])
def test_a_subject_holds_a_quarter_of_the_slots_and_one_at_least(slots: int, share: int) -> None:
    shares = FairShares(slots)
    assert [shares.acquire("finn") for _ in range(slots + 1)] == [True] * share + [False] * (slots + 1 - share)


def test_all_slots_go_to_several_subjects_and_no_more_than_all() -> None:
    shares = FairShares(8)
    assert [shares.acquire(n) for n in range(9)] == [True] * 8 + [False]


def test_where_there_is_no_slot_no_subject_gets_one() -> None:
    assert not FairShares(0).acquire("finn")


def test_a_slot_that_is_given_back_goes_to_whoever_comes_next() -> None:
    shares = FairShares(1)
    assert (shares.acquire("finn"), shares.acquire("bob")) == (True, False)
    shares.release("finn")
    assert (shares.acquire("bob"), shares.acquire("finn")) == (True, False)


class Forgotten:
    """What refers to itself, so that only a collection of garbage ends it."""

    def __init__(self) -> None:
        self.itself = self


class Collecting(str):
    """A name that collects garbage wherever it is looked up."""

    __slots__ = ()

    def __hash__(self) -> int:
        gc.collect()
        return super().__hash__()


def test_a_slot_that_garbage_gives_back_while_another_is_taken_is_free() -> None:
    def run() -> list[bool]:
        shares, name = FairShares(8), Collecting("finn")
        assert (shares.acquire("finn"), shares.acquire("bob")) == (True, True)
        for subject in ("finn", "bob"):
            # Not at the exit of a process whose lock is held for good.
            weakref.finalize(Forgotten(), shares.release, subject).atexit = False
        # The first call may count the slots before they are given back. The next ones do not.
        shares.acquire(name)
        return [shares.acquire("bob"), shares.acquire("bob"), shares.acquire("bob"), shares.has_reached_share("bob")]

    assert in_a_thread(run).result(10) == [True, True, False, True]


def test_a_forked_process_starts_with_all_slots_free() -> None:
    shares = FairShares(1)
    assert shares.acquire("finn")
    child = os.fork()
    if not child:
        os._exit(7 if shares.acquire("finn") else 8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert not shares.acquire("finn")
