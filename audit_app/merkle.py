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


class Growing:
    """A tree that leaves are added to, in as much memory as it has levels."""

    def __init__(self) -> None:
        self.size = 0
        self._complete: list[bytes] = []
        """The roots of the complete trees that it is made of so far, the largest first."""

    def add(self, data: bytes) -> None:
        """One more leaf. Two complete trees of one size become one: as many as the count has zeros to carry over."""
        found, carried = leaf(data), self.size
        while carried & 1:
            found, carried = node(self._complete.pop(), found), carried >> 1
        self._complete.append(found)
        self.size += 1

    def root(self) -> bytes:
        """The tree's hash; that of nothing is the hash of the empty string."""
        if not self._complete:
            return hashlib.sha256(b"").digest()
        found = self._complete[-1]
        for left in reversed(self._complete[:-1]):
            found = node(left, found)
        return found


def root(leaves: Iterable[bytes]) -> bytes:
    """The hash of the tree over these leaves."""
    tree = Growing()
    for data in leaves:
        tree.add(data)
    return tree.root()


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes beside the way from a leaf up to the root, the lowest first (section 2.1.1)."""
    size = len(leaves)
    if size == 1:
        return []
    left = 1 << ((size - 1).bit_length() - 1)
    if index < left:
        return [*path(leaves[:left], index), root(leaves[left:])]
    return [*path(leaves[left:], index - left), root(leaves[:left])]
