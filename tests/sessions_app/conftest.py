"""Connections for tests that write in plain SQL."""

from collections.abc import Iterator

import pytest

from tests.sessions_app.approval_sql import WRITERS, Beside


@pytest.fixture(params=list(WRITERS))
def beside(request: pytest.FixtureRequest) -> Iterator[Beside]:
    """A connection that writes plain SQL: as the service, then as the owner of the tables."""
    with WRITERS[request.param]() as opened:
        yield opened
