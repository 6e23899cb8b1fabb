"""Finding many strings in a text at once: thousands of ids cost little more than one."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
BASE = 0x9E3779B97F4A7C15
WORD = 1 << 64
LEADING = 20
SHIFT = np.uint64(64 - LEADING)
SHORT = 12
FEWEST_CHARACTERS, FEWEST_DIGITS = 4, 6


def searchable(text: str) -> bool:
    """Say whether finding `text` would mean anything: very short strings stand everywhere."""
    return len(text) >= (FEWEST_DIGITS if text.isdigit() else FEWEST_CHARACTERS)


def as_bytes(text: str) -> bytes:
    """Return `text` in UTF-8; bytes that came in as stray surrogates come out as they were."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


class Needles:
    """Strings to look for, by rolling hash (Karp and Rabin, 1987); every hit is checked.

    A string of fewer than 12 characters counts only where it stands alone: short ids occur by
    chance inside digests and numbers. `12345678` is thus not found in `0.12345678`.

    Args:
        texts: What to look for; those that are not `searchable` are left out.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        known: dict[int, dict[int, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        for text in dict.fromkeys(texts):
            if searchable(text):
                needle = as_bytes(text)
                known[len(needle)][_hash(needle)].append(needle)
        self._known = {length: (_marked(hashes), hashes) for length, hashes in known.items()}

    def find(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield where each needle occurs first in `text`: its place in UTF-8, and the needle."""
        data = as_bytes(text)
        if not self._known or not data:
            return
        powers, inverses = _powers(len(data))
        sums = np.zeros(len(data) + 1, dtype=np.uint64)
        np.cumsum(np.frombuffer(data, dtype=np.uint8).astype(np.uint64) * powers, out=sums[1:])
        for length, (marked, known) in self._known.items():
            if length > len(data):
                continue
            windows = (sums[length:] - sums[:-length]) * inverses[: len(data) - length + 1]
            seen: set[bytes] = set()
            for place in np.flatnonzero(marked[windows >> SHIFT]).tolist():
                for needle in known.get(int(windows[place]), ()):
                    if needle not in seen and _stands(data, place, needle):
                        seen.add(needle)
                        yield place, needle.decode("utf-8", "surrogateescape")


def _stands(data: bytes, place: int, needle: bytes) -> bool:
    """Say whether `needle` is at `place`, and alone there if it is short."""
    end = place + len(needle)
    if data[place:end] != needle:
        return False
    if len(needle) >= SHORT:
        return True
    before, after = data[max(place - 2, 0) : place], data[end : end + 2]
    if needle[:1].isalnum() and before[-1:].isalnum():
        return False
    if needle[-1:].isalnum() and after[:1].isalnum():
        return False
    decimal = needle.isdigit() and (
        (before[-1:] == b"." and before[:1].isdigit())
        or (after[:1] == b"." and after[1:].isdigit())
    )
    return not decimal


def _marked(hashes: Iterable[int]) -> npt.NDArray[np.bool_]:
    """Return which leading bits the hashes have: a table that sorts out nearly every place."""
    marked = np.zeros(1 << LEADING, dtype=np.bool_)
    marked[np.array(list(hashes), dtype=np.uint64) >> SHIFT] = True
    return marked


def _hash(data: bytes) -> int:
    found = 0
    for value in reversed(data):
        found = (found * BASE + value) % WORD
    return found


@lru_cache(maxsize=1)
def _table(size: int) -> tuple[Hashes, Hashes]:
    found = []
    for ratio in (BASE, pow(BASE, -1, WORD)):
        steps = np.full(size, ratio, dtype=np.uint64)
        steps[0] = 1
        found.append(np.multiply.accumulate(steps))
    return found[0], found[1]


def _powers(size: int) -> tuple[Hashes, Hashes]:
    """Return `size` powers of the base and of its inverse modulo 2^64."""
    powers, inverses = _table(max(1 << (size - 1).bit_length(), 1 << 20))
    return powers[:size], inverses[:size]
