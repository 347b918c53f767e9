"""Two databases: one with ten thousand sessions, and one with so many that a single tenant has page fifty thousand.

The keys of a day are remembered in each: one for every fifth session.
"""

import os
from functools import cache

import psycopg
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from benchmarks.bench import SMALL
from orchestrator.local_database import DATABASE
from tests import seeding

LARGE = DATABASE
PAGE_SIZE = 20
LAST_PAGE = 50_000
FEW = 10_000
# One in a hundred is another tenant's.
MANY = LAST_PAGE * PAGE_SIZE * 100 // 99 + 1_000
SESSIONS_A_KEY = 5


def fill() -> None:
    """Seed both, by COPY."""
    for database, count in ((SMALL, FEW), (LARGE, MANY)):
        with owner(database) as filler:
            seeding.company(filler, count)
            seeding.answers(filler, count // SESSIONS_A_KEY)


def owner(database: str) -> "psycopg.Connection[tuple[object, ...]]":
    """A connection as the owner of the tables."""
    return psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname=database, autocommit=True)


@cache
def _connection(database: str) -> BaseDatabaseWrapper:
    opened = connections.create_connection("default")
    opened.settings_dict = {**opened.settings_dict, "NAME": database}
    return opened


def use(database: str) -> None:
    """Let the service work on one of them from here on. Each keeps its connection."""
    connections["default"] = _connection(database)
