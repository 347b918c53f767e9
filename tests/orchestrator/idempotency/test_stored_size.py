"""How much room a remembered answer takes."""

import random

import pytest

from orchestrator.idempotency.claim import MIN_CODED_BYTES, Answer
from tests.api import Api
from tests.database import superuser_connection
from tests.orchestrator.idempotency.keyed import KEY, NEW, assert_first, assert_replay

KIB = 1024
HEADERS = {"Content-Type": "application/json", "ETag": '"1"'}


def stored() -> tuple[int, dict[str, str]]:
    """The bytes that the only record's body takes, and its headers."""
    with superuser_connection() as beside:
        row = beside.execute("SELECT pg_column_size(body), headers FROM idempotency_records").fetchone()
    assert row is not None
    return int(row[0]), row[1]


def hexadecimal(length: int) -> str:
    """A text that PostgreSQL's own compression makes no shorter."""
    return random.Random(1).randbytes(length // 2).hex()


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_repeats_its_request_is_stored_compressed_and_replayed_byte_for_byte(agent: Api) -> None:
    body = {**NEW, "metadata": {"text": hexadecimal(60 * KIB)}}
    first = assert_first(agent.post("/sessions", body, idempotency_key=KEY))
    size, headers = stored()
    assert len(first.content) > 60 * KIB
    assert size < 40 * KIB
    assert headers["Content-Encoding"] == "gzip"
    again = agent.post("/sessions", body, idempotency_key=KEY)
    assert_replay(again, first)
    assert "Content-Encoding" not in again.headers


@pytest.mark.django_db(transaction=True)
def test_a_short_answer_is_stored_as_it_is(agent: Api) -> None:
    first = assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert len(first.content) < MIN_CODED_BYTES
    assert "Content-Encoding" not in stored()[1]
    assert_replay(agent.post("/sessions", NEW, idempotency_key=KEY), first)


@pytest.mark.parametrize("length", [0, MIN_CODED_BYTES - 1, MIN_CODED_BYTES, 100 * KIB])
@pytest.mark.parametrize("alphabet", [b"a", b"0123456789abcdef", bytes(range(256))], ids=["one", "hex", "all"])
def test_storing_loses_nothing_and_never_makes_an_answer_longer(alphabet: bytes, length: int) -> None:
    answer = Answer(201, HEADERS, bytes(random.Random(length).choices(alphabet, k=length)))
    kept = answer.stored()
    assert kept.given() == answer
    assert len(kept.body) <= len(answer.body)
    assert (kept == answer) == (length < MIN_CODED_BYTES or len(alphabet) == 256)
