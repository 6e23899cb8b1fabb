"""Merkle trees as RFC 6962 defines them: roots, inclusion paths and consistency paths.

A leaf is known by its hash, which `leaf_hash` makes from its data; only `root` takes data itself.
Hashes are 32 bytes. With a path of a few hashes, one entry can be shown to be in a tree, or a tree
to be the beginning of a larger one, without the other entries.

References:
    RFC 6962, section 2.1; the checks of paths are those of RFC 9162, sections 2.1.3 and 2.1.4.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256

EMPTY = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf that holds `data`."""
    return sha256(b"\x00" + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaves that hold this data."""
    return tree_root([leaf_hash(data) for data in leaves])


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaves of these hashes."""
    level = list(hashes)
    while len(level) > 1:
        pairs = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[2 * len(pairs) :]
    return level[0] if level else EMPTY


def growing_roots(hashes: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the root over the first leaf, the first two, and so on: n log n steps in all."""
    peaks: list[tuple[int, bytes]] = []
    for leaf in hashes:
        height, top = 0, leaf
        while peaks and peaks[-1][0] == height:
            height, top = height + 1, _node(peaks.pop()[1], top)
        peaks.append((height, top))
        whole = peaks[-1][1]
        for _, peak in reversed(peaks[:-1]):
            whole = _node(peak, whole)
        yield whole


def inclusion_path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the hashes that lead from leaf `index` to the root.

    Raises:
        IndexError: If there is no such leaf.
    """
    if not 0 <= index < len(hashes):
        raise IndexError(f"expected an index below {len(hashes)}, found {index}")
    if len(hashes) == 1:
        return []
    split = _split(len(hashes))
    left, right = hashes[:split], hashes[split:]
    if index < split:
        return [*inclusion_path(left, index), tree_root(right)]
    return [*inclusion_path(right, index - split), tree_root(left)]


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root_hash: bytes
) -> bool:
    """Say whether `path` shows that `leaf` is leaf `index` of the tree of that size and root."""
    if not 0 <= index < size or not all(len(item) == 32 for item in (leaf, *path)):
        return False
    place, last, found = index, size - 1, leaf
    for item in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = _node(item, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = _node(found, item)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root_hash


def consistency_path(hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return the hashes that show that the first `old_size` leaves have stayed what they were.

    Raises:
        IndexError: If there are not that many leaves.
    """
    if not 0 <= old_size <= len(hashes):
        raise IndexError(f"expected a size up to {len(hashes)}, found {old_size}")
    return _consistency(hashes, old_size, whole=True) if old_size else []


def verify_consistency(
    old_size: int, size: int, path: Sequence[bytes], old_root: bytes, root_hash: bytes
) -> bool:
    """Say whether `path` shows that the tree of `old_size` is the beginning of that of `size`."""
    if not 0 <= old_size <= size or not all(len(item) == 32 for item in path):
        return False
    if old_size in (0, size):
        expected = EMPTY if old_size == 0 else root_hash
        return not path and old_root == expected
    items = [old_root, *path] if old_size & (old_size - 1) == 0 else list(path)
    if not items:
        return False
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = items[0]
    for item in items[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = _node(item, old), _node(item, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = _node(new, item)
        place, last = place >> 1, last >> 1
    return last == 0 and old == old_root and new == root_hash


def _consistency(hashes: Sequence[bytes], old_size: int, *, whole: bool) -> list[bytes]:
    """Return the path; `whole` says whether the old tree is known by its root."""
    if old_size == len(hashes):
        return [] if whole else [tree_root(hashes)]
    split = _split(len(hashes))
    left, right = hashes[:split], hashes[split:]
    if old_size <= split:
        return [*_consistency(left, old_size, whole=whole), tree_root(right)]
    return [*_consistency(right, old_size - split, whole=False), tree_root(left)]


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
