"""Tables of the user's own: npz, csv and parquet, one row a record."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError, MissingDependency
from forget_audit.packed import MODEST, check_unpacked
from forget_audit.sources.checks import Table, is_number, make_dataset
from forget_audit.sources.files import reading, refuse_no_text, regular
from forget_audit.sources.npz import read_npz
from forget_audit.sources.options import ColumnOptions, TableOptions, read_options

LABEL = "label:"
LONGEST = 1000  # characters of a cell, in a long column


def npz(path: Path, options: Mapping[str, object]) -> Dataset:
    """Arrays of a numpy archive: x and y, perhaps ids, unit, split, subclass.

    `x` is `(n, ...)`; `y` holds classes, or is a matrix of 0 and 1 whose columns the array
    `labels` names. `columns` names the features, `classes` the classes.
    """
    checked = read_options(TableOptions, "npz", options)
    source, arrays = f"npz:{path.name}", read_npz(path)
    for name in ("x", "y"):
        if name not in arrays:
            found = ", ".join(arrays) or "none"
            raise CaseError(f"{source} holds no array {name!r}; found {found}")

    def either(*names: str) -> npt.NDArray[Any] | None:
        return next((arrays[name] for name in names if name in arrays), None)

    def texts(name: str) -> tuple[str, ...]:
        return tuple(map(str, arrays[name].ravel().tolist())) if name in arrays else ()

    table = Table(
        x=arrays["x"],
        y=arrays["y"],
        columns=texts("columns"),
        labels=texts("labels"),
        classes=texts("classes"),
        ids=either("ids", "id"),
        split=either("split"),
        units=either("unit", "units"),
        subclasses=either("subclass", "subclasses"),
    )
    dataset = make_dataset(source, table, checked)
    y = dataset.rows.y
    several = y.ndim == 2 and y.shape[1] > 1 and not table.labels
    if several and y.min() >= 0 and np.all(y.sum(axis=1) == 1):
        raise CaseError(
            f"{source}: one of each row's {y.shape[1]} labels is 1: if they are classes, store "
            "y.argmax(axis=1) instead; if they are labels, name them in an array labels"
        )
    return dataset


def read_csv(
    path: Path, delimiter: str = ",", long: str | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of a csv file, all of them text.

    Args:
        path: The file.
        delimiter: Between cells.
        long: A column of long texts, which is returned as Python's own.

    Raises:
        CaseError: If it is no table, a row has more or fewer cells than there are columns, or a
            column occurs twice.
    """
    regular(path, "a table")
    with reading(path.name, "a table of numbers", csv.Error):
        refuse_no_text(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [*csv.reader(file, delimiter=delimiter, strict=True)] or [[]]
    rows = [row for row in rows if row]
    once(path.name, header)
    uneven = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
    if uneven is not None:
        more = "more" if len(rows[uneven]) > len(header) else "fewer"
        raise CaseError(f"{path.name}: row {uneven + 1} has {more} cells than there are columns")
    return {
        name: _cells(path.name, name, [row[i] for row in rows], as_objects=name == long)
        for i, name in enumerate(header)
    }


def once(file: str, header: Sequence[str]) -> None:
    """Refuse names of columns that occur twice.

    Raises:
        CaseError: With one of them.
    """
    twice = sorted(name for name, count in Counter(header).items() if count > 1)
    if twice:
        raise CaseError(f"{file} has two columns called {twice[0]!r}")


def _cells(file: str, name: str, cells: list[str], *, as_objects: bool) -> npt.NDArray[Any]:
    """Return a column; numpy gives every cell the room of the longest one."""
    if as_objects:
        return np.array(cells, dtype=object)
    longest = max(map(len, cells), default=0)
    if 4 * longest * len(cells) > MODEST and longest > LONGEST:
        raise CaseError(f"{file}: column {name!r} has a cell of {longest:,} characters")
    return np.array(cells, dtype=np.str_)


def from_csv(path: Path, options: Mapping[str, object]) -> Dataset:
    """A CSV file: a column label, perhaps id, unit, split, subclass, and numbers in all others.

    Labels are whole numbers from 0, or names, which are numbered in order. Columns called
    `label:NAME` with 0 and 1 make a label matrix instead.
    """
    checked = read_options(ColumnOptions, "csv", options)
    return from_columns(f"csv:{path.name}", path.name, read_csv(path), checked)


def parquet(path: Path, options: Mapping[str, object]) -> Dataset:
    """A Parquet file, with columns as in a CSV file."""
    checked = read_options(ColumnOptions, "parquet", options)
    try:
        import pyarrow as pa
        from pyarrow import parquet as pq
    except ImportError as error:
        raise MissingDependency(
            'reading Parquet needs pyarrow: pip install "forget-audit[parquet]"'
        ) from error
    regular(path, "Parquet")
    with reading(path.name, "Parquet", pa.ArrowException, TypeError, NotImplementedError):
        with pq.ParquetFile(path) as file:
            schema, size = file.schema_arrow, path.stat().st_size
            texts = [f.name for f in schema if pa.types.is_string(f.type)]
            check_unpacked(file.metadata.num_rows * file.metadata.num_columns * 8, size)
        once(path.name, schema.names)
        nested = [field.name for field in schema if pa.types.is_nested(field.type)]
        if nested:
            raise ValueError(f"column {nested[0]!r} holds lists or records, expected one value")
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            content = file.read()
        content.validate(full=True)  # Arrow itself believes the numbers of its dictionaries
        columns = {
            name: _values(name, column, size)
            for name, column in zip(content.column_names, content.columns, strict=True)
        }
    return from_columns(f"parquet:{path.name}", path.name, columns, checked)


def _values(name: str, column: Any, size: int) -> npt.NDArray[Any]:
    """Return the values of a column in a file of `size` bytes."""
    if column.null_count:
        raise ValueError(f"column {name!r} has {column.null_count} empty cells")
    if not hasattr(column.type, "value_type"):
        values: npt.NDArray[Any] = column.to_numpy()
        return values.astype(np.str_) if values.dtype == object else values
    whole = column.unify_dictionaries().combine_chunks()
    known = whole.dictionary.to_numpy(zero_copy_only=False)
    if known.dtype == object:
        known = known.astype(np.str_)
    check_unpacked(known.dtype.itemsize * len(column), size)
    found: npt.NDArray[Any] = known[whole.indices.to_numpy()]
    return found


def from_columns(
    source: str, file: str, columns: Mapping[str, npt.NDArray[Any]], options: ColumnOptions
) -> Dataset:
    """Give the columns of a table their roles.

    Raises:
        CaseError: If there is no label, or a feature is no number.
    """
    rest = dict(columns)
    several = [name for name in rest if name.startswith(LABEL)]
    label = rest.pop(options.label, None)
    if (label is None) == (not several) or not len(next(iter(rest.values()), ())):
        raise CaseError(
            f"{file} needs a column {options.label!r}, or columns such as {LABEL + 'NAME'!r}, and "
            f"rows; found {', '.join(columns) or 'no columns'}"
        )
    with reading(file, "a table of numbers", TypeError):
        y = (
            label
            if label is not None
            else np.stack([number(rest.pop(n), n) for n in several], axis=1)
        )
        taken = {name: rest.pop(name, None) for name in (options.id, options.unit, "split")}
        subclasses = rest.pop("subclass", None)
        if not rest:
            raise ValueError("no column is left for features")
        x = np.stack([number(values, name) for name, values in rest.items()], axis=1)
    table = Table(
        x=x,
        y=y,
        columns=tuple(rest),
        labels=tuple(name.removeprefix(LABEL) for name in several),
        ids=taken[options.id],
        units=taken[options.unit],
        split=taken["split"],
        subclasses=subclasses,
    )
    return make_dataset(source, table, options)


def number(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    """Return a column as numbers.

    Raises:
        ValueError: If a value is none; with its row and column.
    """
    if values.dtype.kind == "U" and not all(map(is_number, values.tolist())):
        row, cell = next((k, c) for k, c in enumerate(values.tolist(), 1) if not is_number(c))
        where = f"row {row}, column {name!r}"
        if not cell.strip():
            raise ValueError(f"{where} is empty; fill it or drop the row")
        raise ValueError(f"{where}: expected a number, found {cell!r:.60}")
    return values.astype(np.float64)
