"""Answers of models: in memory while they are few, in files of their own once they are many."""

import tempfile
import weakref
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from forget_audit.rows import Floats, Rows

LIMIT = 512 * 2**20


class Known(weakref.WeakKeyDictionary[Rows, dict[Hashable, Floats]]):
    """Numbers by name about rows, for as long as the rows live; tasks of an engine get copies."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Known, (dict(self),)


class AnswersStore:
    """Keeps arrays of answers, and lets no more than so many bytes of them sit in memory.

    What does not fit is written to a temporary file and mapped back, page by page as it is read.
    The file has no name that outlives the process, so that answers on forgotten rows are not left
    behind. It is as large as the answers: 8 bytes a model, row and class.

    Args:
        limit: Bytes of all arrays kept in memory at a time.
        folder: Where the files are; that of temporary files if left out, which should not be
            memory itself.
    """

    def __init__(self, limit: int = LIMIT, folder: Path | None = None) -> None:
        self.limit, self.folder = limit, folder
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes of the arrays in memory that are still in use."""
        return self._held

    def keep(self, array: Floats) -> Floats:
        """Return an array of the same numbers, read-only; the given one must not be changed."""
        if array.size and self._held + array.nbytes > self.limit:
            return self._mapped(array)
        array.flags.writeable = False
        self._held += array.nbytes
        weakref.finalize(array, self._let_go, array.nbytes)
        return array

    def _let_go(self, size: int) -> None:
        self._held -= size

    def _mapped(self, array: Floats) -> Floats:
        with tempfile.TemporaryFile(dir=self.folder) as file:
            np.ascontiguousarray(array).tofile(file)
            file.flush()
            mapped = np.memmap(file, dtype=array.dtype, mode="r", shape=array.shape)
        return np.asarray(mapped)
