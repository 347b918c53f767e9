"""make bench: a PostgreSQL of its own from the wheel, as it is by default, three databases in it, and the measuring.

`python -m benchmarks.bench keyed` measures one part alone.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from orchestrator import local_database, roles
from orchestrator.embedded import Server

HERE = Path(__file__).resolve().parent.parent
SMALL = "small"
"""The database beside the usual one, for what is compared with little data."""
TRAIL = "trail"
"""The database whose trail is verified: every row in it has its events."""


def main(parts: list[str]) -> int:
    """Measure some parts, or all; print the table, and end with 1 where a promise is not kept."""
    with tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as folder:
        # The server may run as another user, who has to come this far.
        Path(folder).chmod(0o755)
        with _databases(Path(folder)) as server:
            service, owner = (server.address(local_database.DATABASE, role) for role in (roles.SERVICE, roles.OWNER))
            env = {
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "orchestrator.settings",
                "RATE_LIMIT": "off",
                "DATABASE_URL": service,
                "DATABASE_OWNER_URL": owner,
                "DATABASE_TRAIL_URL": server.address(TRAIL, roles.WORKER),
            }
            return subprocess.run(
                [sys.executable, "-m", "benchmarks.measured", *parts], cwd=HERE, env=env, check=False
            ).returncode


@contextmanager
def _databases(var: Path) -> Iterator[Server]:
    """All of them, migrated and empty."""
    os.environ.update(ORCHESTRATOR_VAR=str(var), SECRET_KEY="only for measuring", LOG_LEVEL="warning")
    server = Server.within(var)
    server.start()
    try:
        local_database.own_database(server, var)
        with psycopg.connect(server.address("postgres"), autocommit=True) as connection:
            for name in (SMALL, TRAIL):
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {local_database.DATABASE} OWNER {roles.OWNER}")
                roles.make_database(connection, name)
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
