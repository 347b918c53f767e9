"""Signed notes and the checkpoints in them, as foreign verifiers read them (C2SP signed-note and tlog-checkpoint).

A note is a text and one or more signatures of it, each a line with the name of a key. The text of a checkpoint is the
name of a log, its size and its root.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit_app import seal_keys

MAX_NOTE_BYTES = 64 * 1024
"""A longer note is refused. One with sixteen signatures is a tenth of this."""

_ED25519 = b"\x01"
_KEY_ID_BYTES, _HASH_BYTES = 4, 32
_SIGNATURE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class UnknownSigner(Exception):  # noqa: N818  it says whose key is missing
    """No signature of the note is by a known key."""


class BadSignature(Exception):  # noqa: N818  it is what was found
    """A signature of the note names a known key and is not by it."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A line below a note."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text, and who says to have signed it."""

    text: str
    signatures: tuple[Signature, ...]

    def require_signer(self, name: str, keys: Mapping[str, Ed25519PublicKey]) -> str:
        """Return which of these keys signed under a name; signatures by others are ignored.

        Raises UnknownSigner, BadSignature.
        """
        by_id = {key_id(name, key): (own_id, key) for own_id, key in keys.items()}
        signers = []
        for one in self.signatures:
            if one.name != name or one.key_id not in by_id:
                continue
            own_id, key = by_id[one.key_id]
            if not seal_keys.is_by(key, one.signature, self.text.encode()):
                raise BadSignature
            signers.append(own_id)
        if not signers:
            raise UnknownSigner
        return signers[0]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log by its name, how many leaves it has, and the root over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


def key_id(name: str, key: Ed25519PublicKey) -> bytes:
    """Return the four bytes that stand for a key under a name."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + seal_keys.raw(key)).digest()[:_KEY_ID_BYTES]


def verifier_key(name: str, key: Ed25519PublicKey) -> str:
    """Return a public key as verifiers of notes take it."""
    return f"{name}+{key_id(name, key).hex()}+{_base64(_ED25519 + seal_keys.raw(key))}"


def sign(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """Return the note of a text with the signature of one key."""
    signature = key_id(name, key.public_key()) + key.sign(text.encode())
    return f"{text}\n\u2014 {name} {_base64(signature)}\n"


def read(note: bytes) -> Note:
    """Read a note; its signatures are not checked. Raises ValueError."""
    if len(note) > MAX_NOTE_BYTES:
        raise ValueError("The note is too long.")
    text, separator, lines = note.decode().rpartition("\n\n")
    if not separator or not lines.endswith("\n") or _CONTROL.search(text + lines):
        raise ValueError("This is no signed note.")
    return Note(f"{text}\n", tuple(_signature(line) for line in lines[:-1].split("\n")))


def read_checkpoint(text: str) -> Checkpoint:
    """Read the text of a note as a checkpoint. Raises ValueError."""
    origin, size, root, *extensions = text.removesuffix("\n").split("\n")
    if not origin or not _SIZE.fullmatch(size) or not all(extensions):
        raise ValueError("This is no checkpoint.")
    digest = _bytes(root)
    if len(digest) != _HASH_BYTES:
        raise ValueError("The root of the checkpoint is no SHA-256.")
    return Checkpoint(origin, int(size), digest)


def _signature(line: str) -> Signature:
    match = _SIGNATURE.fullmatch(line)
    if match is None:
        raise ValueError("A line below the note is no signature.")
    value = _bytes(match[2])
    if len(value) <= _KEY_ID_BYTES:
        raise ValueError("A signature of the note is too short.")
    return Signature(match[1], value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(text: str) -> bytes:
    """Decode base64 as it must be spelled. Raises ValueError."""
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("This is not base64.") from error
    if _base64(value) != text:
        raise ValueError("This is not base64 as RFC 4648 spells it.")
    return value
