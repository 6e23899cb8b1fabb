"""Reads UBJSON, the binary JSON in which XGBoost keeps models, without trusting a byte of it.

The format: https://ubjson.org. XGBoost's own reader can crash on a damaged file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

DEEPEST = 64
NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
CONSTANTS = {"Z": None, "T": True, "F": False}


def loads(data: bytes) -> Any:
    """Return the value that `data` holds; typed arrays become lists of numbers.

    Raises:
        ValueError: If `data` is damaged, nested too deeply, or has bytes left over.
    """
    reader = _Reader(data)
    value = reader.value(reader.mark(), 0)
    if reader.place != len(data):
        raise ValueError(f"{len(data) - reader.place} bytes are left over")
    return value


class _Reader:
    """A place in the bytes, which only moves on, and never past the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, length: int) -> bytes:
        if not 0 <= length <= len(self.data) - self.place:
            raise ValueError(f"it ends at byte {len(self.data)}, within a value")
        self.place += length
        return self.data[self.place - length : self.place]

    def mark(self) -> str:
        while (mark := self.take(1).decode("latin-1")) == "N":
            pass
        return mark

    def value(self, mark: str, depth: int) -> Any:
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        if mark in CONSTANTS:
            return CONSTANTS[mark]
        if mark in NUMBERS:
            return self.numbers(mark, 1)[0]
        if mark == "S":
            return self.text()
        if mark == "C":
            return self.take(1).decode("ascii")
        if mark == "[":
            return self.array(depth)
        if mark == "{":
            return self.table(depth)
        raise ValueError(f"unknown mark {mark!r} before byte {self.place}")

    def numbers(self, mark: str, count: int) -> list[Any]:
        kind = np.dtype(NUMBERS[mark])
        values: list[Any] = np.frombuffer(self.take(count * kind.itemsize), kind).tolist()
        return values

    def length(self) -> int:
        mark = self.mark()
        if mark not in "iUIlL":
            raise ValueError(f"expected a length before byte {self.place}, found mark {mark!r}")
        length = int(self.numbers(mark, 1)[0])
        if length < 0:
            raise ValueError(f"found the length {length} before byte {self.place}")
        return length

    def text(self) -> str:
        return self.take(self.length()).decode("utf-8")

    def head(self) -> tuple[str | None, int | None]:
        """Return the type and the number of what follows, where they are given."""
        kind = None
        if self.peeks("$"):
            kind = self.mark()
            if kind in CONSTANTS:  # values that take no bytes: as many as a number says
                raise ValueError(f"expected values with a type of their own, found {kind!r}")
            if not self.peeks("#"):
                raise ValueError(f"a type stands without a number before byte {self.place}")
            return kind, self.length()
        return None, self.length() if self.peeks("#") else None

    def peeks(self, mark: str) -> bool:
        found = self.data[self.place : self.place + 1] == mark.encode()
        self.place += found
        return found

    def array(self, depth: int) -> list[Any]:
        kind, count = self.head()
        if kind in NUMBERS and count is not None:
            return self.numbers(kind, count)
        values: list[Any] = []
        self._each(kind, count, "]", lambda mark: values.append(self.value(mark, depth + 1)))
        return values

    def table(self, depth: int) -> dict[str, Any]:
        kind, count = self.head()
        values: dict[str, Any] = {}

        def keep(name: str, mark: str) -> None:
            if name in values:
                raise ValueError(f"{name!r} stands twice in a table")
            values[name] = self.value(mark, depth + 1)

        if count is not None:
            self._bounded(count)
            for _ in range(count):
                name = self.text()
                keep(name, kind or self.mark())
            return values
        while not self.peeks("}"):
            name = self.text()
            keep(name, self.mark())
        return values

    def _each(
        self, kind: str | None, count: int | None, end: str, keep: Callable[[str], None]
    ) -> None:
        if count is not None:
            self._bounded(count)
            for _ in range(count):
                keep(kind or self.mark())
            return
        while not self.peeks(end):
            keep(self.mark())

    def _bounded(self, count: int) -> None:
        """Refuse more values than there are bytes: each would be a number made of nothing."""
        if count > len(self.data) - self.place:
            raise ValueError(f"it ends at byte {len(self.data)}, within a value")
