"""Arrays of numbers from MATLAB files of versions 5 to 7, every number of which is checked.

scipy's reader trusts its files: a type that does not exist, or cells within cells, end in a
segmentation fault. Of the format (MathWorks, "MAT-File Format", level 5) only what holds plain
arrays is read here.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.packed import check_unpacked

HEADER, TAG = 128, 8
MATRIX, COMPRESSED = 14, 15
WHOLE, NATURAL, LETTERS = 5, 6, (1, 16)
STORED = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
CLASSES = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
OTHERS = {1: "cells", 2: "a structure", 3: "an object", 4: "text", 5: "a sparse matrix"}
COMPLEX = 0x0800


def read_matlab(path: Path, wanted: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Return arrays of numbers by name, in their own types and shapes.

    Args:
        path: The file.
        wanted: Names of arrays that must be there.

    Raises:
        ValueError: If the file is damaged or of another version, or one of them is missing, there
            twice, or no array of real numbers.
    """
    data = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[126:HEADER])
    if order is None or struct.unpack(f"{order}H", data[124:126]) != (0x0100,):
        raise ValueError("expected a MATLAB file of versions 5 to 7; save it with -v7")
    found: dict[str, npt.NDArray[Any]] = {}
    for content in _matrices(data, order):
        name, values = _matrix(content, order, wanted)
        if name in found:
            raise ValueError(f"expected each variable once, found {name!r} twice")
        if values is not None:
            found[name] = values
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise ValueError(f"it holds no variable {lacking[0]!r}")
    return found


def _matrices(data: bytes, order: str) -> Iterator[bytes]:
    """Yield the content of each variable, unpacked."""
    place = HEADER
    while place < len(data):
        kind, content, place = _element(data, place, order, pad=False)
        if kind == COMPRESSED:
            kind, content = _unpacked(content, order)
        if kind != MATRIX:
            raise ValueError(f"expected a variable, found an element of type {kind}")
        yield content


def _unpacked(packed: bytes, order: str) -> tuple[int, bytes]:
    """Unpack one element, no further than it says itself."""
    stream = zlib.decompressobj()
    tag = stream.decompress(packed, TAG)
    if len(tag) < TAG:
        raise ValueError("a variable ends before its content")
    kind, size = struct.unpack(f"{order}2I", tag)
    check_unpacked(size, len(packed))
    content = stream.decompress(stream.unconsumed_tail, size + 1)
    if len(content) != size or not stream.eof:
        raise ValueError(f"a variable gives {size:,} bytes and holds another number")
    return kind, content


def _element(data: bytes, place: int, order: str, *, pad: bool) -> tuple[int, bytes, int]:
    """Return type and content of the element at `place`, and where the next one begins."""
    if len(data) < place + TAG:
        raise ValueError(f"it ends at byte {len(data):,}, within an element")
    kind, size = struct.unpack(f"{order}2I", data[place : place + TAG])
    start = place + TAG
    if kind >> 16:  # up to four bytes stand within the tag itself
        kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
        after = place + TAG
    else:
        after = start + size + (-size % TAG if pad else 0)
    if start + size > min(after, len(data)):
        raise ValueError(f"an element of {size:,} bytes at byte {place:,} goes beyond its end")
    return kind, data[start : start + size], after


def _matrix(
    content: bytes, order: str, wanted: Sequence[str]
) -> tuple[str, npt.NDArray[Any] | None]:
    """Return name and values of a variable, no values if it is not wanted."""
    kind, flags, place = _element(content, 0, order, pad=True)
    if kind != NATURAL or len(flags) != TAG:
        raise ValueError("a variable has no flags")
    word = struct.unpack(f"{order}I", flags[:4])[0]
    kind, sizes, place = _element(content, place, order, pad=True)
    if kind != WHOLE or not sizes or len(sizes) % 4:
        raise ValueError("a variable has no shape")
    shape = tuple(np.frombuffer(sizes, f"{order}i4").tolist())
    kind, letters, place = _element(content, place, order, pad=True)
    if kind not in LETTERS:
        raise ValueError("a variable has no name")
    name = letters.decode("latin-1")
    if name not in wanted:
        return name, None
    own = CLASSES.get(word & 0xFF)
    if own is None or word & COMPLEX:
        what = "complex numbers" if own else OTHERS.get(word & 0xFF, "something else")
        raise ValueError(f"expected {name} of numbers, found {what}")
    kind, numbers, _ = _element(content, place, order, pad=True)
    if kind not in STORED:
        raise ValueError(f"{name} holds numbers of the type {kind}, which there is not")
    stored = np.dtype(f"{order}{STORED[kind]}")
    if min(shape) < 0 or math.prod(shape) * stored.itemsize != len(numbers):
        raise ValueError(f"{name} of shape {shape} holds {len(numbers):,} bytes of {stored.name}")
    values = np.frombuffer(numbers, stored).reshape(shape, order="F")
    with np.errstate(invalid="ignore", over="ignore"):
        made = values.astype(own)
    if not np.array_equal(made, values):
        raise ValueError(f"{name} holds numbers that are none of its type {np.dtype(own).name}")
    return name, made
