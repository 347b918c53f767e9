"""Checks that a seal is in a checkpoint. Needs Python 3.11, the package `cryptography`, and no database.

    python check_checkpoint.py PROOF VERIFIER_KEY

PROOF is what `manage.py audit_checkpoint --prove N` prints. VERIFIER_KEY is what `manage.py audit_checkpoint --key`
prints, had from elsewhere than the proof: the proof is only as good as the key. Ends with 0 where the proof holds, with
1 where it does not, with 2 where it cannot be read.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519 = b"\x01"
LEAF, NODE = b"\x00", b"\x01"


class DoesNotHold(Exception):  # noqa: N818  it is the answer
    """Says what is wrong with a proof."""


class VerifierKey(NamedTuple):
    """A public key of a log (C2SP signed-note)."""

    name: str
    key_id: bytes
    key: Ed25519PublicKey


def check(proof: dict[str, Any], verifier: VerifierKey) -> tuple[int, dict[str, Any]]:
    """Return the size of the checkpoint and what the seal says, both proved.

    Raises DoesNotHold; KeyError and the like for what is no proof.
    """
    size, root = opened(proof["checkpoint"], verifier)
    path, seal = proof["path"], proof["seal"]
    sealed = json.loads(seal["body"])
    if path["size"] != size or not 0 <= path["index"] < size:
        raise DoesNotHold("The checkpoint is over another number of seals.")
    if not sealed["number"] == seal["number"] == path["index"] + 1:
        raise DoesNotHold("The seal's text is of another seal.")
    hashes = [bytes.fromhex(one) for one in path["hashes"]]
    if climbed(seal["body"].encode(), path["index"], size, hashes) != root:
        raise DoesNotHold("The way from the seal does not lead to the checkpoint's root.")
    return size, sealed


def opened(note: str, verifier: VerifierKey) -> tuple[int, bytes]:
    """Return the size and the root of a checkpoint, signed by this key (C2SP tlog-checkpoint). Raises DoesNotHold."""
    text, _, lines = note.rpartition("\n\n")
    text += "\n"
    is_signed = False
    for line in lines.splitlines():
        dash, name, encoded = line.split(" ")
        signature = base64.b64decode(encoded, validate=True)
        if (dash, name, signature[:4]) != ("\u2014", verifier.name, verifier.key_id):
            continue
        try:
            verifier.key.verify(signature[4:], text.encode())
        except InvalidSignature:
            raise DoesNotHold("The signature of the checkpoint is not by this key.") from None
        is_signed = True
    if not is_signed:
        raise DoesNotHold("The checkpoint is not signed by this key.")
    origin, size, root, *_ = text.split("\n")
    if origin != verifier.name:
        raise DoesNotHold("The checkpoint is of another log.")
    return int(size), base64.b64decode(root, validate=True)


def climbed(data: bytes, index: int, size: int, hashes: list[bytes]) -> bytes | None:
    """Return the root that a leaf and the hashes beside its way up lead to (RFC 9162, section 2.1.3.2)."""
    found, last = hashlib.sha256(LEAF + data).digest(), size - 1
    for beside in hashes:
        if last == 0:
            return None
        if index & 1 or index == last:
            found = hashlib.sha256(NODE + beside + found).digest()
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            found = hashlib.sha256(NODE + found + beside).digest()
        index, last = index >> 1, last >> 1
    return found if last == 0 else None


def read_key(text: str) -> VerifierKey:
    """Read a verifier key (C2SP signed-note). Raises ValueError."""
    name, key_id, encoded = text.strip().split("+", 2)
    public = base64.b64decode(encoded, validate=True)
    if public[:1] != ED25519:
        raise ValueError("the verifier key is of another kind than Ed25519")
    expected = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    if bytes.fromhex(key_id) != expected:
        raise ValueError("the verifier key does not fit its own id")
    return VerifierKey(name, expected, Ed25519PublicKey.from_public_bytes(public[1:]))


def main(arguments: list[str]) -> int:
    """Check the proof in a file against a verifier key."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        verifier = read_key(arguments[1])
        size, sealed = check(json.loads(Path(arguments[0]).read_text(encoding="utf-8")), verifier)
    except DoesNotHold as fault:
        print(f"DOES NOT HOLD: {fault}", file=sys.stderr)
        return 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        print(f"It cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(f"Holds: seal {sealed['number']}, made at {sealed['sealed_at']}, is one of the {size} seals")
    print(f"in the checkpoint of {verifier.name}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
