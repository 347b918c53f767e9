"""What verification finds, and what it says of it."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

KINDS = {
    "hash": "the text is not what its hash was taken over",
    "columns": "a column is not what the text says",
    "gap": "events before it are missing",
    "link": "it does not follow the event before it",
    "time": "its time falls behind that of events written before it, or lies after it was written",
    "move": "no move leads from the state before it to its own",
    "own-matter": "it is a decision in one's own matter, or not of a person",
    "quorum": "fewer people had approved than have to",
    "use": "the grant was used twice, too late, or by somebody else",
    "holder": "it is not by the holder of the lease, or the lease went to somebody who decided, or was not counted",
    "tail": "the row has moved further than its chain tells",
    "head": "the row does not point to its last event",
    "status": "the row's status or tenant is not what its last event says",
    "told": "the row is not what its events say of it",
    "decisions": "the decisions on it, or when it was settled, are not as its events tell",
    "attempts": "the attempts at it do not begin or end as its events tell",
    "lease": "the lease that runs is not as its claim tells",
    "gone": "the row is gone, and its chain does not end with that",
    "unrecorded": "the row has no chain",
    "seal-text": "the seal's text is not what its hash or its columns say",
    "seal-link": "the seal does not follow the one before it",
    "seal-key": "the signing key changed without the former key's word",
    "seal-key-time": "its key was retired or revoked before, or came later",
    "seal-signature": "the seal's signature is not by its key",
    "seal-events": "the events below the seal are not those that were sealed",
    "stored-answer": "it was not written by the service, or was changed since",
    "anchor": "the database does not have the seal that the anchor has",
    "checkpoint": "the database does not have the seals that the checkpoint is over",
    "checkpoint-signature": "the checkpoint's signature is not by its key, or its key was not valid",
}
"""Every kind of tampering that is told apart."""
MOST = 100
"""How many findings are told. More would say no more."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was tampered with: where, and how it shows."""

    kind: str
    subject_type: str | None = None
    subject_id: UUID | None = None
    seq: int | None = None
    event_id: UUID | None = None
    seal: int | None = None
    key: str | None = None
    """The hash of an idempotency key, in hex."""

    def __str__(self) -> str:
        return f"{self.where}: {KINDS[self.kind]}."

    @property
    def where(self) -> str:
        """What it is about, for people."""
        if self.seal is not None:
            return f"seal {self.seal}"
        if self.key is not None:
            return f"stored answer {self.key}"
        if self.subject_type is not None and self.seq is not None:
            return f"{self.subject_type} {self.subject_id}, event {self.seq}"
        if self.subject_type is not None:
            return f"{self.subject_type} {self.subject_id}"
        return f"event {self.event_id}"

    def document(self) -> dict[str, object]:
        """The same as JSON has it."""
        return {
            "kind": self.kind,
            "says": KINDS[self.kind],
            "subject_type": self.subject_type,
            "subject_id": str(self.subject_id) if self.subject_id else None,
            "seq": self.seq,
            "event_id": str(self.event_id) if self.event_id else None,
            "seal": self.seal,
            "key": self.key,
        }


def place(one: Finding) -> tuple[bool, bool, str, str, int]:
    """By what findings are put in order: events and rows by their chains, then seals by their numbers, then answers."""
    where = one.subject_type or one.key or ""
    return one.key is not None, one.seal is not None, where, str(one.subject_id), one.seq or one.seal or 0


def first(found: Iterable[Finding]) -> list[Finding]:
    """As many as are told, by their places; all are looked for, so that all that is there was counted."""
    return heapq.nsmallest(MOST, found, key=place)


@dataclass(slots=True)
class Report:
    """What was looked at, what was found, and what was not to be had."""

    events: int = 0
    seals: int = 0
    waiting: int = 0
    findings: list[Finding] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 clean, 1 tampered, 2 incomplete. What is tampered with is so whatever else is missing."""
        return 1 if self.findings else 2 if self.missing else 0
