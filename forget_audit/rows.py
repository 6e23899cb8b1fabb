"""Rows: features, labels, ids and the people they belong to, read-only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.errors import CaseError
from forget_audit.row_forms import FORMS
from forget_audit.streaming import Features, Streamed, as_stream, pick

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Ids = npt.NDArray[np.str_]

LAST_CHARACTER = 0x10FFFF
BLOCK = 1 << 16  # bytes of features that are looked at together
UNKNOWN = -1  # a label of a label matrix that nobody may learn from


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy of `array` that cannot be written to; one that is read-only is kept."""
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Labelled rows with stable ids.

    Args:
        x: Features `(n, ...)`, float32: an array, or `Streamed`, which reads rows when asked.
        y: Labels, int64: classes `(n,)`, or for heads of several labels a matrix
            `(n, labels)` of 0, 1 and `UNKNOWN`.
        ids: Distinct ids `(n,)`, text.
        units: The person, or other unit, that each row belongs to `(n,)`, text; every row is a
            unit of its own if left out.

    Raises:
        CaseError: If lengths differ, features or labels are no numbers, labels are not whole, an id
            is missing or occurs twice, or a matrix holds other numbers.
    """

    x: Features
    y: Labels
    ids: Ids
    units: Ids | None = None

    def __post_init__(self) -> None:
        for name, (what, convert) in FORMS.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, Streamed):
                object.__setattr__(self, name, read_only(convert(value, what)))
        if not len(self.x) == len(self.y) == len(self.ids):
            raise CaseError(
                "features, labels and ids must have one entry a row, "
                f"found {len(self.x)}, {len(self.y)} and {len(self.ids)}"
            )
        for name, texts in (("ids", self.ids), ("units", self.units)):
            if texts is not None and not is_text(np.asarray(texts, dtype=np.str_)):
                raise CaseError(f"row {name} must be text in Unicode, found other characters")
        if len(np.unique(self.ids)) != len(self.ids):
            values, counts = np.unique(self.ids, return_counts=True)
            raise CaseError(f"row ids must be distinct, found {str(values[counts > 1][0])!r} twice")
        if self.units is not None and len(self.units) != len(self.ids):
            raise CaseError(f"expected the unit of {len(self)} rows, found {len(self.units)}")
        if self.y.ndim > 2 or (self.y.ndim == 2 and not np.isin(self.y, (UNKNOWN, 0, 1)).all()):
            raise CaseError(
                "expected classes (n,) or a label matrix (n, labels) of 0, 1 and -1 for unknown, "
                f"found shape {self.y.shape} with values {np.unique(self.y)[:5].tolist()}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        people = "" if self.units is None else f" of {len(set(self.units.tolist()))} people"
        return f"Rows({len(self)} rows{people}, features {self.x.shape[1:]})"

    def take(self, index: npt.NDArray[Any]) -> Rows:
        """Return the rows at `index` (positions or a mask), in that order."""
        units = None if self.units is None else self.units[index]
        part = Rows(x=pick(self.x, index), y=self.y[index], ids=self.ids[index], units=units)
        if "contents" in self.__dict__:
            part.__dict__["contents"] = self.contents[index]
        return part

    def replace(self, **changes: Any) -> Rows:
        """Return a copy with some fields changed."""
        changed = dataclasses.replace(self, **changes)
        if "x" not in changes and "contents" in self.__dict__:
            changed.__dict__["contents"] = self.contents
        return changed

    @property
    def groups(self) -> Ids:
        """The unit of each row `(n,)`: the given one, or the row's own id."""
        return self.ids if self.units is None else self.units

    @cached_property
    def contents(self) -> npt.NDArray[np.bytes_]:
        """SHA-256 in hexadecimal of the features of each row `(n,)`; every row is read for it.

        Raises:
            CaseError: If a row holds a number that is not finite.
        """
        found: list[str] = []
        odd: list[str] = []
        wide = int(np.prod(self.x.shape[1:], dtype=np.int64)) * self.x.dtype.itemsize
        step = max(1, BLOCK // max(1, wide))
        for start in range(0, len(self), step):
            block = np.ascontiguousarray(self.x[start : start + step])
            block = block + np.float32(0)  # zero is zero, whatever its sign
            found += [sha256(row.tobytes()).hexdigest() for row in block]
            sound = np.isfinite(block).all(axis=tuple(range(1, block.ndim)))
            odd += self.ids[start : start + step][~sound].tolist()
        if odd:
            raise CaseError(
                f"features must be finite float32 numbers, found NaN, infinities or larger numbers "
                f"in {len(odd)} rows (first: {odd[0]}); drop these rows, or fill and scale them"
            )
        return np.array(found, dtype="S64")

    def numbered(self) -> tuple[int, Labels]:
        """Return the number of units, and that of each row `(n,)` in order of their first rows."""
        if self.units is None:
            return len(self), np.arange(len(self))
        number = unit_numbers(self.units)
        return int(number.max(initial=-1)) + 1, number

    @staticmethod
    def concat(*parts: Rows) -> Rows:
        """Return the rows of all `parts`, one after the other."""
        streams = [stream for part in parts if (stream := as_stream(part.x)) is not None]
        x: Any = Streamed.concat(streams) if len(streams) == len(parts) else None
        units = [part.units for part in parts if part.units is not None]
        whole = Rows(
            x=np.concatenate([part.x for part in parts]) if x is None else x,
            y=np.concatenate([part.y for part in parts]),
            ids=np.concatenate([part.ids for part in parts]),
            units=np.concatenate(units) if len(units) == len(parts) else None,
        )
        if all("contents" in part.__dict__ for part in parts):
            whole.__dict__["contents"] = np.concatenate([part.contents for part in parts])
        return whole


def is_text(names: npt.NDArray[Any]) -> bool:
    """Say whether an array of text holds characters of Unicode alone, and no halves of them.

    numpy stores whatever number a file gives, and breaks later, when it becomes text of Python.
    """
    if not names.size or not names.dtype.itemsize:
        return True
    native = np.ascontiguousarray(names.astype(names.dtype.newbyteorder("="), copy=False))
    points = native.reshape(-1).view(np.uint32)
    halves = (points >= 0xD800) & (points < 0xE000)
    return not bool(np.any(halves | (points > LAST_CHARACTER)))


def unit_numbers(names: Ids) -> Labels:
    """Return the number of the unit behind each row, from 0 in order of their first rows."""
    _, first, number = np.unique(names, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[number])
