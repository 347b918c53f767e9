"""Checks that an event is among those that a seal was put on. Needs Python 3.11, `cryptography`, and nothing of ours.

    python check_proof.py PROOF PUBLIC_KEY

PROOF is what `manage.py audit_proof` prints. PUBLIC_KEY is the key as a PEM file, had from elsewhere than the proof:
the proof is only as good as the key. Ends with 0 where the proof holds, with 1 where it does not, with 2 where it
cannot be read.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

EVENT, SEAL = b"audit/v1\0", b"seal/v1\0"
LEAF, NODE = b"\x00", b"\x01"


class DoesNotHold(Exception):  # noqa: N818  it is the answer
    """Says what is wrong with a proof."""


def check(proof: dict[str, Any], key: Ed25519PublicKey) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the event and the seal say, both proved. Raises DoesNotHold; KeyError and the like for what is no proof."""
    event, path, seal = proof["event"], proof["path"], proof["seal"]
    event_text, seal_text = event["body"].encode(), seal["body"].encode()
    said, sealed = json.loads(event_text), json.loads(seal_text)

    before, digest = bytes.fromhex(event["prev_hash"]), bytes.fromhex(event["hash"])
    if len(before) != 32 or hashlib.sha256(EVENT + before + event_text).digest() != digest:
        raise DoesNotHold("The event's text is not what its hash was taken over.")
    if said["id"] != event["id"]:
        raise DoesNotHold("The event's text is of another event.")
    try:
        key.verify(bytes.fromhex(seal["signature"]), SEAL + seal_text)
    except InvalidSignature:
        raise DoesNotHold("The seal is not signed by this key.") from None
    if sealed["key_id"] != name_of(key) or sealed["number"] != seal["number"]:
        raise DoesNotHold("The seal's text is of another seal.")
    if path["size"] != sealed["size"] or not 0 <= path["index"] < path["size"]:
        raise DoesNotHold("The seal is over another number of events.")
    hashes = [bytes.fromhex(one) for one in path["hashes"]]
    if climbed(digest, path["index"], path["size"], hashes) != bytes.fromhex(sealed["root"]):
        raise DoesNotHold("The way from the event does not lead to the seal's root.")
    return said, sealed


def climbed(data: bytes, index: int, size: int, hashes: list[bytes]) -> bytes | None:
    """The root of the tree that a leaf and the hashes beside its way up lead to (RFC 9162, section 2.1.3.2)."""
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


def name_of(key: Ed25519PublicKey) -> str:
    """A key's id: the first 32 hexadecimal digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:32]


def main(arguments: list[str]) -> int:
    """Check the proof in a file against the key in another."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        proof = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        key = load_pem_public_key(Path(arguments[1]).read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError(f"{arguments[1]} holds another kind of key")
        said, sealed = check(proof, key)
    except DoesNotHold as fault:
        print(f"DOES NOT HOLD: {fault}", file=sys.stderr)
        return 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        print(f"It cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(f"Holds: event {said['id']} ({said['event_type']}, {said['at']}) was there when seal {sealed['number']} was")
    print(f"made at {sealed['sealed_at']}, by the key {sealed['key_id']}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
