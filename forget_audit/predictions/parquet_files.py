"""Recorded answers from Parquet, for which pyarrow is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from forget_audit.errors import MissingDependency
from forget_audit.predictions.arrays import Arrays, check_number, refused
from forget_audit.predictions.tables import (
    EMPTY_CELL,
    Coded,
    Table,
    check_version,
    checked,
    in_order,
    named,
    texts_of,
    to_arrays,
)
from forget_audit.types import Floats

KEY = b"forget-audit-predictions"


def read_parquet(path: Path) -> Arrays:
    """Read a Parquet table.

    Raises:
        MissingDependency: Without pyarrow.
        PredictionsError: If it is no such table, or too large.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingDependency(
            'reading Parquet needs pyarrow: pip install "forget-audit[parquet]"'
        ) from error
    try:
        with ParquetFile(path) as file:
            names, lines = list(file.schema_arrow.names), file.metadata.num_rows
            mark = (file.schema_arrow.metadata or {}).get(KEY)
        kind, columns = checked(names)
        check_number(path.name, len(names) * lines)
        if mark is not None:
            check_version(path.name, mark.decode("ascii", "replace"))
        texts = texts_of(names)
        with ParquetFile(path, read_dictionary=texts) as file:
            content = file.read()
        content.validate(full=True)  # Arrow itself believes the numbers of its dictionaries
        table = Table(
            kind=kind,
            texts={name: _encoded(name, content.column(name)) for name in texts},
            labels=_numbers("label", content.column("label")),
            answers=np.stack([_numbers(name, content.column(name)) for name in columns], axis=1),
        )
    except (ArrowException, OSError, ValueError, TypeError, NotImplementedError) as error:
        raise refused(path.name, f"cannot be read as Parquet: {_line(error)}") from error
    return to_arrays(table)


def _numbers(name: str, column: Any) -> Floats:
    from pyarrow import types

    if not (types.is_integer(column.type) or types.is_floating(column.type)):
        raise refused(f"column {name}", f"expected numbers, found type {column.type}")
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _encoded(name: str, column: Any) -> Coded:
    """Return the texts of a column, numbered in order of appearance."""
    import pyarrow as pa

    if column.null_count:
        raise refused(f"column {name}", EMPTY_CELL)
    if not pa.types.is_dictionary(column.type):
        if not (pa.types.is_integer(column.type) or pa.types.is_string(column.type)):
            message = f"expected text or whole numbers, found type {column.type}"
            raise refused(f"column {name}", message)
        column = column.cast(pa.string()).dictionary_encode()
    found = column.unify_dictionaries().combine_chunks()
    texts = [str(text) for text in found.dictionary.to_pylist()]
    codes = found.indices.to_numpy().astype(np.int64)
    ordered, first = in_order(codes)
    return ordered, named(name, (texts[code] for code in codes[first]))


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
