"""The anchor: seals outside the database, a line each, so that a database set back to an earlier state is noticed.

The file is only ever appended to. Put it where the database's owner cannot write.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audit_app.models import AuditSeal
from audit_app.statement import GENESIS

# What reading a line of something else may raise.
_NO_LINE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)


_TAIL_BYTES = 64 * 1024


_OPENING = "anchor/v1"
"""What the first line of a file says of itself. An emptied file has none, and so is no anchor that was just begun."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """What a line keeps of a seal."""

    number: int
    hash: bytes


NOTHING_YET = Anchored(0, GENESIS)
"""What the anchor has last where it was begun, and no seal is in it yet."""


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


def begin(path: Path) -> None:
    """Begin a file, by a line that says so. Raises OSError."""
    _append(path, json.dumps({"opened": _OPENING}, separators=(",", ":")).encode() + b"\n")


def append(path: Path, seals: Iterable[AuditSeal]) -> None:
    """Add a line for each, and see them on the disk before returning. Raises OSError."""
    _append(path, "".join(f"{line(seal)}\n" for seal in seals).encode())


def _append(path: Path, written: bytes) -> None:
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


def last(path: Path) -> Anchored | None:
    """Return the newest seal in the file, NOTHING_YET where it was only begun, None where it is missing or empty.

    Read from its end, where the newest stands: the file grows for ever. Raises OSError.
    """
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        near = file.read().decode("utf-8", "replace").splitlines()
    newest = max(_lines(near), default=None, key=_number) or max(read(path), default=None, key=_number)
    return newest or (NOTHING_YET if _was_begun(path) else None)


def _number(one: Anchored) -> int:
    return one.number


def _was_begun(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as lines:
        first = lines.readline(_TAIL_BYTES)
    try:
        return bool(json.loads(first)["opened"] == _OPENING)
    except _NO_LINE:
        return False


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
