"""What a seal says, as the text that is hashed and signed."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from audit_app.trail import instant
from orchestrator.canonical import dumps

GENESIS = bytes(32)
"""What the first seal names as the hash before it."""

DOMAIN = b"seal/v1\0"
"""Keeps these hashes and signatures apart from any other use of SHA-256 and of the key."""


FIRST_ERA = -(2**31)
"""Below any: what stands before the first seal is under it, whatever era somebody wrote beside it."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an event stands in the order in which events are sealed."""

    era: int
    xid: int
    id: UUID


@dataclass(frozen=True, slots=True)
class Statement:
    """So many events, up to this place, have this root; and this is the seal before."""

    number: int
    size: int
    first: UUID
    last: Place
    root: bytes
    prev_hash: bytes
    key_id: str
    sealed_at: datetime

    def text(self) -> bytes:
        """Canonical JSON (RFC 8785). A transaction id may be beyond what JSON's readers keep exactly: it is a text."""
        return dumps(
            {
                "first": str(self.first),
                "key_id": self.key_id,
                "last": {"era": self.last.era, "id": str(self.last.id), "xid": str(self.last.xid)},
                "number": self.number,
                "prev_hash": self.prev_hash.hex(),
                "root": self.root.hex(),
                "sealed_at": instant(self.sealed_at),
                "size": self.size,
            }
        )


def hash_of(text: bytes) -> bytes:
    """The hash of a seal's text, 32 bytes: what the next seal names."""
    return hashlib.sha256(DOMAIN + text).digest()


def signed(text: bytes) -> bytes:
    """The bytes that a signature of a seal is over."""
    return DOMAIN + text
