"""The anchor: seals outside the database, a line each, so that a database set back to an earlier state is noticed.

The file is only ever appended to. Put it where the database's owner cannot write.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audit_app.models import AuditSeal

# What reading a line of something else may raise.
_NO_LINE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)


_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Anchored:
    """What a line keeps of a seal."""

    number: int
    hash: bytes


def line(seal: AuditSeal) -> str:
    """A seal as JSON: all that is needed to check it without the database."""
    kept = {
        "number": seal.number,
        "hash": bytes(seal.hash).hex(),
        "body": seal.body,
        "signature": bytes(seal.signature).hex(),
        "endorsement": bytes(seal.endorsement).hex() if seal.endorsement else None,
    }
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def append(path: Path, seals: Iterable[AuditSeal]) -> None:
    """Add a line for each, and see them on the disk before returning. Raises OSError."""
    written = "".join(f"{line(seal)}\n" for seal in seals).encode()
    if not written:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _ends_whole(path):
        # A line that was cut short by a crash must not swallow the next.
        written = b"\n" + written
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        while written:
            # A disk that is almost full takes a part, and says so.
            written = written[os.write(descriptor, written) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def last_number(path: Path) -> int:
    """The number of the newest seal in the file; 0 where there is none. Raises OSError.

    Read from its end, where the newest stands: the file grows for ever.
    """
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        near = file.read().decode("utf-8", "replace").splitlines()
    found = max((one.number for one in _lines(near)), default=0)
    return found or max((one.number for one in read(path)), default=0)


def read(path: Path) -> Iterator[Anchored]:
    """The lines, as they come; what is no line of ours is passed over. Raises OSError."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        yield from _lines(lines)


def _lines(texts: Iterable[str]) -> Iterator[Anchored]:
    for text in texts:
        try:
            kept = json.loads(text)
            yield Anchored(int(kept["number"]), bytes.fromhex(kept["hash"]))
        except _NO_LINE:
            continue


def _ends_whole(path: Path) -> bool:
    if not path.exists():
        return True
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
