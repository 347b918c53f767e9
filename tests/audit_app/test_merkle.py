"""Merkle trees, against the vectors of RFC 6962's authors and a verifier of another make."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_app import merkle

# The leaves and roots that the reference implementation of Certificate Transparency is tested with.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
# Of the same: the way up from a leaf of a tree.
PATHS = {
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}


def as_written(leaves: list[bytes]) -> bytes:
    """Section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = next(size for size in (1 << bit for bit in range(32)) if size < len(leaves) <= 2 * size)
    return hashlib.sha256(b"\x01" + as_written(leaves[:k]) + as_written(leaves[k:])).digest()


def climbed(data: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """The root that a path leads to (RFC 9162, section 2.1.3.2), or None where it has another length than it must."""
    found, fn, sn = hashlib.sha256(b"\x00" + data).digest(), index, size - 1
    for beside in path:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            found = hashlib.sha256(b"\x01" + beside + found).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = hashlib.sha256(b"\x01" + found + beside).digest()
        fn, sn = fn >> 1, sn >> 1
    return found if sn == 0 else None


@pytest.mark.parametrize("size", range(9))
def test_has_the_known_roots(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_has_the_known_paths(index: int, size: int) -> None:
    assert [one.hex() for one in merkle.path(LEAVES[:size], index)] == list(PATHS[index, size])


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_is_the_tree_that_the_standard_writes_down(leaves: list[bytes]) -> None:
    assert merkle.root(leaves) == as_written(leaves)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=70), st.data())
def test_a_path_leads_from_its_leaf_to_the_root_and_from_no_other(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    path, root = merkle.path(leaves, index), merkle.root(leaves)
    assert climbed(leaves[index], index, len(leaves), path) == root
    assert climbed(leaves[index] + b"x", index, len(leaves), path) != root
    assert climbed(leaves[index], index, len(leaves), [*path, root]) != root
    for at in range(len(path)):
        other = [*path[:at], hashlib.sha256(path[at]).digest(), *path[at + 1 :]]
        assert climbed(leaves[index], index, len(leaves), other) != root


def test_a_path_is_as_long_as_the_tree_is_high() -> None:
    leaves = [bytes([n % 256, n // 256]) for n in range(10_000)]
    assert len(merkle.path(leaves, 0)) == 14
    lengths = [len(merkle.path(leaves[:size], size - 1)) for size in (1, 2, 4, 8, 16)]
    assert all(longer == shorter + 1 for shorter, longer in pairwise(lengths))


def test_a_leaf_does_not_pass_for_a_node() -> None:
    left, right = merkle.leaf(b"a"), merkle.leaf(b"b")
    assert merkle.root([b"a", b"b"]) != merkle.root([left + right])
    assert merkle.root([b"a", b"b"]) != merkle.root([b"b", b"a"])


def test_a_tree_that_grows_has_the_roots_of_a_whole_one() -> None:
    leaves, tree = [bytes([n]) for n in range(70)], merkle.GrowingTree()
    assert tree.root() == as_written([])
    for size in range(1, 71):
        tree.add(leaves[size - 1])
        assert (tree.size, tree.root()) == (size, as_written(leaves[:size]))
        # It goes on from what is kept of it.
        tree = merkle.GrowingTree(tree.size, tree.hashes)


def test_the_leaves_beside_a_path_have_its_hashes() -> None:
    leaves = [bytes([n]) for n in range(70)]
    for size in range(1, 71):
        for index in range(size):
            found = [as_written(leaves[one.start : one.stop]) for one in merkle.beside(index, size)]
            assert found == merkle.path(leaves[:size], index)


@pytest.mark.parametrize(("size", "hashes"), [(-1, []), (0, [bytes(32)]), (3, [bytes(32)]), (1, [bytes(31)])])
def test_refuses_to_go_on_from_what_is_no_tree(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(ValueError, match="not the hashes"):
        merkle.GrowingTree(size, hashes)
