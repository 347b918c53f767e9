"""docs/database.md: what it names is there, and what is there it names."""

import re
from typing import Any

import pytest
from django.db import connection

from orchestrator.roles import SERVICE, SERVICE_SETTINGS
from sessions_app.models import Recorded
from tests.contract.pages import section, table
from tests.gunicorn_server import HERE

pytestmark = pytest.mark.django_db

DATABASE = (HERE / "docs/database.md").read_text(encoding="utf-8")
SHARED = "What sessions, tasks and approvals share"
RECORDED = sorted(model._meta.db_table for model in Recorded.__subclasses__())
OURS = [
    *RECORDED,
    "task_attempts",
    "approval_decisions",
    "audit_events",
    "audit_seals",
    "audit_sealer_state",
    "idempotency_records",
    "maintenance_jobs",
    "maintenance_poison_rows",
    "refusal_counts",
    "people_person",
]
EVERY_RIGHT = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
EVENTS = {4: "INSERT", 8: "DELETE", 16: "UPDATE", 32: "TRUNCATE"}
KINDS = {"p": "primary key", "u": "unique", "f": "foreign key", "c": "check", "x": "exclude"}


def part(name: str, kind: str) -> str:
    """What stands under `### <kind> of <table>`."""
    return DATABASE.split(f"\n### {kind} of {name}\n")[1].partition("\n##")[0]


def told(text: str) -> list[list[str]]:
    """The rows of a table, their first cell without its backticks."""
    return [[row[0].strip("`"), *row[1:]] for row in table(text)]


def live(sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def live_columns(name: str) -> list[tuple[str, str]]:
    """Each column with its type as the document writes it."""
    rows = live(
        """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity <> '',
          pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
        WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
        """,
        name,
    )
    return [(column, _type(*rest)) for column, *rest in rows]


def _type(full: str, not_null: bool, identity: bool, default: str | None) -> str:
    short = full.replace("character varying", "varchar").replace("timestamp with time zone", "timestamptz")
    said = [short, *([] if not_null else ["null"]), *(["identity"] if identity else [])]
    return ", ".join([*said, *([f"default {default}"] if default else [])])


def test_names_every_table_once() -> None:
    others = [row[0] for row in told(section(DATABASE, "Tables of others"))]
    found = live("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')")
    assert sorted([*OURS, *others]) == sorted(name for (name,) in found)


@pytest.mark.parametrize("name", OURS)
def test_names_every_column_with_its_type(name: str) -> None:
    rows = told(part(name, "Columns"))
    if name in RECORDED:
        rows += told(section(DATABASE, SHARED))
    assert sorted((column, kind) for column, kind, _ in rows) == sorted(live_columns(name))


@pytest.mark.parametrize("name", OURS)
def test_names_every_index_with_what_it_is_on(name: str) -> None:
    found = live(
        """
        SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = %s::regclass AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
        """,
        name,
    )
    rows = told(part(name, "Indexes"))
    # Of a partial index the document says in words which part it is.
    assert sorted((index, *_halves(on, " where ")) for index, on, _ in rows) == sorted(
        (index, *_halves(sql.split(" USING ")[1], " WHERE ")) for index, sql in found
    )


def _halves(text: str, word: str) -> tuple[str, bool]:
    """What an index is on, and whether it is of a part of the table."""
    on, where, _ = text.partition(word)
    return on, bool(where)


@pytest.mark.parametrize("name", OURS)
def test_names_every_constraint_with_its_kind(name: str) -> None:
    # Constraint triggers are among the triggers; NOT NULL, which PostgreSQL 18 counts as one, among the columns.
    found = live(
        "SELECT conname, contype FROM pg_constraint WHERE conrelid = %s::regclass AND contype NOT IN ('t', 'n')", name
    )
    rows = told(part(name, "Constraints"))
    assert sorted((constraint, kind) for constraint, kind, _ in rows) == sorted(
        (constraint, KINDS[kind]) for constraint, kind in found
    )


@pytest.mark.parametrize("name", OURS)
def test_names_every_trigger_with_when_it_fires_and_its_function(name: str) -> None:
    found = live(
        """
        SELECT t.tgname, p.proname, t.tgtype, t.tginitdeferred FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgrelid = %s::regclass AND NOT t.tgisinternal
        """,
        name,
    )
    rows = [
        (trigger, function.strip("`"), *_fires(when)) for trigger, when, function, _ in told(part(name, "Triggers"))
    ]
    assert sorted(rows) == sorted(
        (trigger, function, *_typed(bits), deferred) for trigger, function, bits, deferred in found
    )


def _fires(said: str) -> tuple[str, set[str], bool]:
    """Before or after what, and whether at COMMIT, as the document says it."""
    return said.split(maxsplit=1)[0], set(re.findall(r"[A-Z]{5,}", said)) - {"COMMIT"}, said.endswith("at COMMIT")


def _typed(bits: int) -> tuple[str, set[str]]:
    """Before or after what, from the bits of PostgreSQL's pg_trigger.tgtype."""
    return "before" if bits & 2 else "after", {event for bit, event in EVENTS.items() if bits & bit}


def test_every_trigger_of_ours_fires_always() -> None:
    found = live("SELECT DISTINCT tgenabled FROM pg_trigger WHERE NOT tgisinternal")
    assert found == [("A",)]


def test_names_every_view_with_its_columns() -> None:
    found = live("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')")
    there = {name: [column for column, _ in live_columns(name)] for (name,) in found}
    assert {view: re.findall(r"`(\w+)`", columns) for view, columns, _ in told(section(DATABASE, "Views"))} == there


def test_names_every_function() -> None:
    found = live("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    assert sorted(row[0] for row in told(section(DATABASE, "Functions"))) == sorted(name for (name,) in found)


def test_names_every_right_of_the_service() -> None:
    found = live(
        """
        SELECT c.relname, ARRAY(SELECT r FROM unnest(%s::text[]) r WHERE has_table_privilege(%s, c.oid, r))
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
        """,
        list(EVERY_RIGHT),
        SERVICE,
    )
    rights = {name: may.split("; ")[0].split(", ") for name, may in told(part("the service", "Rights"))}
    assert rights == {name: may for name, may in found if may}


def test_names_every_right_to_single_columns() -> None:
    found = live(
        """
        SELECT c.relname, r, array_agg(a.attname::text ORDER BY a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
          CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) r
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
          AND has_column_privilege(%s, c.oid, a.attnum, r) AND NOT has_table_privilege(%s, c.oid, r)
        GROUP BY 1, 2
        """,
        SERVICE,
        SERVICE,
    )
    said = {table: may.split("; ")[1] for table, may in told(part("the service", "Rights")) if "; " in may}
    assert said == {name: f"{right} of {_columns(name, columns)}" for name, right, columns in found}


def _columns(name: str, of: list[str]) -> str:
    """Columns of a table, as the document names them: one by one, or by those that are missing."""
    but = [column for column, _ in live_columns(name) if column not in of]
    few, before = (but, "every column but ") if len(but) < len(of) else (of, "")
    return before + " and ".join(f"`{column}`" for column in few)


def test_names_the_settings_of_the_service() -> None:
    rows = told(part("the service", "Settings"))
    assert {name: value for name, value, _ in rows} == SERVICE_SETTINGS


def test_the_role_of_the_service_is_as_told() -> None:
    """It owns nothing, is no superuser, and may make neither roles nor databases."""
    [(owned, *may)] = live(
        """
        SELECT (SELECT count(*) FROM pg_class WHERE relowner = r.oid), rolsuper, rolcreaterole, rolcreatedb,
          rolbypassrls, rolreplication
        FROM pg_roles r WHERE rolname = %s
        """,
        SERVICE,
    )
    assert owned == 0
    assert not any(may)


def test_says_of_each_thing_what_it_is_for() -> None:
    rows = [line.strip("|").split("|") for line in DATABASE.splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row for row in rows if not row[-1].strip()] == []
