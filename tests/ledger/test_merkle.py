"""RFC 6962: the reference vectors, a slow obvious tree, and what must hold for all sizes."""

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forget_audit.ledger import merkle

LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
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
A, B, C, D, E, F = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
)
G = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
INCLUSION: list[tuple[int, int, list[str]]] = [
    (0, 1, []), (0, 8, [A, B, C]), (5, 8, [D, E, ROOTS[4]]), (2, 3, [ROOTS[2]]),
    (1, 5, [ROOTS[1], B, D]),
]  # fmt: skip
CONSISTENCY: list[tuple[int, int, list[str]]] = [
    (1, 1, []), (1, 8, [A, B, C]), (6, 8, [F, E, ROOTS[4]]), (2, 5, [B, D]),
    (6, 7, [F, G, ROOTS[4]]),
]  # fmt: skip
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]
LARGEST = 40


def slow_root(data: list[bytes]) -> bytes:
    """The definition of RFC 6962 as it stands there."""
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = max(2**i for i in range(10) if 2**i < len(data))
    return sha256(b"\x01" + slow_root(data[:k]) + slow_root(data[k:])).digest()


def data(size: int) -> list[bytes]:
    return [f"leaf {i}".encode() for i in range(size)]


def hashes(size: int) -> list[bytes]:
    return [merkle.leaf_hash(item) for item in data(size)]


def test_roots_are_the_reference_roots() -> None:
    assert [merkle.root(LEAVES[:size]).hex() for size in range(9)] == list(ROOTS)
    assert merkle.EMPTY.hex() == ROOTS[0]


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_inclusion_paths_are_the_reference_paths(index: int, size: int, path: list[str]) -> None:
    found = merkle.inclusion_path(HASHES[:size], index)
    assert [item.hex() for item in found] == path
    root = bytes.fromhex(ROOTS[size])
    assert merkle.verify_inclusion(HASHES[index], index, size, found, root)


@pytest.mark.parametrize(("old", "size", "path"), CONSISTENCY)
def test_consistency_paths_are_the_reference_paths(old: int, size: int, path: list[str]) -> None:
    found = merkle.consistency_path(HASHES[:size], old)
    assert [item.hex() for item in found] == path
    roots = bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[size])
    assert merkle.verify_consistency(old, size, found, *roots)


def test_roots_agree_with_the_slow_tree_and_the_growing_one() -> None:
    growing = list(merkle.growing_roots(hashes(LARGEST)))
    for size in range(1, LARGEST + 1):
        expected = slow_root(data(size))
        assert merkle.root(data(size)) == expected
        assert growing[size - 1] == expected


def test_every_leaf_of_every_size_has_a_path_that_fits_nothing_else() -> None:
    for size in range(1, LARGEST + 1):
        leaves, root = hashes(size), slow_root(data(size))
        for index, leaf in enumerate(leaves):
            path = merkle.inclusion_path(leaves, index)
            assert merkle.verify_inclusion(leaf, index, size, path, root)
            assert not merkle.verify_inclusion(leaf, (index + 1) % (size + 1), size, path, root)
            assert not merkle.verify_inclusion(leaf, index, size, [*path, leaf], root)
            assert not path or not merkle.verify_inclusion(leaf, index, size, path[:-1], root)


def test_every_pair_of_sizes_has_a_path_that_fits_nothing_else() -> None:
    leaves = hashes(LARGEST)
    roots = [merkle.EMPTY, *merkle.growing_roots(leaves)]
    for size in range(LARGEST + 1):
        for old in range(size + 1):
            path = merkle.consistency_path(leaves[:size], old)
            assert merkle.verify_consistency(old, size, path, roots[old], roots[size])
            assert not merkle.verify_consistency(
                old, size, [*path, leaves[0]], roots[old], roots[size]
            )
            if 0 < old < size:
                assert not merkle.verify_consistency(old, size, path[:-1], roots[old], roots[size])
                assert not merkle.verify_consistency(old, size, path, roots[old - 1], roots[size])
                assert not merkle.verify_consistency(old, size, path, roots[old], roots[size - 1])
                assert not merkle.verify_consistency(old, size, [], roots[old], roots[size])
    assert not merkle.verify_consistency(3, 2, [], roots[3], roots[2])


@settings(max_examples=80, deadline=None)
@given(size=st.integers(1, LARGEST), draw=st.data())
def test_one_other_bit_or_leaf_breaks_paths(size: int, draw: st.DataObject) -> None:
    leaves = hashes(size)
    index = draw.draw(st.integers(0, size - 1))
    changed = list(leaves)
    changed[index] = merkle.leaf_hash(b"changed")
    root, other = merkle.tree_root(leaves), merkle.tree_root(changed)
    assert root != other
    path = merkle.inclusion_path(leaves, index)
    assert not merkle.verify_inclusion(leaves[index], index, size, path, other)
    old = draw.draw(st.integers(index + 1, size))
    path = merkle.consistency_path(changed, old)
    assert not merkle.verify_consistency(old, size, path, merkle.tree_root(leaves[:old]), other)
    if path:
        place, bit = draw.draw(st.integers(0, len(path) - 1)), draw.draw(st.integers(0, 255))
        whole = int.from_bytes(path[place], "big") ^ (1 << bit)
        path[place] = whole.to_bytes(32, "big")
        assert not merkle.verify_consistency(
            old, size, path, merkle.tree_root(changed[:old]), other
        )


def test_leaves_and_nodes_cannot_be_taken_for_each_other() -> None:
    pair = hashes(2)
    assert merkle.leaf_hash(pair[0] + pair[1]) != merkle.tree_root(pair)
    assert all(one != other for one, other in pairwise(sorted(hashes(LARGEST))))


def test_odd_lengths_and_places_are_refused() -> None:
    leaves = hashes(3)
    root = merkle.tree_root(leaves)
    assert not merkle.verify_inclusion(leaves[0], -1, 3, [], root)
    assert not merkle.verify_inclusion(leaves[0], 0, 3, [b"short", leaves[2]], root)
    assert not merkle.verify_consistency(1, 3, [b"short"], leaves[0], root)
    for index in (-1, 3):
        with pytest.raises(IndexError, match="below 3"):
            merkle.inclusion_path(leaves, index)
    for size in (-1, 4):
        with pytest.raises(IndexError, match="up to 3"):
            merkle.consistency_path(leaves, size)
