"""Verifying chains: every event true to its hash and its columns, every chain whole, every row at its end."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from audit_app.findings import Finding
from audit_app.snapshot import Raw
from audit_app.trail import DOMAIN, GENESIS
from orchestrator.canonical import dumps

SLICES = 2
"""By how many connections the events are read at once."""

STEP = 2_000
"""After how many events progress is told."""

# What the text of an event must begin and end with, by its columns; between the two stand the changes. PostgreSQL
# escapes texts in JSON as RFC 8785 does. Building texts takes a tenth of the time of building documents.
_HEAD = """
'{"actor":{"issuer":' || to_json(actor_issuer) || ',"kind":' || to_json(actor_kind) || ',"subject":'
|| to_json(actor_subject) || '},"at":"' || to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
|| 'Z","cause":' || coalesce('"' || cause || '"', 'null') || ',"changes":'
"""
_TAIL = """
',"event_type":' || to_json(event_type) || ',"from":' || coalesce(to_json(from_status)::text, 'null') || ',"id":"' || id
|| '","ip":' || coalesce('"' || host(ip) || '"', 'null') || ',"on_behalf_of":' || CASE WHEN on_behalf_of_subject IS NULL
  THEN 'null' ELSE '{"issuer":' || to_json(on_behalf_of_issuer) || ',"subject":' || to_json(on_behalf_of_subject) || '}'
  END || ',"reason":' || to_json(reason) || ',"request_id":' || to_json(request_id) || ',"role":' || to_json(role)
|| ',"seq":' || coalesce(seq::text, 'null') || ',"subject":' || CASE WHEN subject_id IS NULL THEN 'null'
  ELSE '{"id":"' || subject_id || '","type":' || to_json(subject_type) || '}' END || ',"tenant":' || to_json(tenant)
|| ',"to":' || coalesce(to_json(to_status)::text, 'null') || ',"trace_id":' || to_json(trace_id) || ',"version":'
|| coalesce(seq::text, 'null') || ',"via":' || to_json(via) || '}'
"""
_LEFT = "substr(body, length(head) + 1, greatest(0, length(body) - length(head) - length(tail)))"


def _events(where: str) -> str:
    return f"""
COPY (
  SELECT subject_type, uuid_send(subject_id), seq, uuid_send(id), prev_hash, hash, body::bytea, from_status, to_status,
    starts_with(body, head) AND right(body, length(tail)) = tail, {_LEFT}, metadata::text
  FROM (SELECT *, {_HEAD} AS head, {_TAIL} AS tail FROM audit_events WHERE {where}
        ORDER BY subject_type, subject_id, seq OFFSET 0) AS event
) TO STDOUT (FORMAT BINARY)"""


_TYPES = ["text", "bytea", "int4", "bytea", "bytea", "bytea", "bytea", "text", "text", "bool", "text", "text"]


def _are(changes: str, metadata: str) -> bool:
    """Whether the canonical text of the changes is what the column beside it holds."""
    try:
        kept = json.loads(metadata)
    except ValueError:
        return False
    if not isinstance(kept, dict) or list(kept) != ["changes"]:
        return False
    quick = json.dumps(kept["changes"], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    # Written otherwise for numbers such as 1.0 and names beyond the basic plane alone.
    return quick == changes or dumps(kept["changes"]).decode() == changes


class _Walk:
    """Along the chains, event by event. Where one is out of place the next is judged by it as it is: one tampering is
    one finding.
    """

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._of: tuple[str, bytes] | None = None
        self._seq, self._hash, self._to = 0, GENESIS, None

    def step(self, noun: str, subject: bytes, seq: int, prev: bytes, digest: bytes, states: list[Any]) -> str | None:
        """What is wrong with the place of an event in its chain."""
        if (noun, subject) != self._of:
            self._of = (noun, subject)
            self._seq, self._hash, self._to = (0, GENESIS, None) if self._whole else (seq - 1, prev, states[0])
        kind = None
        if seq != self._seq + 1:
            kind = "gap"
        elif prev != self._hash or states[0] != self._to:
            kind = "link"
        self._seq, self._hash, self._to = seq, digest, states[1]
        return kind


def check_events(
    connection: Raw, where: str, values: Sequence[Any], *, whole: bool, progress: Callable[[int], object]
) -> Iterator[Finding]:
    """Every event that a condition names, chain by chain. `whole` says that chains begin at their first event."""
    sha, walk, count = hashlib.sha256, _Walk(whole=whole), 0
    with connection.cursor() as cursor, cursor.copy(_events(where), values) as copy:
        copy.set_types(_TYPES)
        for noun, subject, seq, pk, prev, digest, body, *states, framed, changes, metadata in copy.rows():
            count += 1
            if not count % STEP:
                progress(STEP)
            kind: str | None
            placed = None if seq is None else walk.step(noun, subject, seq, prev, digest, states)
            if sha(DOMAIN + (prev or GENESIS) + body).digest() != digest:
                kind = "hash"
            elif not (framed and _are(changes, metadata)):
                kind = "columns"
            else:
                kind = placed
            if kind is not None:
                yield Finding(kind, noun, UUID(bytes=subject) if subject else None, seq, UUID(bytes=pk))
    progress(count % STEP)


def check_rows(connection: Raw, noun: str, table: str, only: UUID | None) -> Iterator[Finding]:
    """Every row of a model against the end of its chain, and every chain without a row against its last word."""
    narrowed = "" if only is None else "AND r.id = %(only)s"
    values = {"noun": noun, "only": only}
    ends = f"""
      SELECT r.id, r.version, e.id IS NULL, e.hash <> r.audit_head, n.id IS NOT NULL, f.id IS NOT NULL
      FROM "{table}" r
      LEFT JOIN audit_events f ON (f.subject_type, f.subject_id, f.seq) = (%(noun)s, r.id, 1)
      LEFT JOIN audit_events e ON (e.subject_type, e.subject_id, e.seq) = (%(noun)s, r.id, r.version)
      LEFT JOIN audit_events n ON (n.subject_type, n.subject_id, n.seq) = (%(noun)s, r.id, r.version + 1)
      WHERE (e.id IS NULL OR n.id IS NOT NULL OR e.hash <> r.audit_head OR e.to_status IS DISTINCT FROM r.status)
        {narrowed} ORDER BY r.id"""
    for pk, version, unfinished, other_head, further, begun in connection.execute(ends, values).fetchall():
        kind = "status"
        if not begun:
            kind = "unrecorded"
        elif unfinished:
            kind = "tail"
        elif other_head or further:
            kind = "head"
        yield Finding(kind, noun, pk, version)
    lost = f"""
      SELECT DISTINCT e.subject_id FROM audit_events e
      WHERE e.subject_type = %(noun)s AND e.seq IS NOT NULL {narrowed.replace("r.id", "e.subject_id")}
        AND NOT EXISTS (SELECT FROM "{table}" r WHERE r.id = e.subject_id)
        AND NOT EXISTS (SELECT FROM audit_events d WHERE d.subject_type = %(noun)s AND d.subject_id = e.subject_id
          AND d.event_type = %(noun)s || '.deleted' AND d.seq = (SELECT max(m.seq) FROM audit_events m
            WHERE m.subject_type = %(noun)s AND m.subject_id = e.subject_id))
      ORDER BY e.subject_id"""
    for (pk,) in connection.execute(lost, values).fetchall():
        yield Finding("gone", noun, pk)


def condition(*, only: tuple[str, UUID] | None, since: datetime | None, part: int) -> tuple[str, list[Any]]:
    """Which events one of the SLICES reads, as SQL and its values."""
    if only is not None:
        return "subject_type = %s AND subject_id = %s", list(only)
    # By the last byte of the subject's id, which is random; what has no subject goes to the first.
    where = f"mod(coalesce(get_byte(uuid_send(subject_id), 15), 0), {SLICES}) = {part}"
    return (where, []) if since is None else (f"{where} AND timestamp >= %s", [since])


def rows_of(subjects: Mapping[str, str], only: tuple[str, UUID] | None) -> Mapping[str, str]:
    """The nouns to look at, with their tables."""
    return subjects if only is None else {noun: table for noun, table in subjects.items() if noun == only[0]}
