"""How PostgreSQL goes about a statement: its plan, run and measured."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.api import Api

Node = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How a statement was run, node by node."""

    nodes: tuple[Node, ...]

    def __repr__(self) -> str:
        return "; ".join(
            f"{node['Node Type']} {node.get('Index Name', '')} expected {node['Plan Rows']} at {node['Total Cost']},"
            f" found {_rows(node):.0f}, dropped {_dropped(node):.0f}"
            for node in self.nodes
        )

    def of(self, *kinds: str) -> list[Node]:
        """The nodes of these kinds."""
        return [node for node in self.nodes if node["Node Type"] in kinds]

    @property
    def indexes(self) -> set[str]:
        """What it goes by, whether or not it came to it."""
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def is_whole_scan(self) -> bool:
        """Whether it reads a table from one end to the other. What it never came to, it did not read."""
        return any("Relation Name" in node and node["Actual Loops"] for node in self.of("Seq Scan", "Sample Scan"))

    @property
    def sorted(self) -> float:
        """How many rows went into the largest sort."""
        sorts = self.of("Sort", "Incremental Sort")
        return max((_rows(child) for node in sorts for child in node["Plans"]), default=0)

    @property
    def read(self) -> float:
        """How many rows of tables were looked at, whether they passed or not."""
        return sum(_rows(node) + _dropped(node) for node in self.nodes if "Relation Name" in node)

    @property
    def buffers(self) -> int:
        """How many pages were looked at, of tables and indexes; one that is looked at again counts again."""
        return int(self.nodes[0]["Shared Hit Blocks"] + self.nodes[0]["Shared Read Blocks"])


def _rows(node: Node) -> float:
    return float(node["Actual Rows"] * node["Actual Loops"])


def _dropped(node: Node) -> float:
    dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float(dropped * node["Actual Loops"])


def explained(sql: str) -> Plan:
    """A statement's plan, as it was run just now and undone."""
    with undone(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}")
        (answer,) = cursor.fetchone()
    return Plan(tuple(_flat((json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"])))


def _flat(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", ()):
        yield from _flat(child)


@contextmanager
def undone() -> Iterator[None]:
    """Leave no trace in the database. Within a test's transaction only."""
    before = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(before)


def sent(run: Callable[[], object], *begins: str) -> list[str]:
    """The statements that something sends, of those that begin so; what it did is undone."""
    with undone(), CaptureQueriesContext(connection) as captured:
        run()
    return [str(one["sql"]) for one in captured.captured_queries if one["sql"].split()[0] in begins]


def page_sql(caller: Api, at: str) -> str:
    """The statement that the API runs for the rows of a page."""

    def ask() -> None:
        answer = caller.get(at)
        assert answer.status_code == 200, answer.content

    (sql,) = [statement for statement in sent(ask, "SELECT") if "COUNT(" not in statement]
    return sql


def hours_ago(hours: int) -> str:
    """That moment, as a filter takes it."""
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat().replace("+00:00", "Z")
