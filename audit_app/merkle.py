"""Merkle trees (RFC 6962, section 2.1): one hash for many, and a short proof that one of them is among them.

Everything is bytes; hashes are SHA-256, 32 bytes. The prefixes keep a leaf from passing for a node.
"""

import hashlib
from collections.abc import Iterable, Sequence

_LEAF, _NODE = b"\x00", b"\x01"


def leaf(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(_LEAF + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two that stand side by side."""
    return hashlib.sha256(_NODE + left + right).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """The hash of the tree over these leaves; that of none is the hash of the empty string."""
    level = [leaf(data) for data in leaves]
    while len(level) > 1:
        level = _above(level)
    return level[0] if level else hashlib.sha256(b"").digest()


def path(leaves: Iterable[bytes], index: int) -> list[bytes]:
    """The hashes beside the way from a leaf up to the root, the lowest first (section 2.1.1)."""
    level, found = [leaf(data) for data in leaves], []
    while len(level) > 1:
        beside = index ^ 1
        if beside < len(level):
            found.append(level[beside])
        level, index = _above(level), index >> 1
    return found


def _above(level: Sequence[bytes]) -> list[bytes]:
    """The next level: two and two are one, and the last, where nothing stands beside it, goes up as it is.

    That makes the same trees as section 2.1, which splits at the largest power of two below the size.
    """
    odd = level[-1:] if len(level) % 2 else []
    return [*map(node, level[::2], level[1::2]), *odd]
