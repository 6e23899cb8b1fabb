"""Features that stay where they are until rows are asked for: on disk, or behind a user's Dataset.

A `Streamed` stands wherever an array of features does. Slices and index arrays read the rows they
name; converting it with `numpy.asarray` reads them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]


class Items(Protocol):
    """A map-style data set: a torch `Dataset`, a sequence, a memory-mapped array."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Streamed:
    """Rows of features that are read when they are asked for.

    Args:
        items: Gives one row at a time; of a pair such as `(image, label)` the first counts.
        index: Positions in `items` of the rows of this view `(n,)`; all if left out.
        row_shape: Shape of a row; that of the first one, which is read for it, if left out.

    Raises:
        ValueError: If there are no rows.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        items: Items,
        index: Index | None = None,
        row_shape: tuple[int, ...] | None = None,
    ) -> None:
        self._items = items
        self._index = np.arange(len(items)) if index is None else index
        if not len(items):
            raise ValueError("expected at least one row to stream, found none")
        self._row_shape = self._row(0).shape if row_shape is None else row_shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, then the shape of one."""
        return (len(self._index), *self._row_shape)

    @property
    def ndim(self) -> int:
        """Number of axes, rows included."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[Features]:
        return (self._row(int(position)) for position in self._index)

    def __getitem__(self, wanted: Any) -> Features:
        chosen = self._index[wanted]
        if np.ndim(chosen) == 0:
            return self._row(int(chosen))
        rows = np.empty((len(chosen), *self.shape[1:]), dtype=np.float32)
        for place, position in enumerate(chosen):
            rows[place] = self._row(int(position))
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("streamed rows have to be read to become an array")
        return self[:].astype(dtype or np.float32, copy=False)

    def take(self, index: npt.NDArray[Any]) -> Streamed:
        """Return a view of the rows at `index` (positions or a mask), without reading them."""
        return Streamed(self._items, self._index[index], self._row_shape)

    @staticmethod
    def concat(parts: Sequence[Streamed]) -> Streamed:
        """Return a view of the rows of all `parts`, one after the other."""
        first = parts[0]
        if all(part._items is first._items for part in parts):
            index = np.concatenate([part._index for part in parts])
            return Streamed(first._items, index, first._row_shape)
        return Streamed(_Chain(parts), row_shape=first._row_shape)

    def _row(self, position: int) -> Features:
        item = self._items[position]
        row = item[0] if isinstance(item, tuple) else item
        return np.asarray(row, dtype=np.float32)


def as_stream(x: object) -> Streamed | None:
    """Return `x` if it is read when asked for, and nothing if it is an array in memory."""
    return x if isinstance(x, Streamed) else None


def pick(x: Features, index: npt.NDArray[Any]) -> Features:
    """Return the rows of `x` at `index`; of streamed rows a view, which reads nothing."""
    stream = as_stream(x)
    view: Any = stream.take(index) if stream is not None else x[index]
    taken: Features = view
    return taken


class _Chain:
    """Several streams, one after the other."""

    def __init__(self, parts: Sequence[Streamed]) -> None:
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Features:
        part = int(np.searchsorted(self._ends, index, side="right"))
        before = int(self._ends[part - 1]) if part else 0
        return self._parts[part][index - before]
