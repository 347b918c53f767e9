"""Whether the database agrees with what the clients saw.

`check()` reads it and names everything that the promises of docs/idempotency.md, and those of tasks, do not allow.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psycopg

from tests.faults.history import History, Outcome
from tests.faults.stored import LEGAL, STAYING, Effect, Row, Stored
from tests.work import GENESIS, hash_of

CLOCK_SECONDS = 0.05
"""How far two clocks of one machine may be apart, read one after the other."""

CLAIM = "/tasks/claim"

_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
    """Two final answers to one call; or more than one of them under a key that is nobody's replay."""
    for key, finals in history.finals().items():
        told = {(call.status, call.content_type, call.body) for call in finals}
        if len(told) > 1:
            yield f"{key}: {len(told)} answers"
        elif sum(call.keyed and not call.replayed for call in finals) > 1:
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
    for pk, row in stored.rows.items():
        count = len(stored.chains.get(pk, ()))
        if row["version"] != count:
            yield f"{row['noun']} {pk}: version {row['version']}, {count} events"


def _path(history: History, stored: Stored) -> Iterator[str]:
    """Each event starts where the last led, by a move that is legal for its noun, and the row stands where they end."""
    for subject, chain in stored.chains.items():
        before = None
        for event in chain:
            if event["from_status"] != before or not _is_legal(event):
                yield f"{subject}: {event['event_type']} to {event['to_status']} after {before}"
            before = event["to_status"]
        row = stored.rows.get(subject)
        stands = None if row is None else row["status"]
        if stands != before:
            yield f"{subject}: is {stands}, its last event says {before}"


def _is_legal(event: Row) -> bool:
    """Whether what it tells is a legal move by itself; `None` is where a row is before the first and after the last."""
    noun, word = event["event_type"].split(".")
    before, after = event["from_status"], event["to_status"]
    if noun != event["subject_type"]:
        return False
    if before is None or after is None:
        return (word, before is None, after is None) in (("created", True, False), ("deleted", False, True))
    return after == before if word in STAYING else after in LEGAL[noun].get(before, ())


def _owned(history: History, stored: Stored) -> Iterator[str]:
    """A task has one owner at a time: epoch follows epoch, all have ended but that of an active task, and each was
    given to one claim.
    """
    for pk, row in stored.rows.items():
        if row["noun"] == "task":
            held = [(attempt["epoch"], attempt["ended_at"] is None) for attempt in stored.attempts.get(pk, ())]
            last, active = row["lease_epoch"], row["status"] == "active"
            if held != [(epoch, active and epoch == last) for epoch in range(1, last + 1)]:
                yield f"{pk}: is {row['status']} at epoch {last}, and was held as {held}"
    for (pk, epoch), times in Counter(_granted(history)).items():
        known = [attempt["epoch"] for attempt in stored.attempts.get(pk, ())]
        if times > 1 or epoch not in known:
            yield f"{pk}: epoch {epoch} was granted {times} times, of {known}"


def _granted(history: History) -> Iterator[tuple[str, int]]:
    """The ownerships that claims were answered with: task and epoch."""
    for call in history.calls:
        if call.object == CLAIM and call.outcome is Outcome.OK:
            for task in json.loads(call.body)["tasks"]:
                yield task["task_id"], task["lease"]["epoch"]


def _chain(history: History, stored: Stored) -> Iterator[str]:
    """Each event names the hash before it, and has its own."""
    for subject, chain in stored.chains.items():
        before = GENESIS
        for event in chain:
            if bytes(event["prev_hash"]) != before or bytes(event["hash"]) != hash_of(before, event["body"]):
                yield f"{subject}: event {event['seq']}"
            before = bytes(event["hash"])
        row = stored.rows.get(subject)
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
    tenants = {pk.encode(): row["tenant"] for pk, row in stored.rows.items()}
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
    "owned": _owned,
    "chain": _chain,
    "clock": _clock,
    "order": _order,
    "left over": _left,
    "fault": _fault,
    "html": _html,
    "foreign": _foreign,
}
"""By the name of what each finds."""
