"""Sealing: every so often, all that can no longer be preceded by anything gets one signed hash.

An event is sealed once no transaction that could still write one before it is running: its transaction's id lies below
`pg_snapshot_xmin(pg_current_snapshot())`. So nothing ever appears inside a sealed range, and no writer waits. Events of
earlier eras, from before a dump was restored into a new cluster, have no running transactions (see eras.py).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import connection
from prometheus_client.core import Metric

from audit_app import anchor, checkpoint, eras, merkle, seal_keys, sealer_state, trail
from audit_app.anchor_agreement import begin_anchor, last_anchored, require_agreement
from audit_app.key_validity import bring_up_to_date, require_valid
from audit_app.models import AuditSeal
from audit_app.sealer_state import AnchorUnwritable, SealingStopped
from audit_app.statement import FIRST_ERA, GENESIS, Place, Statement, hash_of, signed
from audit_app.trail import Action, Event
from orchestrator import boundary
from orchestrator.actors import DEFAULT_TENANT, job
from orchestrator.clock import database_now
from orchestrator.measuring import gauge

MOST = 10_000
"""How many events one seal is over."""

EVERY_SECONDS = 30
"""How long an event waits for a seal, where fewer wait than one is over."""

_LEAST_LAG_SECONDS = 0.1
"""The lag where an event waits whose time is not over yet, by a clock that was set back."""

_ONE_AT_A_TIME = 0x5EA1
"""The advisory lock of the sealer."""

_AFTER = "(era, xid, id) > (%s, %s::text::xid8, %s)"
_SEALABLE = f"""
-- The text has a name of its own: ORDER BY would take it for the column, and 1000 comes before 999 as a text.
SELECT era, xid::text AS written, id, hash FROM audit_events
WHERE {_AFTER} AND (era < {eras.PRESENT} OR xid < pg_snapshot_xmin(pg_current_snapshot()))
ORDER BY era, xid, id LIMIT {MOST}
"""
# The age of the oldest event that waits, null where none does; and whether the last seal is over what is there.
_OLDEST = f"""
SELECT (SELECT extract(epoch FROM clock_timestamp() - timestamp)::float FROM audit_events
    WHERE {_AFTER} ORDER BY era, xid, id LIMIT 1),
  EXISTS (SELECT FROM audit_events WHERE (era, xid, id) >= (%s, %s::text::xid8, %s))
"""
_COUNT = f"SELECT count(*) FROM (SELECT FROM audit_events WHERE {_AFTER} LIMIT {MOST}) AS waiting"
_START = Place(FIRST_ERA, 0, UUID(int=0))

log = logging.getLogger(__name__)


class KeyChanged(SealingStopped):
    """The signing key is another than the last seal's, and that one is not there to say so."""

    problem = "key-changed"


class KeyUnreadable(SealingStopped):
    """A key file cannot be read or made."""

    problem = "key-unreadable"


class EraNotBegun(SealingStopped):
    """The database was restored into a new cluster, and nobody said so."""

    problem = "era-not-begun"

    def __str__(self) -> str:
        return (
            "the newest events are of transactions that this cluster has yet to come to, so it was restored from"
            " another. As the owner: manage.py audit_new_era."
        )


def seal_all() -> int:
    """Seal what there is to seal, by as many seals as it takes; how many. Then bring the anchor up to date.

    One at a time: where another sealer is at work, this one leaves it to that. Raises SealingStopped, AnchorUnwritable
    and CheckpointTrouble, which are recorded for `/health` as well, and ServiceUnavailable where the database is away.
    """
    return _round(due=True)


def seal_due() -> int:
    """Seal where the oldest event has waited for long enough, or as many wait as one seal is over; how many seals.

    However often it is called: a seal for every few events would make verification slow. The anchor is compared and
    brought up to date by each call. Raises what `seal_all()` does.
    """
    lag, waiting = boundary.read(lambda: (_lag(), _waiting()))
    return _round(due=lag >= EVERY_SECONDS or waiting >= MOST)


def _round(*, due: bool) -> int:
    """Compare, seal where that is due, then anchor what was sealed now or before, and write the checkpoint."""
    with sealer_state.recorded(sealer_state.SEALER):
        compare_with_anchor()
        count = _seal_what_waits() if due else 0
    with sealer_state.recorded(sealer_state.ANCHOR):
        _bring_anchor_up_to_date()
    with sealer_state.recorded(sealer_state.CHECKPOINT):
        checkpoint.bring_up_to_date()
    return count


def _seal_what_waits() -> int:
    with _keys():
        key = seal_keys.signing_key()
    count = 0
    while (made := boundary.write(lambda: _seal(key))) is not None:
        count += 1
        # Not before it sealed: a key that the former one did not vouch for is trusted by nobody.
        with _keys():
            seal_keys.publish(key.public_key())
            boundary.read(partial(bring_up_to_date, settings.AUDIT_SEAL_PUBLIC_KEYS, made.key_id))
        log.info("sealed", extra={"seal": made.number, "events": made.size, "hash": bytes(made.hash).hex()})
    return count


def health() -> dict[str, object]:
    """Return what `/health` says of the seals; the service is degraded while they cannot be made or anchored."""
    troubles = boundary.read(sealer_state.troubles)
    problems = sorted({state.problem for state in troubles.values()})
    return {
        "status": "degraded" if problems else "healthy",
        "seal_lag_seconds": round(lag_seconds(), 1),
        "problems": problems,
    }


def measured() -> Iterator[Metric]:
    """What `/metrics` tells of the seals. Raises what the database raises."""
    lag = gauge("audit_seal_lag_seconds", "How long the oldest event that waits for a seal has waited.")
    lag.add_metric([], _lag())
    waiting = gauge("audit_unsealed_events", f"How many events wait for a seal, as far as {MOST}.")
    waiting.add_metric([], _waiting())
    trouble = gauge(
        "audit_sealing_trouble_seconds",
        "For how long a part of sealing is in trouble; 0 where it is in order.",
        ["part"],
    )
    troubles, now = sealer_state.troubles(), database_now()
    for part in sealer_state.PARTS:
        since = troubles[part].since if part in troubles else None
        trouble.add_metric([part], max(1.0, (now - since).total_seconds()) if since else 0.0)
    yield from (lag, waiting, trouble)


def lag_seconds() -> float:
    """How long the oldest event that waits for a seal has waited, in seconds; 0 where none does."""
    return boundary.read(_lag)


def _lag() -> float:
    """Return 0 only where no event waits, and the last seal is not over a place beyond all events."""
    seal = AuditSeal.objects.order_by("-number").first()
    place = _place_of(seal)
    with connection.cursor() as cursor:
        if seal is not None and eras.has_to_begin(cursor):
            # Nothing is sealed any more, and what waits is not known by its place.
            return _since(seal)
        cursor.execute(_OLDEST, [*_values(place), *_values(place)])
        age, is_among_events = cursor.fetchone()
    if seal is not None and not is_among_events:
        # Nothing that is written will be sealed: to be below a seal is to be sealed.
        return _since(seal)
    return 0.0 if age is None else max(_LEAST_LAG_SECONDS, float(age))


def _since(seal: AuditSeal) -> float:
    return max(_LEAST_LAG_SECONDS, (database_now() - seal.sealed_at).total_seconds())


def _waiting() -> int:
    """How many events wait for a seal, up to as many as one is over."""
    place = _place_of(AuditSeal.objects.order_by("-number").first())
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, _values(place))
        return int(cursor.fetchone()[0])


def _seal(key: Ed25519PrivateKey) -> AuditSeal | None:
    """One seal, or None where there is nothing to seal or somebody else is sealing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_ONE_AT_A_TIME])
        if not cursor.fetchone()[0]:
            return None
        if eras.has_to_begin(cursor):
            raise EraNotBegun
        anchored = last_anchored()
        before = AuditSeal.objects.order_by("-number").first()
        require_agreement(anchored, before)
        cursor.execute(_SEALABLE, _values(_place_of(before)))
        rows = cursor.fetchall()
    if rows and anchored is None:
        begin_anchor()
    return _sealed(rows, before, key, database_now()) if rows else None


def _sealed(rows: list[tuple[Any, ...]], before: AuditSeal | None, key: Ed25519PrivateKey, now: datetime) -> AuditSeal:
    era, xid, last_id, _ = rows[-1]
    number, key_id = before.number + 1 if before else 1, seal_keys.key_id(key.public_key())
    with _keys():
        require_valid(settings.AUDIT_SEAL_PUBLIC_KEYS, key_id, number)
    said = Statement(
        number=number,
        size=len(rows),
        first=rows[0][2],
        last=Place(era, int(xid), last_id),
        root=merkle.root(bytes(row[3]) for row in rows),
        prev_hash=bytes(before.hash) if before else GENESIS,
        key_id=key_id,
        sealed_at=now,
    )
    text = said.text()
    seal = AuditSeal(
        number=said.number,
        last_era=era,
        last_xid=int(xid),
        last_id=last_id,
        size=said.size,
        root=said.root,
        prev_hash=said.prev_hash,
        body=text.decode(),
        hash=hash_of(text),
        key_id=said.key_id,
        signature=key.sign(signed(text)),
        endorsement=_endorsement(before, said.key_id, text),
        sealed_at=now,
    )
    seal.save(force_insert=True)
    if before is not None and before.key_id != key_id:
        _record_change(before.key_id, seal)
    return seal


def _record_change(former: str, seal: AuditSeal) -> None:
    """Record that the key changed, in the transaction of the first seal of the new one."""
    event = Event(
        action=Action.AUDIT_KEY_CHANGED,
        tenant=DEFAULT_TENANT,
        actor=job("audit_seal"),
        at=seal.sealed_at,
        changes={"former_key": former, "key": seal.key_id, "seal": seal.number},
    )
    trail.record(trail.link(event))


@contextmanager
def _keys() -> Iterator[None]:
    """Read or write key files in the block. Raises KeyUnreadable."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise KeyUnreadable(str(error)) from error


def _endorsement(before: AuditSeal | None, key_id: str, text: bytes) -> bytes | None:
    """The former key's signature, where the key changes: nobody takes over the seals without it. Raises KeyChanged."""
    if before is None or before.key_id == key_id:
        return None
    with _keys():
        former = seal_keys.former_key()
    if former is None or seal_keys.key_id(former.public_key()) != before.key_id:
        raise KeyChanged(
            f"Seal {before.number} is by the key {before.key_id}: AUDIT_SEAL_FORMER_KEY_FILE must hold it."
        )
    return former.sign(signed(text))


def compare_with_anchor() -> None:
    """Raise SealingStopped where the database and the anchor disagree, whether or not anything waits for a seal."""
    # The anchor first: another sealer may make a seal and anchor it meanwhile.
    anchored = last_anchored()
    boundary.read(lambda: require_agreement(anchored, AuditSeal.objects.order_by("-number").first()))


def accept_new_anchor() -> None:
    """Begin the anchor again, where it is missing or empty although there are seals. Raises SealingStopped otherwise.

    The next round writes every seal there is into it.
    """
    if last_anchored() is None:
        begin_anchor()
    compare_with_anchor()


def _bring_anchor_up_to_date() -> None:
    """Write what the anchor lacks. After the commit: a line for a seal that was never made would look like tampering.

    Raises AnchorUnwritable.
    """
    path = settings.AUDIT_ANCHOR_FILE
    known = last_anchored()
    if known is None:
        return
    lacking = AuditSeal.objects.filter(number__gt=known.number).order_by("number")
    try:
        anchor.append(path, boundary.read(lambda: list(lacking)))
    except OSError as error:
        raise AnchorUnwritable(f"the anchor {path} cannot be written: {error.strerror}") from error


def _place_of(seal: AuditSeal | None) -> Place:
    return Place(seal.last_era, seal.last_xid, seal.last_id) if seal else _START


def _values(place: Place) -> list[Any]:
    return [place.era, str(place.xid), place.id]
