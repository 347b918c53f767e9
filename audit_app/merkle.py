"""Merkle trees (RFC 6962, section 2.1): one hash for many, and a short proof that one of them is among them.

Everything is bytes; hashes are SHA-256, 32 bytes. The prefixes keep a leaf from passing for a node.
"""

import hashlib
from collections.abc import Iterable, Sequence

_LEAF, _NODE = b"\x00", b"\x01"
_HASH_BYTES = 32


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


class GrowingTree:
    """Keep the root of a tree to which leaves are added, in memory that grows with the tree's height alone.

    Kept are the roots of the whole subtrees, the largest first: one for each bit of the size that is set (the compact
    range of the tree).
    """

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Go on from a tree of this size. Raises ValueError where these cannot be its hashes."""
        if size < 0 or len(hashes) != size.bit_count() or any(len(one) != _HASH_BYTES for one in hashes):
            raise ValueError("These are not the hashes of a tree of this size.")
        self.size = size
        self.hashes = list(hashes)

    def add(self, data: bytes) -> None:
        """Add a leaf: two subtrees of one size become one."""
        right, rest = leaf(data), self.size
        while rest & 1:
            right, rest = node(self.hashes.pop(), right), rest >> 1
        self.hashes.append(right)
        self.size += 1

    def root(self) -> bytes:
        """Return what `root()` of all leaves is."""
        if not self.hashes:
            return root([])
        found = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            found = node(left, found)
        return found


def beside(index: int, size: int) -> list[range]:
    """Return the leaves below each hash of `path()`, the lowest first (section 2.1.1)."""
    start, stop, found = 0, size, []
    while stop - start > 1:
        split = start + (1 << (stop - start - 1).bit_length() - 1)
        if index < split:
            found.append(range(split, stop))
            stop = split
        else:
            found.append(range(start, split))
            start = split
    return found[::-1]


def _above(level: Sequence[bytes]) -> list[bytes]:
    """The next level: two and two are one, and the last, where nothing stands beside it, goes up as it is.

    That makes the same trees as section 2.1, which splits at the largest power of two below the size.
    """
    odd = level[-1:] if len(level) % 2 else []
    return [*map(node, level[::2], level[1::2]), *odd]
