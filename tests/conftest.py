"""The test database: made and migrated by the owner, used by the service."""

import os
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import request_started
from django.db import connections
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from orchestrator import roles
from orchestrator.database_term import term_guard
from orchestrator.maintenance import records
from orchestrator.maintenance.jobs import all_jobs
from orchestrator.people.cut_off import cut_off
from tests.api import Api, token
from tests.database import close_kept
from tests.emptying import empty


def _act_as(role: str) -> None:
    """Let Django's connection take on a role, from its next connect on."""
    connections["default"].close()
    acting = conninfo_to_dict(roles.acting_as(os.environ["TEST_DATABASE_URL"], role))
    connections["default"].settings_dict["OPTIONS"]["options"] = acting["options"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Connect as the owner for as long as the database is made."""
    _act_as(roles.OWNER)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """From here on everything runs as the service, as it does in production."""
    with django_db_blocker.unblock():
        connections["default"].cursor().execute(
            f"GRANT CONNECT ON DATABASE {connections['default'].settings_dict['NAME']} TO {roles.SERVICE}"
        )
        _act_as(roles.SERVICE)
    yield
    close_kept()
    _act_as(roles.OWNER)


def _is_spoilt(case: TransactionTestCase) -> bool:
    """Whether a test leaves a connection that the next one should not have; to connect anew each time is slow."""
    left = connections["default"].connection
    return left is not None and (left.closed or left.info.transaction_status != TransactionStatus.IDLE)


def _empty(case: TransactionTestCase) -> None:
    """Instead of the command `flush`, which the service may not do."""
    empty()


TransactionTestCase._fixture_teardown = _empty  # type: ignore[attr-defined]
TransactionTestCase._should_reload_connections = _is_spoilt  # type: ignore[attr-defined]


@pytest.fixture
def agent() -> Api:
    """An agent of the role finance."""
    return Api(token("alice"))


@pytest.fixture
def operator() -> Api:
    """An operator."""
    return Api(token("olga", roles="operator", agent_roles=""))


@pytest.fixture
def jobs_done(transactional_db: None) -> None:
    """Let every maintenance job have succeeded just now."""
    for job in all_jobs():
        records.succeed(job)


@pytest.fixture(scope="session", autouse=True)
def any_term() -> None:
    """Judge no connection of the tests' own process by its term: they begin eras, and end them again."""
    guard = term_guard()
    connection_created.disconnect(guard.judge)
    request_started.disconnect(guard.close_overtaken)
    guard._is_installed = False


@pytest.fixture(autouse=True)
def nobody_is_cut_off() -> None:
    """As if it had just been read, so that no call of a test is the one that reads it; `cut_off.forget()` undoes it."""
    cut_off._inactive, cut_off._read_at = frozenset(), time.monotonic()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test whose name holds an address: it differs in each process, and xdist's workers would not agree."""
    if unstable := [item.nodeid for item in items if re.search(r" at 0x[0-9a-f]{6,}", item.nodeid)]:
        raise pytest.UsageError(f"Name these parameters by `ids`: {unstable[:3]}")
