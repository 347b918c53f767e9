"""Verifying seals: each signed, each naming the one before, each over exactly the events below it."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from audit_app import merkle, seal_keys
from audit_app.anchor import Anchored
from audit_app.findings import Finding, Report
from audit_app.key_validity import ALWAYS, Validity
from audit_app.seal_keys import PublicKeys
from audit_app.since import Since
from audit_app.snapshot import Raw
from audit_app.statement import FIRST_ERA, GENESIS, Place, hash_of, signed

_HASH_BYTES = 32

_SEALS = """
SELECT number, last_era, last_xid::text, last_id, size, root, prev_hash, body, hash, key_id, signature, endorsement,
  to_char(sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  CASE WHEN sealed_at >= '0001-01-01 00:00Z' AND sealed_at < '10000-01-01 00:00Z' THEN sealed_at END
FROM audit_seals ORDER BY number
"""
_BETWEEN = """
SELECT count(*), coalesce(string_agg(hash, '' ORDER BY era, xid, id), '') FROM audit_events
  WHERE (era, xid, id) > (%s, %s::text::xid8, %s) AND (era, xid, id) <= (%s, %s::text::xid8, %s)
"""
_WAITING = "SELECT count(*) FROM audit_events WHERE (era, xid, id) > (%s, %s::text::xid8, %s)"
_HASHES = "SELECT number, hash FROM audit_seals WHERE number = ANY(%s::int[])"
_AT_A_TIME = 1_000
_START = (FIRST_ERA, "0", UUID(int=0))


class Seal(NamedTuple):
    """A stored seal, as it is read."""

    number: int
    last_era: int
    last_xid: str
    last_id: UUID
    size: int
    root: bytes
    prev_hash: bytes
    body: str
    hash: bytes
    key_id: str
    signature: bytes
    endorsement: bytes | None
    sealed_at: str
    made_at: datetime | None
    """The same as Python has it; None where it is no time of the years 1 to 9999."""

    @property
    def place(self) -> tuple[int, str, UUID]:
        """Where its last event stands, as SQL takes it."""
        return self.last_era, self.last_xid, self.last_id

    def begins(self, since: Since) -> bool:
        """Whether it is the first of those that are looked at; one of no time is."""
        return self.made_at is None or since.begins_with(
            self.made_at, Place(self.last_era, int(self.last_xid), self.last_id)
        )


def check_seals(
    connection: Raw,
    keys: PublicKeys,
    report: Report,
    *,
    validities: Mapping[str, Validity],
    since: Since | None,
    progress: Callable[[int], object],
) -> Iterator[Finding]:
    """Each seal, and the events below it where it was made since; counts them, and what waits for a seal."""
    before: Seal | None = None
    looked_at = since is None
    for seal in _seals(connection):
        report.seals += 1
        looked_at = looked_at or (since is not None and seal.begins(since))
        found = _of_itself(seal, before, keys, report)
        if found is None and not validities.get(seal.key_id, ALWAYS).covers(seal.number):
            found = "seal-key-time"
        if found is None and looked_at:
            found = _of_its_events(connection, seal, before, progress)
        if found is not None:
            yield Finding(found, seal=seal.number)
        before = seal
    row = connection.execute(_WAITING, before.place if before else _START).fetchone()
    report.waiting = row[0] if row else 0


def check_anchor(connection: Raw, anchored: Iterator[Anchored]) -> Iterator[Finding]:
    """Every seal that the anchor has must be in the database, and the same."""
    while batch := list(islice(anchored, _AT_A_TIME)):
        # A line of the anchor may say any number.
        numbers = [one.number for one in batch if 0 < one.number < 2**31]
        stored = dict(connection.execute(_HASHES, [numbers]).fetchall())
        yield from (Finding("anchor", seal=one.number) for one in batch if stored.get(one.number) != one.hash)


def _seals(connection: Raw) -> Iterator[Seal]:
    """All of them, a few at a time, however many."""
    with connection.cursor("seals") as cursor:
        cursor.itersize = _AT_A_TIME
        for row in cursor.execute(_SEALS):
            yield Seal(*row)


def _of_itself(seal: Seal, before: Seal | None, keys: PublicKeys, report: Report) -> str | None:
    text = seal.body.encode()
    if seal.made_at is None or hash_of(text) != seal.hash or not _says(seal):
        return "seal-text"
    follows = before.hash if before else GENESIS
    if seal.prev_hash != follows or seal.number != (before.number + 1 if before else 1):
        return "seal-link"
    # Whether the former key vouched for another is judged first: a key that nobody knows is no excuse.
    former = keys.get(before.key_id) if before is not None and before.key_id != seal.key_id else None
    if former is not None and not seal_keys.is_by(former, seal.endorsement or b"", signed(text)):
        return "seal-key"
    if seal.key_id not in keys:
        if before is None or before.key_id != seal.key_id:
            report.missing.append(f"the public key {seal.key_id} of seal {seal.number}")
        return None
    return None if seal_keys.is_by(keys[seal.key_id], seal.signature, signed(text)) else "seal-signature"


def _says(seal: Seal) -> bool:
    """Whether the columns are what the signed text says."""
    try:
        said: Any = json.loads(seal.body)
    except (ValueError, RecursionError):
        return False
    columns = {
        "number": seal.number,
        "size": seal.size,
        "last": {"era": seal.last_era, "id": str(seal.last_id), "xid": seal.last_xid},
        "root": seal.root.hex(),
        "prev_hash": seal.prev_hash.hex(),
        "key_id": seal.key_id,
        "sealed_at": seal.sealed_at,
    }
    return isinstance(said, dict) and {name: said.get(name) for name in columns} == columns


def _of_its_events(connection: Raw, seal: Seal, before: Seal | None, progress: Callable[[int], object]) -> str | None:
    places = [*(before.place if before else _START), *seal.place]
    count, hashes = connection.execute(_BETWEEN, places).fetchone() or (0, b"")
    progress(count)
    if count != seal.size or len(hashes) != count * _HASH_BYTES:
        return "seal-events"
    each = (hashes[at : at + _HASH_BYTES] for at in range(0, len(hashes), _HASH_BYTES))
    return None if merkle.root(each) == seal.root else "seal-events"
