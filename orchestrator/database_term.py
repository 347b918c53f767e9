"""The term of a database, by which the service refuses a primary that was replaced (docs/adr/0043).

A term is the era of the trail and the timeline of the cluster. The owner raises the era with `manage.py audit_new_era`;
PostgreSQL raises the timeline with each promotion of a standby. The service records the highest term that it has seen,
and uses no database with a lower one. The term is read once for each connection, never for each request.
"""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.core.signals import request_started
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from orchestrator.patience import bounded

PRESENT_ERA = (
    "(SELECT pg_get_expr(d.adbin, d.adrelid)::int FROM pg_attrdef d JOIN pg_attribute a"
    " ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)"
    " WHERE d.adrelid = to_regclass('audit_events') AND a.attname = 'era')"
)
"""The era that events are written in, as SQL: the default of their column. NULL before the first migration."""

# The WAL's file name begins with the timeline as eight hexadecimal digits, from the moment of the promotion on. The
# control file follows at the next checkpoint, and is all that a server in recovery shows.
_TERM = f"""
SELECT {PRESENT_ERA}, pg_is_in_recovery(), (SELECT system_identifier::text FROM pg_control_system()),
  CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
  ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END
"""
_ANSWER_SECONDS = 12.0
"""How long a server may take to tell its term."""

log = logging.getLogger(__name__)


class StaleDatabaseError(OperationalError):
    """The database that answered has a lower term than one that the service has used."""


@dataclass(frozen=True, slots=True)
class Term:
    """The term of one database server. `system` identifies the cluster; a standby shares it with its primary."""

    era: int
    timeline: int
    system: str


@dataclass(frozen=True, slots=True)
class Seen:
    """The highest era, and the highest timeline of each cluster in that era."""

    era: int = 0
    timelines: Mapping[str, int] = field(default_factory=dict)

    def is_above(self, term: Term) -> bool:
        """Return whether a term is lower than what was seen. Clusters of one era are not compared."""
        return term.era < self.era or (term.era == self.era and term.timeline < self.timelines.get(term.system, 0))

    def with_term(self, term: Term) -> "Seen":
        """Return this and a term that is not lower. A new era forgets the timelines of the era before."""
        if term.era > self.era:
            return Seen(term.era, {term.system: term.timeline})
        return self if self.is_above(term) else Seen(self.era, {**self.timelines, term.system: term.timeline})

    def merged(self, other: "Seen") -> "Seen":
        """Return the higher of both, entry by entry."""
        merged = self if self.era >= other.era else Seen(other.era)
        for system, timeline in other.timelines.items():
            merged = merged.with_term(Term(other.era, timeline, system))
        return merged

    def text(self) -> str:
        """Return the JSON that the file holds."""
        return json.dumps({"era": self.era, "timelines": dict(self.timelines)}, sort_keys=True) + "\n"

    @classmethod
    def of(cls, text: str) -> Self:
        """Read the JSON of the file. Raises ValueError for anything else."""
        kept = json.loads(text)
        try:
            return cls(int(kept["era"]), {str(system): int(number) for system, number in kept["timelines"].items()})
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a term: {type(error).__name__}") from error


class TermFile:
    """What the processes of a machine have seen, in a file that they share. It survives a restart of the service."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark: tuple[int, int, int] | None = None
        self._seen = Seen()
        self._guard = threading.Lock()
        self._warned = False
        os.register_at_fork(after_in_child=self._unlock)

    def _unlock(self) -> None:
        # The lock that a forked process inherits may never be released.
        self._guard = threading.Lock()

    def seen(self) -> Seen:
        """Return the highest term, from the file where it changed. Raises StaleDatabaseError if it is unreadable."""
        with self._guard:
            return self._read()

    def add(self, term: Term) -> Seen:
        """Record a term that is not lower than what was seen. Returns the highest term."""
        with self._guard:
            before = self._read()
            self._seen = before.with_term(term)
            if self._seen != before:
                self._write(term)
            return self._seen

    def _read(self) -> Seen:
        try:
            status = self._path.stat()
            mark = (status.st_mtime_ns, status.st_ino, status.st_size)
            if mark != self._mark:
                self._seen = self._seen.merged(Seen.of(self._path.read_text(encoding="utf-8")))
                self._mark = mark
        except FileNotFoundError:
            return self._seen
        except (OSError, ValueError) as error:
            raise StaleDatabaseError(f"{self._path} cannot be read ({error}), so no database can be judged.") from error
        return self._seen

    def _write(self, term: Term) -> None:
        """Write the file under the lock of its folder. A process whose file cannot be written goes on by memory."""
        try:
            with _locked(self._path.parent):
                self._seen = self._read().with_term(term)
                unfinished = self._path.with_name(f"{self._path.name}.new")
                with unfinished.open("w", encoding="utf-8") as file:
                    file.write(self._seen.text())
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(self._path)
        except OSError as error:
            if not self._warned:
                log.warning("the term of the database cannot be kept", extra={"why": str(error)})
            self._warned = True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # A forked process may share the descriptor, and would keep the lock of a file that is only closed.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


class TermGuard:
    """Judges each new connection of this process by its term, and closes those that a promotion has overtaken."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._terms: WeakKeyDictionary[Any, Term] = WeakKeyDictionary()
        self._is_installed = False

    @cached_property
    def _file(self) -> TermFile:
        # Not before the settings are read: `manage.py` installs the guard before it knows whether they can be.
        return TermFile(self._path or settings.DATABASE_TERM_FILE)

    def install(self) -> None:
        """Judge every connection from now on."""
        connection_created.connect(self.judge)
        request_started.connect(self.close_overtaken)
        self._is_installed = True

    def judge(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        """Keep a connection whose term is not lower than the highest one, or connect to another host of the address.

        Receives `connection_created`. The refused host becomes the last one of the address, for all threads. Raises
        StaleDatabaseError where no other host has a sufficient term.
        """
        with _order:
            tries = len(_hosts(connection.settings_dict))
        try:
            while not self._accepts(connection):
                tries -= 1
                if tries < 1:
                    raise StaleDatabaseError("The database that answered was replaced by another.")
                self._go_on(connection)
        except BaseException:
            # A connection that was not judged must not serve the next call.
            connection.close()
            raise

    def _accepts(self, connection: BaseDatabaseWrapper) -> bool:
        term, in_recovery = ask(connection)
        if term is None:
            return True
        seen = self._file.seen()
        if seen.is_above(term):
            said = {"host": connection.connection.info.host, "port": connection.connection.info.port}
            said |= {"era": term.era, "timeline": term.timeline, "seen": seen.text().strip()}
            log.warning("stale database refused", extra=said)
            return False
        if not in_recovery:
            self._file.add(term)
        self._terms[connection.connection] = term
        return True

    def _go_on(self, connection: BaseDatabaseWrapper) -> None:
        """Connect to the other hosts first. Raises StaleDatabaseError where none of them can be reached."""
        with _order:
            _put_last(connection.settings_dict, connection.connection.info)
            parameters = connection.get_connection_params()
        connection.close()
        try:
            connection.connection = connection.get_new_connection(parameters)
        except psycopg.OperationalError as error:
            raise StaleDatabaseError("The database that answered was replaced, and no other can be reached.") from error
        connection.set_autocommit(connection.settings_dict["AUTOCOMMIT"])
        connection.init_connection_state()

    def close_overtaken(self, **_: Any) -> None:
        """Close the connections of this thread whose term is lower by now. Receives `request_started`.

        Sends no statement. A connection without a term is closed too: it was made before the first migration.
        """
        if not self._is_installed:
            return
        for connection in connections.all(initialized_only=True):
            if connection.connection is not None and not connection.in_atomic_block and self._is_overtaken(connection):
                connection.close()

    def _is_overtaken(self, connection: BaseDatabaseWrapper) -> bool:
        term = self._terms.get(connection.connection)
        try:
            return term is None or self._file.seen().is_above(term)
        except StaleDatabaseError:
            # The next connection is judged, and refused with the reason.
            return True


def ask(connection: BaseDatabaseWrapper) -> tuple[Term | None, bool]:
    """Return the term of the server behind an open connection, and whether it is in recovery.

    The term is None before the first migration.
    """
    bounded(connection, _ANSWER_SECONDS)
    raw: Any = connection.connection
    with connection.wrap_database_errors:
        era, in_recovery, system, timeline = raw.execute(_TERM).fetchone()
    # A command's connection may wait longer for its own statements.
    del raw.wait
    return (None if era is None else Term(int(era), int(timeline), system)), in_recovery


# The threads of a process share HOST and PORT of an address, which are two values and make pairs. A forked process gets
# the lock free: it is held for a moment, and never while a process forks.
_order = threading.Lock()
os.register_at_fork(before=_order.acquire, after_in_parent=_order.release, after_in_child=_order.release)


def _hosts(place: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The hosts of an address with their ports, in the order in which libpq tries them."""
    hosts, ports = place["HOST"].split(","), str(place["PORT"]).split(",")
    return list(zip(hosts, ports if len(ports) > 1 else ports * len(hosts), strict=True))


def _put_last(place: dict[str, Any], reached: psycopg.ConnectionInfo) -> None:
    """Let libpq try this host after the others."""
    hosts = _hosts(place)
    last = [pair for pair in hosts if pair[0] == reached.host and (pair[1] or "5432") == str(reached.port)]
    order = [*(pair for pair in hosts if pair not in last), *last]
    place["HOST"], place["PORT"] = (",".join(part) for part in zip(*order, strict=True))


@cache
def term_guard() -> TermGuard:
    """Return this process's guard."""
    return TermGuard()
