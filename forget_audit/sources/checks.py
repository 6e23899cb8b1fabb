"""Rows of the user's own, checked: features, labels, roles, and a sensitive column."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.datasets import ROLES, Dataset, distinct, role_sizes, shares
from forget_audit.errors import CaseError
from forget_audit.registry import unknown
from forget_audit.row_forms import MOST_CLASSES as MOST_CLASSES
from forget_audit.row_forms import as_names
from forget_audit.sources.options import TableOptions
from forget_audit.types import Ids, Labels, Rows, Sensitive

MOST_VALUES = 10  # of a sensitive column


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Rows of a table before they are checked.

    Args:
        x: Features `(n, ...)`.
        y: Classes, by number or name, or a label matrix.
        columns: Names of the features, if they have names.
        labels: Names of the columns of a label matrix.
        classes: Names of the classes, if they are numbers with names.
        ids: Of the rows; their positions if left out.
        split: Role of each row.
        units: Person of each row.
        subclasses: A finer class of each row.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    columns: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    ids: npt.NDArray[Any] | None = None
    split: npt.NDArray[Any] | None = None
    units: npt.NDArray[Any] | None = None
    subclasses: npt.NDArray[Any] | None = None


def make_dataset(source: str, table: Table, options: TableOptions) -> Dataset:
    """Check a table and make a data set of it, equal rows once.

    Args:
        source: For names and messages.
        table: The rows.
        options: Whether to standardise, and which column is sensitive.

    Raises:
        CaseError: If features, labels or roles are not what they should be.
    """
    x = features(source, table.x)
    y, classes, labels = read_labels(source, table)
    if not len(x) == len(y) > 0:
        raise CaseError(f"{source}: {len(x)} rows of features, but {len(y)} labels")
    given = {"id": table.ids, "split": table.split, "subclass": table.subclasses}
    for name, column in {**given, "unit": table.units}.items():
        if column is not None and column.shape != (len(x),):
            raise CaseError(f"{source}: {name} must have one entry a row, found {column.shape}")
    if table.columns and (x.ndim != 2 or len(table.columns) != x.shape[1]):
        raise CaseError(
            f"{source}: {len(table.columns)} names of columns do not fit features {x.shape}"
        )
    ids = np.arange(len(x)).astype(np.str_) if table.ids is None else names(source, table.ids)
    split = read_split(source, table.split)
    subclasses = None
    if table.subclasses is not None:
        subclasses, _ = whole(source, table.subclasses, "sub-classes")
    units = None if table.units is None else names(source, table.units)
    if options.standardise:
        x = standardised(x, split)
    dataset = distinct(
        Dataset(
            name=source,
            title=source,
            rows=Rows(x=x, y=y, ids=ids, units=units),
            sizes=shares(len(x)) if split is None else role_sizes(split),
            split=split,
            subclasses=subclasses,
            labels=labels,
            classes=classes,
        )
    )
    place = _position(source, options.sensitive, table.columns, dataset.rows.x.shape)
    if place is None:
        return dataset
    values = np.unique(dataset.rows.x[:, place])
    name = table.columns[place] if table.columns else f"column {place}"
    if not 2 <= len(values) <= MOST_VALUES:
        raise CaseError(
            f"{source}: a sensitive column takes 2 to {MOST_VALUES} values, {name!r} takes "
            f"{len(values)}; put its values into groups"
        )
    sensitive = Sensitive(column=place, name=name, values=tuple(map(float, values)))
    return replace(dataset, sensitive=sensitive)


def names(source: str, column: npt.NDArray[Any]) -> Ids:
    """Return ids, or the people of rows, as text.

    Raises:
        CaseError: If they are neither text nor numbers, or one is empty.
    """
    if column.dtype.kind not in "USOiuf":
        raise CaseError(f"{source}: expected ids of text or numbers, found {column.dtype}")
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        missing = int(np.sum(~np.isfinite(column)))
        raise CaseError(f"{source}: {missing} rows have no id or unit, found NaN or infinity")
    if column.dtype.kind == "f":
        raise CaseError(
            f"{source}: expected ids of text or whole numbers, found {column.dtype}, which rounds "
            "long ones; write them as whole numbers: ids.astype(np.int64)"
        )
    found: Ids = as_names(column) if column.dtype.kind == "O" else column.astype(np.str_)
    if np.any(found == ""):
        raise CaseError(f"{source}: row {int(np.argmax(found == '')) + 1} has an empty id or unit")
    return found


def features(source: str, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return features as float32.

    Raises:
        CaseError: If they are not finite numbers, one row a record.
    """
    if x.dtype.kind not in "iufb":
        raise CaseError(f"{source}: features must be finite numbers, found type {x.dtype}")
    with np.errstate(over="ignore"):
        small = x.astype(np.float32)
    if x.ndim < 2 or 0 in x.shape[1:] or not np.all(np.isfinite(small)):
        raise CaseError(
            f"{source}: features must be finite numbers (n, ...), found {x.dtype} {x.shape} with "
            f"{int(np.sum(~np.isfinite(small)))} that are not"
        )
    return small


def read_labels(source: str, table: Table) -> tuple[Labels, tuple[str, ...], tuple[str, ...]]:
    """Return labels, names of classes, and names of the columns of a label matrix.

    Raises:
        CaseError: If they are neither classes nor a matrix of 0 and 1.
    """
    y = table.y
    if y.ndim == 1:
        found, texts = whole(source, y, "labels")
        if table.classes and len(table.classes) <= found.max(initial=-1):
            raise CaseError(
                f"{source}: {len(table.classes)} names of classes, found the label {found.max()}"
            )
        if table.classes and texts and texts != table.classes:
            raise CaseError(
                f"{source}: labels are names in the order {', '.join(texts[:3])}, ..., classes "
                "says otherwise; leave classes out, or give labels as numbers"
            )
        return found, table.classes or texts, ()
    known = y.ndim == 2 and np.issubdtype(y.dtype, np.number) and np.isin(y, (-1, 0, 1)).all()
    if not known or not y.shape[1]:
        raise CaseError(
            f"{source}: expected classes (n,) or a label matrix (n, labels) of 0, 1 and -1 for "
            f"unknown, found {y.dtype} {y.shape}"
        )
    names = table.labels or tuple(f"label {i}" for i in range(y.shape[1]))
    if len(set(names)) != y.shape[1]:
        raise CaseError(f"{source}: expected {y.shape[1]} names of labels, found {len(set(names))}")
    return y.astype(np.int64), (), names


def whole(source: str, y: npt.NDArray[Any], what: str) -> tuple[Labels, tuple[str, ...]]:
    """Return labels as whole numbers from 0; names are numbered in order, and returned too.

    Raises:
        CaseError: If they are neither.
    """
    names: tuple[str, ...] = ()
    values: npt.NDArray[Any] = y
    if y.dtype.kind not in "iufbUSO":
        raise CaseError(f"{source}: {what} must be whole numbers or names, found {y.dtype}")
    if y.dtype.kind in "USO":
        texts = y.astype(np.str_)
        if np.any(texts == ""):
            row = int(np.argmax(texts == "")) + 1
            raise CaseError(
                f"{source}: {what} must not be empty, found none in row {row}; fill it or drop it"
            )
        numeric = [is_number(text) for text in texts.tolist()]
        if not any(numeric):
            distinct_texts, values = np.unique(texts, return_inverse=True)
            names = tuple(distinct_texts.tolist())
        elif all(numeric):
            values = texts.astype(np.float64)
        else:
            odd = texts[np.argmin(numeric)]
            raise CaseError(
                f"{source}: {what} must be whole numbers from 0, or all of them names, found "
                f"{str(odd)!r} among numbers"
            )
    with np.errstate(invalid="ignore"):
        found = values.astype(np.int64)
    if not np.array_equal(found, values) or not 0 <= found.min(initial=0) <= found.max(initial=0):
        raise CaseError(
            f"{source}: {what} must be whole numbers from 0, found {np.asarray(y[:3]).tolist()}"
        )
    if found.max(initial=0) >= MOST_CLASSES:
        raise CaseError(
            f"{source}: {what} must be whole numbers from 0, one after the other, found "
            f"{found.max()}; number the classes anew"
        )
    return found, names


def read_split(source: str, split: npt.NDArray[Any] | None) -> Ids | None:
    """Return the role of each row.

    Raises:
        CaseError: If there is another role.
    """
    if split is None:
        return None
    roles = split.astype(np.str_)
    odd = sorted(set(roles.ravel().tolist()) - set(ROLES))
    if odd:
        raise CaseError(f"{source}: split must be one of {sorted(ROLES)}, found {odd[0]!r}")
    return roles


def standardised(x: npt.NDArray[np.float32], split: Ids | None) -> npt.NDArray[np.float32]:
    """Bring each column to mean 0 and spread 1 over the training rows, or all if undealt."""
    train = x if split is None else x[split == "train"]
    mean, spread = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    scaled: npt.NDArray[np.float32] = (x - mean) / np.where(spread > 0, spread, 1)
    return scaled.astype(np.float32)


def _position(
    source: str, wanted: str | int | None, columns: Sequence[str], shape: tuple[int, ...]
) -> int | None:
    if wanted is None:
        return None
    if isinstance(wanted, str) and wanted not in columns:
        raise CaseError(f"{source}: {unknown('sensitive column', wanted, columns)}")
    place = columns.index(wanted) if isinstance(wanted, str) else wanted
    if len(shape) != 2 or not 0 <= place < shape[1]:
        raise CaseError(f"{source}: there is no column {place} in features of shape {shape}")
    return place


def is_number(text: str) -> bool:
    """Say whether a text is a number, as tables write them."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python reads as nothing: 0_5 is no 5
