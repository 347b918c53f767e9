"""`make run`: everything the service needs on one machine, in the foreground. `python -m orchestrator.run`"""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.arbiter import Arbiter

from orchestrator.local_database import HERE, CannotRun, alone_in, database, make_secret
from orchestrator.sweeper import Sweeper

_PATIENCE_SECONDS = 5


def main() -> None:
    """Start the database, migrate, serve, and stop what was started."""
    var = Path((os.environ.get("ORCHESTRATOR_VAR") or "").strip() or HERE / "var").expanduser().resolve()
    port = os.environ.get("PORT") or "8088"
    os.environ.update(ORCHESTRATOR_VAR=str(var), PORT=port, DJANGO_SETTINGS_MODULE="orchestrator.settings")
    try:
        _insist_on_port(port)
        with alone_in(var):
            make_secret(var / "secret_key", secrets.token_urlsafe(50))
            make_secret(var / "metrics_token", secrets.token_urlsafe(50))
            with database(var) as service:
                os.environ["DATABASE_URL"] = service
                with Sweeper.beside() as sweeper:
                    serve(announcement(port), sweeper)
    except CannotRun as problem:
        sys.exit(f"make run: {problem}")


def announcement(port: str) -> Callable[[object], None]:
    """What to print once gunicorn listens: a token, and a line to paste, where our own key is trusted."""
    where = f"The orchestrator answers at http://127.0.0.1:{port}. Ctrl-C stops it."
    if any(os.environ.get(name) for name in ("OIDC_ISSUER_URL", "OIDC_ISSUERS", "OIDC_ISSUERS_FILE")):
        return lambda _arbiter: print(f"\n{where} Tokens are the identity provider's.\n", flush=True)
    token = subprocess.run(
        [
            *(sys.executable, "manage.py", "issue_token", "--subject", "alice", "--roles", "agent,operator,auditor"),
            *("--agent-roles", "finance", "--ttl", "86400"),
        ],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]

    curl = (
        f'curl -s http://127.0.0.1:{port}/sessions -H "Authorization: Bearer {token}"'
        """ -H "Content-Type: application/json" -d '{"agent_role": "finance", "metadata": {"quarter": "2026-Q4"}}'"""
    )

    def print_it(_arbiter: object) -> None:
        print(
            f"""
{where}
Its calls are described at /api-docs; people look at it at /admin/, once `manage.py createsuperuser` has made one.

A token for a day (alice: operator, auditor, and agent of the role finance):

export TOKEN={token}

Open the first session:

{curl}
""",
            flush=True,
        )

    return print_it


def _insist_on_port(port: str) -> None:
    """Wait for the port: the workers of one that was killed need a moment to see it. Raises CannotRun."""
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise CannotRun(f"PORT must be a number from 1 to 65535, not {port!r}.")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _is_free(int(port)):
        if time.monotonic() > deadline:
            raise CannotRun(f"port {port} is in use. Choose another: PORT=8090 make run")
        time.sleep(0.1)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise CannotRun(f"port {port} is for root alone. Choose another: PORT=8090 make run") from error
        except OSError:
            return False
        return True


class Master(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's master, which looks after the sweeper as it does after the workers."""

    def __init__(self, app: WSGIApplication, sweeper: Sweeper) -> None:
        self.sweeper = sweeper
        super().__init__(app)

    def manage_workers(self) -> None:
        """Called every second, and whenever a child ended."""
        super().manage_workers()
        self.sweeper.look_after()


class Local(WSGIApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn as docker/gunicorn.conf.py has it, telling when it listens."""

    def __init__(self, when_ready: Callable[[object], None], sweeper: Sweeper) -> None:
        self.when_ready, self.sweeper = when_ready, sweeper
        super().__init__("%(prog)s", prog="make run")

    def load_config(self) -> None:
        """The file's settings, and ours."""
        super().load_config()
        self.cfg.set("when_ready", self.when_ready)
        # Somebody waits at the terminal: a worker that holds a connection open must not keep them.
        self.cfg.set("graceful_timeout", 2)

    def run(self) -> None:
        """With a master of our own."""
        Master(self, self.sweeper).run()


def serve(when_ready: Callable[[object], None], sweeper: Sweeper) -> None:
    """Run gunicorn in this process, so that nothing outlives it: its workers end when their parent is gone."""
    sys.argv = ["gunicorn", "--config", str(HERE / "docker" / "gunicorn.conf.py"), "--chdir", str(HERE)]
    Local(when_ready, sweeper).run()


if __name__ == "__main__":
    main()
