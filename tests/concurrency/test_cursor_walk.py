"""Walking a list by cursor while others write."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from threading import Event
from typing import Any

import pytest

from orchestrator import boundary
from sessions_app.models import Session
from sessions_app.transitions import session as transitions
from tests import seeding
from tests.api import Api
from tests.sessions_app.session_calls import somebody
from tests.work import in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)

WRITERS = 8
THERE = 240


@contextmanager
def writing(work: Callable[[int], object]) -> Iterator[None]:
    """Eight writers, each with a connection of its own, until the block ends; all of them have begun when it begins."""
    stop, begun = Event(), [Event() for _ in range(WRITERS)]
    numbers = count()

    def write(mine: Event) -> None:
        while not stop.is_set():
            work(next(numbers))
            mine.set()

    writers: list[Future[None]] = [in_a_thread(lambda mine=mine: write(mine)) for mine in begun]  # type: ignore[misc]
    try:
        assert all(mine.wait(20) for mine in begun)
        yield
    finally:
        stop.set()
        for writer in writers:
            writer.result(20)


def insert(_number: int) -> Session:
    """A session of the same tenant and role, as opening it makes it."""
    opening = {"actor": somebody(), "role": "finance", "task": None, "metadata": {}, "lasting": timedelta(days=1)}
    return boundary.write(lambda: transitions.open_session(**opening))  # type: ignore[arg-type]


def walk(caller: Api, query: str) -> list[dict[str, Any]]:
    """All rows from the first page to the last."""
    rows, cursor = [], ""
    while cursor is not None:
        answer = caller.get(f"/sessions?cursor={cursor}{query}")
        assert answer.status_code == 200, answer.content
        rows += answer.json()["sessions"]
        cursor = answer.json()["next_cursor"]
    return rows


def ids(rows: list[Any]) -> list[str]:
    return [row["session_id"] for row in rows]


def assert_once_and_in_order(rows: list[dict[str, Any]]) -> None:
    places = [(row["created_at"], row["session_id"]) for row in rows]
    assert len(set(places)) == len(places)
    assert places == sorted(places, reverse=True)


@pytest.mark.parametrize("query", ["&page_size=7", "&page_size=40&agent_role=finance&status=pending"])
def test_no_row_comes_twice_and_none_is_missed_while_others_insert(operator: Api, query: str) -> None:
    there = {str(row.id) for row in seeding.sessions(THERE)}
    with writing(insert):
        before = Session.objects.count()
        rows = walk(operator, query)
        written = Session.objects.count() - before
    assert written > 0
    assert_once_and_in_order(rows)
    assert there <= set(ids(rows))
    # What was written after the first page was read lies before it.
    assert walk(operator, query)[0]["session_id"] not in ids(rows)


def test_no_row_is_missed_while_others_insert_at_the_same_moments(operator: Api) -> None:
    # The inserted share their moment with rows that are there: only the id tells where they belong.
    there = seeding.sessions(60, apart=timedelta(0))
    moment = there[0].created_at
    with writing(lambda _number: seeding.sessions(at=moment)):
        rows = walk(operator, "&page_size=5")
    assert_once_and_in_order(rows)
    assert {str(row.id) for row in there} <= set(ids(rows))


def test_no_row_comes_twice_while_others_change(operator: Api) -> None:
    there = seeding.sessions(120)

    def change(number: int) -> None:
        row = there[number % len(there)]
        boundary.write(lambda: transitions.amend(row, actor=somebody(), metadata_patch={"number": number}))

    with writing(change):
        rows = walk(operator, "&page_size=9")
    assert_once_and_in_order(rows)
    assert set(ids(rows)) == {str(row.id) for row in there}
    assert any(row["version"] > 1 for row in rows)
