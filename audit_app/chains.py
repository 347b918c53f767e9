"""Verifying chains: every event true to its hash and its columns, every chain whole."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from audit_app.findings import Finding
from audit_app.since import Since
from audit_app.snapshot import Raw
from audit_app.trail import DOMAIN, GENESIS
from orchestrator.canonical import dumps

STEP = 2_000
"""After how many events progress is told."""

CLOCK_SLACK = timedelta(minutes=1)
"""How far the clock of the database may be set back without the times of a chain counting as forged.

The trigger `audit_events_of_now` lets an event have a time as far as this from the clock.
"""
_SLACK_MICROSECONDS = CLOCK_SLACK // timedelta(microseconds=1)

Steps = Mapping[str, frozenset[tuple[str | None, str | None]]]
"""Between which states an event may lead, by noun; None for a row that is not there. Of another noun any may."""

# Python, from 3.13 on, and PostgreSQL write an address within IPv6 as 192.0.2.7, Python before as c000:207.
_WITHIN = "substring(host(ip) FROM '[0-9.]+$')::inet - '0.0.0.0'"
_HEXADECIMAL = f"""
concat(regexp_replace(host(ip), '[0-9.]+$', ''), to_hex(({_WITHIN}) >> 16), ':', to_hex(({_WITHIN}) & 65535))
"""
_IP = f"""
CASE WHEN ip IS NULL THEN NULL WHEN masklen(ip) < CASE family(ip) WHEN 4 THEN 32 ELSE 128 END THEN ip::text
  WHEN family(ip) = 4 OR host(ip) NOT LIKE '%%.%%'
  OR strpos(body, concat('"ip":"', host(ip), '","on_behalf_of"')) > 0 THEN host(ip) ELSE {_HEXADECIMAL} END
"""
# What the text of an event must begin and end with, by its columns; between the two stand the changes. PostgreSQL
# escapes texts in JSON as RFC 8785 does; our own words have nothing to escape, and one that had would fit no text.
# Building texts takes a tenth of the time of building documents.
_HEAD = """
concat('{"actor":{"issuer":', to_json(actor_issuer), ',"kind":"', actor_kind, '","subject":',
  to_json(actor_subject), '},"at":"', to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
  'Z","cause":', coalesce('"' || cause || '"', 'null'), ',"changes":')
"""
_TAIL = f"""
concat(',"event_type":"', event_type, '","from":', coalesce('"' || from_status || '"', 'null'), ',"id":"', id,
  '","ip":', coalesce('"' || {_IP} || '"', 'null'), ',"on_behalf_of":',
  CASE WHEN coalesce(on_behalf_of_issuer, on_behalf_of_subject) IS NULL THEN 'null' ELSE
    concat('{{"issuer":', coalesce(to_json(on_behalf_of_issuer)::text, 'null'), ',"subject":',
      coalesce(to_json(on_behalf_of_subject)::text, 'null'), '}}') END,
  ',"reason":', to_json(reason), ',"request_id":', to_json(request_id), ',"role":', to_json(role), ',"seq":',
  coalesce(seq::text, 'null'), ',"subject":',
  CASE WHEN coalesce(subject_type, subject_id::text) IS NULL THEN 'null' ELSE
    concat('{{"id":', coalesce('"' || subject_id || '"', 'null'), ',"type":',
      coalesce('"' || subject_type || '"', 'null'), '}}') END, ',"tenant":', to_json(tenant), ',"to":',
  coalesce('"' || to_status || '"', 'null'), ',"trace_id":', to_json(trace_id), ',"version":',
  coalesce(seq::text, 'null'), ',"via":"', via, '"}}')
"""


def _events(where: str, before: str) -> str:
    return f"""
COPY (
  SELECT subject_type, subject_id, seq, id, timestamp, prev_hash, hash, coalesce(body, ''), from_status, to_status,
    CASE WHEN same THEN NULL ELSE head END, CASE WHEN same THEN NULL ELSE tail END,
    CASE WHEN same THEN nullif(changes, '{{}}') ELSE coalesce(metadata::text, '') END, {before}
  FROM audit_events CROSS JOIN LATERAL (
    SELECT {_HEAD} AS head, {_TAIL} AS tail, (metadata -> 'changes')::text AS changes OFFSET 0
  ) AS told CROSS JOIN LATERAL (
    SELECT coalesce(body = concat(head, replace(replace(changes, '": ', '":'), ', "', ',"'), tail)
      AND CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata - 'changes' = '{{}}' END, FALSE) AS same OFFSET 0
  ) AS judged
  WHERE {where} ORDER BY subject_type, subject_id, seq
) TO STDOUT (FORMAT BINARY)"""


# As they come: ids and texts that are only compared stay bytes. Where the text of an event is what its columns come to,
# as PostgreSQL judges, head and tail are not handed over, and of the metadata only the changes, where there are any.
# A time stays what PostgreSQL sends, microseconds since its epoch: only its order counts.
_TYPES = [
    *("text", "bytea", "int4", "bytea", "int8", "bytea", "bytea", "bytea"),
    *("text", "text", "bytea", "bytea", "text", "bool"),
]

# PostgreSQL's text of a document, but for the spaces, is mostly the canonical one. Not where there is a backslash, nor
# where a text within begins or ends as if it were a separator: then spaces of its own were taken away.
_DOUBTFUL = re.compile(r'\\|[{\[ ]": |, "[:,\]}]')


def _says(body: bytes, head: bytes | None, tail: bytes, metadata: str) -> bool:
    """Whether the text of an event says what its columns say; without a head, where it does but for doubtful spaces."""
    try:
        if head is None:
            return not _DOUBTFUL.search(metadata) or _is(json.loads(metadata), _without_spaces(metadata).encode())
        if not (body.startswith(head) and body.endswith(tail)):
            return False
        changes = body[len(head) : len(body) - len(tail)]
        kept = json.loads(metadata)
        if not isinstance(kept, dict) or list(kept) != ["changes"]:
            return False
        return _is(kept["changes"], changes)
    except (ValueError, OverflowError, RecursionError):
        return False


def _is(value: Any, text: bytes) -> bool:
    """Whether a text is the canonical one of a value."""
    # Written otherwise for numbers such as 1.0 and names beyond the basic plane alone.
    return _PLAIN(value).encode() == text or dumps(value) == text


def _without_spaces(document: str) -> str:
    return document.replace('": ', '":').replace(', "', ',"')


_PLAIN = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


class _Walk:
    """Along the chains, event by event. Where one is out of place the next is judged by it as it is: one tampering is
    one finding.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._of: tuple[str, bytes] | None = None
        self._seq, self._hash = 0, GENESIS
        self._to: str | None = None
        self._latest = 0

    def step(
        self,
        noun: str,
        subject: bytes,
        seq: int,
        at: int,
        prev: bytes,
        digest: bytes,
        was: str | None,
        now: str | None,
        *,
        before: bool,
    ) -> str | None:
        """What is wrong with the place of an event in its chain, which leads from one state to another.

        `before` says that it only is what the next one follows: where a chain begins with it, its place is not judged.
        """
        if (noun, subject) != self._of:
            self._of = (noun, subject)
            self._seq, self._hash, self._to = (seq - 1, prev, was) if before else (0, GENESIS, None)
            self._latest = at
        kind = None
        if seq > self._seq + 1:
            kind = "gap"
        elif seq <= self._seq or prev != self._hash or was != self._to:
            kind = "link"
        elif noun in self._steps and (was, now) not in self._steps[noun]:
            kind = "move"
        elif at < self._latest - _SLACK_MICROSECONDS:
            kind = "time"
        self._seq, self._hash, self._to = seq, digest, now
        # After a finding the next event is judged by this one as it is.
        self._latest = at if kind is not None or at > self._latest else self._latest
        return kind


def check_events(
    connection: Raw,
    where: str,
    values: Sequence[Any],
    *,
    steps: Steps,
    since: Since | None,
    progress: Callable[[int], object],
) -> Iterator[Finding]:
    """Every event that a condition names, chain by chain: from its first on, or from the last before `since`."""
    sha, walk, count = hashlib.sha256, _Walk(steps), 0
    earlier, more = ("FALSE", ()) if since is None else since.before()
    if since is None:
        # By the index of the chains: sorting whole rows takes longer, and writes each to the disk twice.
        connection.execute("SET LOCAL enable_sort = off")
    with connection.cursor() as cursor, cursor.copy(_events(where, earlier), [*more, *values]) as copy:
        copy.set_types(_TYPES)
        for noun, subject, seq, pk, at, prev, digest, body, was, now, head, tail, changes, before in copy.rows():
            count += 1
            if not count % STEP:
                progress(STEP)
            kind = None if seq is None else walk.step(noun, subject, seq, at, prev, digest, was, now, before=before)
            if sha(DOMAIN + (prev or GENESIS) + body).digest() != digest:
                kind = "hash"
            elif changes is not None and not _says(body, head, tail, changes):
                kind = "columns"
            if kind is not None:
                yield Finding(kind, noun, UUID(bytes=subject) if subject else None, seq, UUID(bytes=pk))
    progress(count % STEP)


def condition(*, only: tuple[str, UUID] | None, since: Since | None) -> tuple[str, list[Any]]:
    """Which events are read, as SQL and its values."""
    of_subject, values = ("TRUE", []) if only is None else ("subject_type = %s AND subject_id = %s", list(only))
    later, more = ("TRUE", ()) if since is None else since.events()
    return f"{of_subject} AND {later}", [*values, *more]
