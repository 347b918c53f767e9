"""The linter of migrations sees what would stop a service that runs, and passes over what would not."""

from pathlib import Path

import pytest

from tests.lint_migrations import findings

STOPPING = {
    "an index that writers wait for": "CREATE INDEX tasks_new ON tasks (trace_id);",
    "a constraint that is checked at once": "ALTER TABLE tasks ADD CONSTRAINT long CHECK (length(task_type) > 2);",
    "a column that old code does not fill": "ALTER TABLE tasks ADD COLUMN colour text NOT NULL;",
    "a column that old code reads": "ALTER TABLE tasks DROP COLUMN description;",
    "a name that old code does not know": "ALTER TABLE tasks RENAME COLUMN data TO payload;",
    "a type that rewrites the table": "ALTER TABLE tasks ALTER COLUMN priority TYPE bigint;",
}
HARMLESS = {
    "a new table": "CREATE TABLE notes (id uuid PRIMARY KEY, text varchar(50) NOT NULL);",
    "a column that may be empty": "ALTER TABLE tasks ADD COLUMN colour varchar(20);",
    "an index that nobody waits for": "CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_new ON tasks (trace_id);",
    "a constraint that is checked later": "ALTER TABLE tasks ADD CONSTRAINT l CHECK (length(task_type) > 2) NOT VALID;",
}


def written(folder: Path, statement: str) -> list[Path]:
    path = folder / "migration.sql"
    transactional = "CONCURRENTLY" not in statement
    path.write_text(f"BEGIN;\n{statement}\nCOMMIT;\n" if transactional else statement)
    return [path]


@pytest.mark.parametrize("what", STOPPING)
def test_finds(what: str, tmp_path: Path) -> None:
    assert "migration.sql" in findings(written(tmp_path, STOPPING[what]))


@pytest.mark.parametrize("what", HARMLESS)
def test_passes_over(what: str, tmp_path: Path) -> None:
    assert findings(written(tmp_path, HARMLESS[what])) == ""


def test_finds_nothing_where_there_is_none() -> None:
    assert findings([]) == ""
