"""Redis as the service has it, and what happens when a session is opened."""

from collections.abc import Iterator

import pytest

from tests.database import superuser_connection
from tests.faults.valkey import Valkey, valkey, with_redis
from tests.orchestrator.idempotency.keyed import OnOpening


@pytest.fixture
def on_opening() -> Iterator[OnOpening]:
    """What a test makes happen when a session is inserted, for as long as the test runs."""
    with superuser_connection() as beside:
        trigger = OnOpening(beside)
        trigger.no_more()
        yield trigger
        trigger.no_more()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """A real one, for the whole run."""
    with valkey() as server:
        yield server


@pytest.fixture
def redis_server(valkey_server: Valkey) -> Iterator[Valkey]:
    """The service with a Redis that answers, and nothing in it."""
    valkey_server.flush()
    with with_redis(valkey_server.url):
        yield valkey_server
