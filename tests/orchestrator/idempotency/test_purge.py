"""manage.py purge_idempotency_records, and the same as a duty of manage.py sweep."""

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestrator.idempotency import purge
from tests.api import Api
from tests.database import service_connection
from tests.orchestrator.idempotency.keyed import (
    KEY,
    NEW,
    aside,
    assert_first,
    assert_replay,
    keep,
    key_for,
    let_expire,
    remembered,
)

pytestmark = pytest.mark.django_db(transaction=True)


def purged() -> str:
    return str(call_command("purge_idempotency_records", stdout=io.StringIO()))


def past(count: int) -> None:
    """So many answers whose time is over."""
    with service_connection() as beside, beside.transaction():
        for n in range(count):
            keep(beside, key_for(f"past-{n}"), seconds=-1)


@pytest.fixture
def in_batches_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "BATCH", 2)


def test_lets_go_of_what_is_past_its_time_and_of_nothing_else(agent: Api) -> None:
    past(3)
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert purged() == "3 idempotency records purged."
    assert_replay(agent.post("/sessions", NEW, idempotency_key=KEY), first)
    assert remembered() == 1


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 idempotency records purged."), (1, "1 idempotency record purged."), (2, "2 idempotency records purged.")],
)
def test_says_how_many(count: int, said: str) -> None:
    past(count)
    assert purged() == said
    assert remembered() == 0


def test_twice_is_once() -> None:
    past(2)
    assert [purged(), purged()] == ["2 idempotency records purged.", "0 idempotency records purged."]


@pytest.mark.usefixtures("in_batches_of_two")
def test_goes_on_until_none_is_left() -> None:
    past(5)
    assert purged() == "5 idempotency records purged."


@pytest.mark.usefixtures("in_batches_of_two")
def test_passes_over_what_somebody_holds() -> None:
    past(5)
    with service_connection() as beside, beside.transaction():
        beside.execute("SELECT 1 FROM idempotency_records WHERE k = %s FOR UPDATE", [key_for("past-0").k])
        assert purged() == "4 idempotency records purged."
    assert remembered() == 1


@pytest.mark.usefixtures("in_batches_of_two")
def test_two_at_once_share_the_work() -> None:
    past(40)
    said = [purging.result(20) for purging in [aside(purged), aside(purged)]]
    assert sum(int(sentence.split()[0]) for sentence in said) == 40
    assert remembered() == 0


def test_the_sweep_does_it_too(agent: Api) -> None:
    past(3)
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    said = io.StringIO()
    call_command("sweep", stdout=said)
    assert "3 idempotency records purged." in said.getvalue().splitlines()
    assert_replay(agent.post("/sessions", NEW, idempotency_key=KEY), first)


@pytest.mark.usefixtures("in_batches_of_two")
def test_each_batch_is_a_transaction_of_its_own() -> None:
    past(5)
    with CaptureQueriesContext(connection) as captured:
        purged()
    assert [query["sql"].split()[0] for query in captured.captured_queries] == ["BEGIN", "DELETE", "COMMIT"] * 4


def test_a_key_that_is_purged_while_it_is_claimed_anew_is_new(agent: Api) -> None:
    agent.post("/sessions", NEW, idempotency_key=KEY)
    let_expire()
    with service_connection() as purging:
        purging.execute("BEGIN")
        purging.execute("DELETE FROM idempotency_records")
        claiming: Any = aside(
            lambda: Api(agent.headers["Authorization"].split()[1]).post("/sessions", NEW, idempotency_key=KEY)
        )
        purging.execute("COMMIT")
    assert_first(claiming.result(5))
    assert remembered() == 1


def test_says_so_where_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(connection.settings_dict, "HOST", "/nowhere")
        with pytest.raises(CommandError, match="database"):
            purged()
    connection.close()
    assert purged() == "0 idempotency records purged."
