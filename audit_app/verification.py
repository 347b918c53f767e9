"""Verifying the trail: the chains, the rows at their ends, the seals, and the anchor. As it was at one moment."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from uuid import UUID

from audit_app import anchor, attempt_check, chains, decision_check, key_validity, readers, seal_keys
from audit_app.checkpoint_check import check_checkpoint
from audit_app.findings import Finding, Report, first
from audit_app.key_validity import Validity
from audit_app.person_check import check_people
from audit_app.row_check import check_rows
from audit_app.rule_check import check_rules
from audit_app.seal_check import check_anchor, check_seals
from audit_app.seal_keys import PublicKeys
from audit_app.since import Since, since
from audit_app.snapshot import Raw, snapshot
from audit_app.stored_answer_check import check_stored_answers
from audit_app.subjects import Subject, subjects
from audit_app.time_check import check_times
from audit_app.told_check import check_origins, check_reasons, check_told, check_traces
from orchestrator import boundary

_FURTHER: dict[str, tuple[Callable[[Raw, Subject, UUID | None], Iterator[Finding]], ...]] = {
    "session": (check_reasons,),
    "task": (attempt_check.check_attempts, attempt_check.check_leases, check_traces),
    "approval": (decision_check.check_decisions,),
}
"""The checks of a kind of row beside those of every kind, by its noun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to verify: all, one subject's chain, or what came since; against which keys, anchor and checkpoint."""

    subject: tuple[str, UUID] | None = None
    since: datetime | None = None
    keys: Path
    anchor: Path | None = None
    checkpoint: Path | None = None


def count(asked: Asked) -> int:
    """About how many steps it takes: one for each event read, and one for each that was sealed."""
    with snapshot() as (connection, _):
        return 2 * _estimate(connection)


def _estimate(connection: Raw) -> int:
    """About how many events there are."""
    found = connection.execute(
        "SELECT greatest(0, reltuples)::bigint FROM pg_class WHERE oid = 'audit_events'::regclass"
    ).fetchone()
    return int(found[0]) if found else 0


def verify(asked: Asked, progress: Callable[[int], object] = lambda _count: None) -> Report:
    """Look at everything, and say what is not as it was written.

    Raises ServiceUnavailable where the database is away.
    """
    return boundary.read(lambda: _verified(asked, progress))


def _verified(asked: Asked, progress: Callable[[int], object]) -> Report:
    report, lock = Report(), threading.Lock()
    untimely: list[Finding] = []

    def told(steps: int) -> None:
        with lock:
            progress(steps)

    # While others read the events, which takes the longest, this connection looks at all else.
    with snapshot() as (connection, name), ThreadPoolExecutor(1) as beside_us:
        later = since(asked.since, connection) if asked.since else None
        parts = None
        if asked.subject is None and later is None and (events := _estimate(connection)) >= readers.AT_A_TIME:
            parts = readers.ranges(connection, events)
        read = beside_us.submit(_read_events, name, asked.subject, later, parts, told)
        keys, validities = seal_keys.published(asked.keys), _validities(asked, report)
        if asked.subject is None:
            report.findings += first(
                check_seals(connection, keys, report, validities=validities, since=later, progress=told)
            )
            report.findings += first(check_stored_answers(connection))
            report.findings += first(check_people(connection))
            untimely = first(check_times(connection, since=later))
        if asked.anchor is not None:
            report.findings += _anchored(connection, asked.anchor, report)
        report.findings += _checkpointed(connection, asked, keys, validities, report)
        if asked.subject is not None and not _is_known(connection, *asked.subject):
            report.missing.append(f"{asked.subject[0]} {asked.subject[1]}: there is no such subject")
        report.findings += _rows(connection, asked.subject)
        carried = _carried(connection, asked.subject)
        broken = first(check_rules(connection, asked.subject))
        findings, report.events = read.result()
        report.findings[:0] = findings
    # A forged event has one finding, though its time may be out of order too, and a rule broken by it.
    for one in (*untimely, *broken):
        if one.event_id not in {known.event_id for known in report.findings if known.event_id}:
            report.findings.append(one)
    # What a row carries is told by its chain: where that was tampered with, no more is said of the row.
    known = {one.subject_id for one in report.findings if one.subject_id}
    report.findings += {one.subject_id: one for one in carried if one.subject_id not in known}.values()
    # The first bad event first: what else is wrong mostly follows from it.
    report.findings = first(report.findings)
    return report


def _validities(asked: Asked, report: Report) -> dict[str, Validity]:
    """Return for which seals each key is valid, where seals are looked at."""
    if asked.subject is not None:
        return {}
    try:
        return key_validity.validities(asked.keys)
    except (OSError, ValueError) as error:
        report.missing.append(f"for which seals the keys in {asked.keys} are valid: {error}")
        return {}


def _is_known(connection: Raw, noun: str, pk: UUID) -> bool:
    """Whether a subject is there, or was: it has a row, or an event."""
    found = connection.execute(
        f"""
        SELECT EXISTS (SELECT FROM "{subjects()[noun].table}" WHERE id = %(pk)s)
          OR EXISTS (SELECT FROM audit_events WHERE (subject_type, subject_id) = (%(noun)s, %(pk)s))""",
        {"noun": noun, "pk": pk},
    ).fetchone()
    return found == (True,)


def _rows(connection: Raw, asked: tuple[str, UUID] | None) -> list[Finding]:
    """The rows against the ends of their chains."""
    found: list[Finding] = []
    for noun, subject in subjects().items():
        if asked is None or asked[0] == noun:
            found += first(check_rows(connection, subject, asked[1] if asked else None))
    return found


def _carried(connection: Raw, asked: tuple[str, UUID] | None) -> list[Finding]:
    """What the rows carry, and what was decided, against what is told of it."""
    found: list[Finding] = []
    for noun, subject in subjects().items():
        if asked is None or asked[0] == noun:
            found += first(check_origins(connection, subject, asked[1] if asked else None))
            found += first(check_told(connection, subject, asked[1] if asked else None))
            for further in _FURTHER.get(noun, ()):
                found += first(further(connection, subject, asked[1] if asked else None))
    return found


def _read_events(
    name: str,
    only: tuple[str, UUID] | None,
    later: Since | None,
    parts: list[readers.Range] | None,
    progress: Callable[[int], object],
) -> tuple[list[Finding], int]:
    """The events, over a connection of their own; a long trail's over several. What was found, and how many events."""
    # The processes that read know no models.
    steps = {noun: subject.steps for noun, subject in subjects().items()}
    if parts is None:
        where, values = chains.condition(only=only, since=later)
        return readers.read_range(name, where, values, steps, since=later, progress=progress)
    read = 0

    def told(steps: int) -> None:
        nonlocal read
        read += steps
        progress(steps)

    return first(readers.read(name, parts, steps, told)), read


def _checkpointed(
    connection: Raw, asked: Asked, keys: PublicKeys, validities: dict[str, Validity], report: Report
) -> list[Finding]:
    """Compare the checkpoint with the seals. Where a seal is bad, the checkpoint differs because of that."""
    is_bad = any(one.seal is not None for one in report.findings)
    if asked.checkpoint is None or asked.subject is not None or is_bad:
        return []
    return check_checkpoint(connection, asked.checkpoint, keys, validities, report)


def _anchored(connection: Raw, path: Path, report: Report) -> list[Finding]:
    """The seals against the anchor. Where there are seals, an anchor that says nothing of them is missing."""
    found, missing = list[Finding](), None
    try:
        lines = anchor.read(path)
        if (oldest := next(lines, None)) is not None:
            found = first(check_anchor(connection, chain([oldest], lines)))
        else:
            missing = "it has no seal"
    except OSError as error:
        missing = str(error.strerror)
    if missing and connection.execute("SELECT EXISTS (SELECT FROM audit_seals)").fetchone() == (True,):
        report.missing.append(f"the anchor {path}: {missing}")
    return found
