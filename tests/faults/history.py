"""What the clients saw, and whether the database agrees with it.

Each call is written down as its client had it: answered, refused, or unknown. `check()` then reads the database and
names everything that the promises of docs/idempotency.md do not allow.
"""

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.sessions_app.session_calls import LEGAL
from tests.work import GENESIS, hash_of

CLOCK_SECONDS = 0.05
"""How far two clocks of one machine may be apart, read one after the other."""
SERVICE = "orchestrator-under-test"
"""What the service's connections call themselves, so that those it leaves behind are known."""

_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IN_FLIGHT = b'"/problems/request-in-flight"'


class Outcome(StrEnum):
    """What a client knows afterwards."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One attempt. Whoever asks for an effect marks it with the key: as `metadata.key`, or as the reason of a move."""

    key: str
    op: str
    object: str
    tenant: str = "default"
    sent: str = ""
    started: float
    ended: float
    outcome: Outcome
    status: int = 0
    content_type: str = ""
    body: bytes = b""
    replayed: bool = False

    @property
    def is_final(self) -> bool:
        """Whether the key has its answer with this: done, or refused on state."""
        return self.outcome is Outcome.OK or (self.status == 409 and _IN_FLIGHT not in self.body)


@dataclass
class History:
    """The log that all clients share."""

    calls: list[Call] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, call: Call) -> Call:
        """Write it down."""
        with self._lock:
            self.calls.append(call)
        return call

    def by_key(self) -> dict[str, list[Call]]:
        """The keyed calls of each tenant, in the order they began."""
        found: dict[str, list[Call]] = defaultdict(list)
        for call in sorted(self.calls, key=lambda call: call.started):
            if call.key:
                found[call.key].append(call)
        return found

    def finals(self) -> dict[str, list[Call]]:
        """The final answers of each key."""
        return {key: [call for call in calls if call.is_final] for key, calls in self.by_key().items()}


@dataclass(frozen=True)
class Effect:
    """An event that a call with this key led to."""

    key: str
    subject: str
    seq: int
    at: float


@dataclass
class Stored:
    """What the database has."""

    sessions: dict[str, dict[str, Any]]
    chains: dict[str, list[dict[str, Any]]]
    effects: dict[str, list[Effect]]
    left: list[str]

    @classmethod
    def read(cls, connection: "psycopg.Connection[Any]", patience: float, ended: bool) -> "Stored":
        """Read it, having waited as long as `patience` for what the service leaves behind to go."""
        left = _left_over(connection, patience, ended)
        with connection.cursor(row_factory=dict_row) as cursor:
            sessions = {str(row["id"]): row for row in cursor.execute("SELECT * FROM sessions").fetchall()}
            events = cursor.execute(
                "SELECT *, coalesce(nullif(reason, ''), metadata->'changes'->'metadata'->>'key') AS key"
                " FROM audit_events WHERE seq IS NOT NULL ORDER BY subject_id, seq"
            ).fetchall()
        chains: dict[str, list[dict[str, Any]]] = defaultdict(list)
        effects: dict[str, list[Effect]] = defaultdict(list)
        for event in events:
            subject = str(event["subject_id"])
            chains[subject].append(event)
            if event["key"]:
                at: datetime = event["timestamp"]
                effects[event["key"]].append(Effect(event["key"], subject, event["seq"], at.timestamp()))
        return cls(sessions, chains, effects, left)


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept."""

    rule: str
    what: str


Rule = Callable[[History, Stored], Iterator[str]]


def check(
    history: History, connection: "psycopg.Connection[Any]", *, patience: float = 20, ended: bool = True
) -> list[Violation]:
    """Everything that is wrong. `connection` is a superuser's, on the database that the calls went to.

    A service that has not ended may keep its connections, idle.
    """
    stored = Stored.read(connection, patience, ended)
    return [Violation(rule, what) for rule, judge in RULES.items() for what in judge(history, stored)]


def _lost(history: History, stored: Stored) -> Iterator[str]:
    """Acknowledged, and there is no effect."""
    for key, finals in history.finals().items():
        if any(call.outcome is Outcome.OK for call in finals) and not stored.effects.get(key):
            yield key


def _doubled(history: History, stored: Stored) -> Iterator[str]:
    """More than one effect under a key."""
    yield from (f"{key}: {len(effects)} effects" for key, effects in stored.effects.items() if len(effects) > 1)


def _refused_and_done(history: History, stored: Stored) -> Iterator[str]:
    """A refusal for good, and yet an effect."""
    for key, finals in history.finals().items():
        if stored.effects.get(key) and any(call.outcome is Outcome.REFUSED for call in finals):
            yield key


def _unasked(history: History, stored: Stored) -> Iterator[str]:
    """An effect that nobody asked for."""
    asked = history.by_key()
    yield from (key for key in stored.effects if key not in asked)


def _answers_differ(history: History, stored: Stored) -> Iterator[str]:
    """Two final answers to one key; or more than one of them that is nobody's replay."""
    for key, finals in history.finals().items():
        told = {(call.status, call.content_type, call.body) for call in finals}
        if len(told) > 1:
            yield f"{key}: {len(told)} answers"
        elif sum(not call.replayed for call in finals) > 1:
            yield f"{key}: answered as the first more than once"


def _answer_of_another(history: History, stored: Stored) -> Iterator[str]:
    """An answer that does not name the row which the effect is on."""
    for key, finals in history.finals().items():
        for call in finals:
            subjects = {effect.subject.encode() for effect in stored.effects.get(key, ())}
            if call.outcome is Outcome.OK and call.body and subjects and subjects.isdisjoint(_ID.findall(call.body)):
                yield key


def _version(history: History, stored: Stored) -> Iterator[str]:
    """A version is the number of events."""
    for pk, session in stored.sessions.items():
        count = len(stored.chains.get(pk, ()))
        if session["version"] != count:
            yield f"{pk}: version {session['version']}, {count} events"


def _path(history: History, stored: Stored) -> Iterator[str]:
    """Each event starts where the last led, by a legal move, and the row stands where they end."""
    for subject, chain in stored.chains.items():
        for before, after in pairwise(chain):
            legal = (before["to_status"], *LEGAL[before["to_status"]])
            if after["from_status"] != before["to_status"] or after["to_status"] not in legal:
                yield f"{subject}: {after['from_status']} to {after['to_status']} after {before['to_status']}"
        row = stored.sessions.get(subject)
        if row is not None and row["status"] != chain[-1]["to_status"]:
            yield f"{subject}: is {row['status']}, its last event says {chain[-1]['to_status']}"


def _chain(history: History, stored: Stored) -> Iterator[str]:
    """Each event names the hash before it, and has its own."""
    for subject, chain in stored.chains.items():
        before = GENESIS
        for event in chain:
            if bytes(event["prev_hash"]) != before or bytes(event["hash"]) != hash_of(before, event["body"]):
                yield f"{subject}: event {event['seq']}"
            before = bytes(event["hash"])
        row = stored.sessions.get(subject)
        if row is not None and bytes(row["audit_head"]) != before:
            yield f"{subject}: its head"


def _clock(history: History, stored: Stored) -> Iterator[str]:
    """An effect happens after it is first asked for and before it is first acknowledged."""
    asked, finals = history.by_key(), history.finals()
    for key, effects in stored.effects.items():
        for effect in effects:
            began = min((call.started for call in asked.get(key, ())), default=effect.at)
            known = min((call.ended for call in finals.get(key, ())), default=effect.at)
            if not began - CLOCK_SECONDS <= effect.at <= known + CLOCK_SECONDS:
                yield f"{key}: {effect.at - began:.3f} s after it was asked, {effect.at - known:.3f} s after its answer"


def _order(history: History, stored: Stored) -> Iterator[str]:
    """Of two effects on one row, what was acknowledged before the other was asked for comes first."""
    asked, finals = history.by_key(), history.finals()
    by_subject: dict[str, list[Effect]] = defaultdict(list)
    for effects in stored.effects.values():
        for effect in effects:
            by_subject[effect.subject].append(effect)
    for effects in by_subject.values():
        for earlier, later in pairwise(sorted(effects, key=lambda effect: effect.seq)):
            known = min((call.ended for call in finals.get(later.key, ())), default=None)
            began = min((call.started for call in asked.get(earlier.key, ())), default=None)
            if known is not None and began is not None and known < began:
                yield f"{earlier.subject}: {earlier.key} comes before {later.key}"


def _left(history: History, stored: Stored) -> Iterator[str]:
    """A transaction, a lock or a connection that outlives what it was for."""
    yield from stored.left


def _fault(history: History, stored: Stored) -> Iterator[str]:
    """A 500 is never an answer."""
    yield from (f"{call.key}: {call.body[:200]!r}" for call in history.calls if call.status == 500)


def _html(history: History, stored: Stored) -> Iterator[str]:
    """Nor is HTML."""
    for call in history.calls:
        if "html" in call.content_type or call.body.lstrip()[:1] == b"<":
            yield f"{call.key}: {call.content_type}"


def _foreign(history: History, stored: Stored) -> Iterator[str]:
    """No answer has an id of another tenant, but for one that the caller named."""
    tenants = {pk.encode(): session["tenant"] for pk, session in stored.sessions.items()}
    for call in history.calls:
        for found in _ID.findall(call.body):
            if tenants.get(found, call.tenant) != call.tenant and found not in call.object.encode():
                yield f"{call.key}: {found.decode()}"


RULES: dict[str, Rule] = {
    "lost": _lost,
    "doubled": _doubled,
    "refused and done": _refused_and_done,
    "unasked": _unasked,
    "answers differ": _answers_differ,
    "answer of another": _answer_of_another,
    "version": _version,
    "path": _path,
    "chain": _chain,
    "clock": _clock,
    "order": _order,
    "left over": _left,
    "fault": _fault,
    "html": _html,
    "foreign": _foreign,
}
"""By the name of what each finds."""

_LEFT_OVER = """
SELECT format('%%s: transaction open for %%s', application_name, clock_timestamp() - xact_start)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND xact_start IS NOT NULL
UNION ALL
SELECT format('%%s: connection', application_name) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = %s AND %s
UNION ALL
SELECT format('lock: %%s', locktype) FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def _left_over(connection: "psycopg.Connection[Any]", patience: float, ended: bool) -> list[str]:
    deadline = time.monotonic() + patience
    while left := [str(row[0]) for row in connection.execute(_LEFT_OVER, [SERVICE, ended]).fetchall()]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.02)
    return []
