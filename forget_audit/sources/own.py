"""Rows that a function of the user's own returns, in memory or as a torch Dataset."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.datasets import Dataset, distinct, role_sizes, shares
from forget_audit.errors import CaseError, ForgetAuditError, ModelError
from forget_audit.named_objects import import_object
from forget_audit.own_calls import guarded, place_of
from forget_audit.sources.checks import Table, make_dataset, read_labels, read_split
from forget_audit.sources.options import TableOptions
from forget_audit.streaming import Features, Items, Streamed
from forget_audit.types import Rows

RETURNS = "a Dataset, the pair (x, y), or a torch Dataset of such pairs"


@dataclass(frozen=True, kw_only=True, eq=False)
class Owned:
    """Features of a data set of the user's own, checked whenever a row is read.

    Args:
        items: Gives pairs `(x, y)`.
        source: For messages.
        shape: Of every row.
    """

    items: Items
    source: str
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Features:
        row = as_row(self.items[index][0])
        if row.shape != self.shape or not np.all(np.isfinite(row)):
            raise CaseError(
                f"{self.source}: expected rows of {self.shape} finite numbers, found {row.shape} "
                f"at position {index}"
            )
        return row


def from_function(source: str, options: Mapping[str, object]) -> Dataset:
    """Call `package.module:function` with the options, and make a data set of what it returns.

    Raises:
        CaseError: If there is no such function, it does not take the options, or it returns
            anything else.
    """
    try:
        function = import_object(source)
    except ModelError as error:
        raise CaseError(str(error)) from error
    if not callable(function):
        raise CaseError(f"{source} is no function")
    try:
        inspect.signature(function).bind(**options)
    except TypeError as error:
        raise CaseError(f"{source} does not accept the options {dict(options)}: {error}") from error
    try:
        with guarded():
            made = function(**options)
    except ForgetAuditError:
        raise
    except Exception as error:
        place = place_of(error)
        where = f" at {place}" if place else ""
        raise CaseError(f"{source} failed{where}: {type(error).__name__}: {error}") from error
    if isinstance(made, Dataset):
        return made
    if isinstance(made, tuple) and len(made) == 2:
        table = Table(x=np.asarray(made[0]), y=np.asarray(made[1]))
        return make_dataset(source, table, TableOptions())
    if hasattr(made, "__getitem__") and hasattr(made, "__len__"):
        return from_items(source, made)
    raise CaseError(f"{source} must return {RETURNS}, found {type(made)}")


def from_items(source: str, items: Items) -> Dataset:
    """Make a data set of a map-style data set of pairs, such as a torch Dataset.

    Rows are read when they are asked for. To find equal ones each is read once, one at a time.
    Labels come from its attribute `targets` or `labels`, or else from one more reading; `ids`,
    `units`, `split` and `classes` are taken if it has them.

    Raises:
        CaseError: If items are no pairs, differ in shape, or differ from reading to reading.
    """
    if not len(items):
        raise CaseError(f"{source} returned no rows")
    first = items[0]
    if not isinstance(first, (tuple, list)) or len(first) != 2:
        raise CaseError(f"{source} must return {RETURNS}; its first item is {type(first)}")
    owned = Owned(items=items, source=source, shape=as_row(first[0]).shape)
    if not np.array_equal(owned[0], as_row(first[0])):
        raise CaseError(
            f"{source}: a row differs from reading to reading; leave random transforms to training"
        )
    targets = _column(items, "targets", "labels")
    if targets is None:
        targets = np.array([np.asarray(items[index][1]) for index in range(len(items))])
    elif not np.array_equal(np.asarray(first[1]), targets[0]):
        raise CaseError(f"{source}: the first item's label {first[1]} is not that of its targets")
    table = Table(x=np.empty((0, 1)), y=targets, classes=_classes(items))
    y, classes, labels = read_labels(source, table)
    ids, split = _column(items, "ids"), read_split(source, _column(items, "split"))
    units = _column(items, "units")
    names = np.arange(len(items)) if ids is None else ids
    rows = Rows(
        x=Streamed(owned),  # type: ignore[arg-type]
        y=y,
        ids=names,  # type: ignore[arg-type]
        units=units,
    )
    return distinct(
        Dataset(
            name=source,
            title=source,
            rows=rows,
            sizes=shares(len(rows)) if split is None else role_sizes(split),
            split=split,
            labels=labels,
            classes=classes,
        )
    )


def as_row(value: Any) -> Features:
    """Return features as an array: of a tensor, a Pillow picture or anything numpy takes."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if hasattr(value, "getbands"):
        pixels = np.asarray(value, dtype=np.float32) / np.float32(255)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.asarray(value, dtype=np.float32)


def _column(items: Items, *names: str) -> npt.NDArray[Any] | None:
    """Return an attribute that has one entry a row."""
    for name in names:
        found = getattr(items, name, None)
        if found is not None and np.ndim(found) and len(found) == len(items):
            return np.asarray(found)
    return None


def _classes(items: Items) -> tuple[str, ...]:
    found = getattr(items, "classes", ())
    return tuple(map(str, found)) if isinstance(found, (list, tuple)) else ()
