"""`python -m tests.lint_migrations`: whether migrations can be applied while the service runs. squawk reads their SQL.

Those of before the first release are left out: there was no database yet that they could have stopped.
"""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from orchestrator.embedded import Server

OURS = {
    "audit_app": 6,
    "idempotency": 1,
    "maintenance": 0,
    "people": 4,
    "sessions_app": 10,
}
"""The apps of ours, and how many migrations each had before the first release."""
OLDEST = "15.0"
"""The oldest PostgreSQL that is supported."""
PASSED_OVER = (
    # Widths and ranges are part of the contract.
    *("prefer-text-field", "prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-identity"),
    # The role that migrates has the one: orchestrator/roles.py. To build an index may take as long as it takes.
    *("require-lock-timeout", "require-statement-timeout"),
    # Django gives a default to add a column with, and takes it away in the same statement's transaction.
    "ban-drop-default",
)


def main() -> None:
    """Ends with 1 where squawk finds something."""
    with _database(), tempfile.TemporaryDirectory() as folder:
        written = [_written(app, name, Path(folder)) for app, name in _after_the_first_release()]
        if found := findings(written):
            sys.exit(found)
    print(f"{len(written)} migrations since the first release, all of which can be applied while the service runs.")


def findings(files: list[Path]) -> str:
    """What squawk has to say of files of SQL, each a transaction; nothing where it finds nothing."""
    if not files:
        return ""
    squawk = Path(sys.executable).parent / "squawk"
    said = subprocess.run(
        [squawk, f"--pg-version={OLDEST}", f"--exclude={','.join(PASSED_OVER)}", "--reporter=gcc", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{said.stdout}{said.stderr}" if said.returncode else ""


def _after_the_first_release() -> list[tuple[str, str]]:
    known = sorted(MigrationLoader(connection).disk_migrations)
    return [(app, name) for app, name in known if app in OURS and int(name.split("_")[0]) > OURS[app]]


def _written(app: str, name: str, folder: Path) -> Path:
    path = folder / f"{app}.{name}.sql"
    path.write_text(str(call_command("sqlmigrate", app, name, stdout=io.StringIO(), no_color=True)))
    return path


@contextmanager
def _database() -> Iterator[None]:
    """Django asks one about its constraints before it writes SQL. An empty one will do."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = Server.within(Path(folder))
        server.start({"fsync": "off"})
        try:
            os.environ.update(TEST_DATABASE_URL=server.address("postgres"), DJANGO_SETTINGS_MODULE="tests.settings")
            django.setup()
            yield
            connection.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
