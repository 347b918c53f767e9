"""A claim sees what a twin has committed since its transaction began, whatever isolation is the server's default."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from psycopg import sql

from orchestrator.idempotency.claim import Outcome, claim
from sessions_app.models import Session
from tests.api import Api
from tests.database import service_connection, superuser_connection
from tests.orchestrator.idempotency.keyed import KEY, NEW, OnOpening, assert_first, in_claim, keep, key_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def serializable_by_default() -> Iterator[None]:
    """A database that gives each new connection the strictest isolation, unless the transaction says otherwise."""
    name = sql.Identifier(connection.settings_dict["NAME"])
    change = sql.SQL("ALTER DATABASE {} {} default_transaction_isolation")
    with superuser_connection() as beside:
        beside.execute(change.format(name, sql.SQL("SET")) + sql.SQL(" = 'serializable'"))
        connection.close()
        yield
        beside.execute(change.format(name, sql.SQL("RESET")))
        connection.close()


def claim_and_keep(beside: "psycopg.Connection[Any]") -> None:
    assert in_claim(beside, key_for()) == "first"
    keep(beside, key_for())


def test_left_to_that_default_a_claim_would_not_find_the_answer_that_is_committed() -> None:
    with service_connection() as one, service_connection() as other:
        for beside in (one, other):
            beside.execute("BEGIN")
            assert beside.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
            beside.execute("SELECT count(*) FROM sessions")
        claim_and_keep(one)
        one.execute("COMMIT")
        with pytest.raises(psycopg.errors.SerializationFailure):
            claim_and_keep(other)
        other.execute("ROLLBACK")


def test_the_service_s_claim_finds_it() -> None:
    with transaction.atomic(durable=True), service_connection() as twin:
        assert Session.objects.count() == 0
        keep(twin, key_for())
        assert claim(key_for()).outcome is Outcome.REPLAY


def test_each_write_says_that_it_is_read_committed(agent: Api, on_opening: OnOpening) -> None:
    on_opening.does(
        "IF current_setting('transaction_isolation') <> 'read committed' THEN RAISE EXCEPTION 'it is not'; END IF;"
    )
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert_first(agent.post("/sessions", NEW))
