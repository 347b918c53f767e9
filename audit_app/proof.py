"""Inclusion proofs: that one event is among those that a seal is over, to be checked without the database."""

from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.db import connection

from audit_app import merkle, seal_keys
from audit_app.models import AuditEvent, AuditSeal

_SEAL_OF = """
SELECT number FROM audit_seals
WHERE (last_era, last_xid, last_id) >= (%s, %s::text::xid8, %s) ORDER BY number LIMIT 1
"""
_BELOW = """
SELECT e.id, e.hash FROM audit_events e JOIN audit_seals s ON s.number = %(number)s
LEFT JOIN audit_seals b ON b.number = s.number - 1
WHERE (e.era, e.xid, e.id) <= (s.last_era, s.last_xid, s.last_id)
  AND (b.number IS NULL OR (e.era, e.xid, e.id) > (b.last_era, b.last_xid, b.last_id))
ORDER BY e.era, e.xid, e.id
"""


class NotSealed(Exception):  # noqa: N818  it has only to be waited for
    """The event waits for its seal."""


def proof_of(event_id: UUID) -> dict[str, Any]:
    """What proves an event: its text and hash, the way up to the root of its seal, the seal, and the key's id.

    Raises AuditEvent.DoesNotExist, NotSealed.
    """
    event = AuditEvent.objects.get(pk=event_id)
    with connection.cursor() as cursor:
        cursor.execute(_SEAL_OF, [event.era, str(event.xid), event.pk])
        row = cursor.fetchone()
        if row is None:
            raise NotSealed
        cursor.execute(_BELOW, {"number": row[0]})
        below = cursor.fetchall()
    seal = AuditSeal.objects.get(pk=row[0])
    index = [pk for pk, _ in below].index(event.pk)
    return {
        "event": {
            "id": str(event.pk),
            "body": event.body,
            "prev_hash": bytes(event.prev_hash or bytes(32)).hex(),
            "hash": bytes(event.hash).hex(),
        },
        "path": {
            "index": index,
            "size": len(below),
            "hashes": [one.hex() for one in merkle.path([bytes(digest) for _, digest in below], index)],
        },
        "seal": {
            "number": seal.number,
            "body": seal.body,
            "signature": bytes(seal.signature).hex(),
            "public_key": _key(seal.key_id),
        },
    }


def _key(key_id: str) -> str | None:
    """The public key in hex, for convenience: whoever checks a proof has it from elsewhere."""
    key: Ed25519PublicKey | None = seal_keys.published(settings.AUDIT_SEAL_PUBLIC_KEYS).get(key_id)
    return None if key is None else seal_keys.raw(key).hex()
