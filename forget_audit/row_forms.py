"""What arrays of the user's own become rows: numbers, whole labels, ids that are there.

Nothing is converted in silence: text that looks like numbers, labels with a fraction, imaginary
parts and missing ids are errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forget_audit.errors import CaseError
from forget_audit.streaming import Features

if TYPE_CHECKING:
    from forget_audit.rows import Ids, Labels, Rows

MOST_CLASSES = 100_000
ADVICE = {
    "features": "give one array of numbers, of shape (n, ...)",
    "labels": "give whole numbers; of names: np.unique(names, return_inverse=True)[1]",
    "ids": "give one text or whole number a row",
    "units": "give one text or whole number a row, or leave units out",
    "ids to forget": "give ids as text or whole numbers; of a mask: ids[mask]",
}


def as_features(given: object, what: str = "features") -> Features:
    """Return features as float32; numbers too large for it become infinite.

    Raises:
        CaseError: If they are anything but numbers, or some are masked.
    """
    array = _array(given, what)
    if np.ma.is_masked(given):
        raise CaseError(f"expected {what} without masked entries, found some; fill or drop them")
    if array.dtype.kind not in "fiub" or not array.ndim:
        raise _odd(what, "numbers", array)
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=np.float32)


def as_labels(given: object, what: str = "labels") -> Labels:
    """Return labels as int64.

    Raises:
        CaseError: If they are no whole numbers.
    """
    array = _array(given, what)
    if array.dtype.kind not in "fiub" or not array.ndim or np.ma.is_masked(given):
        raise _odd(what, "whole numbers", array)
    if array.dtype.kind == "f" and not np.array_equal(array, np.floor(array)):
        odd = array[~(array == np.floor(array))]
        raise CaseError(f"expected {what} that are whole numbers, found {odd[0]:g}; {ADVICE[what]}")
    with np.errstate(invalid="ignore"):
        whole = np.asarray(array, dtype=np.int64)
    if not np.array_equal(whole, array):
        raise CaseError(f"expected {what} below 2^63, found {array.max():g}; {ADVICE[what]}")
    return whole


def as_names(given: object, what: str = "ids") -> Ids:
    """Return ids or people as text, whole numbers as they are written.

    Raises:
        CaseError: If one is missing, or they are neither texts nor whole numbers.
    """
    array = _array(given, what)
    names = array
    if array.dtype.kind == "O":
        odd = [one for one in array.ravel().tolist() if not _is_name(one)]
        if odd:
            raise CaseError(
                f"expected {what} that are text or whole numbers, found {odd[0]!r:.40} and "
                f"{len(odd)} such entries in all; {ADVICE[what]}"
            )
    elif array.dtype.kind == "S":
        names = np.char.decode(array.astype(np.bytes_), "utf-8", "backslashreplace")
    elif array.dtype.kind not in "iuU" and array.size:
        raise _odd(what, "text or whole numbers", array)
    names = np.asarray(names, dtype=np.str_)
    if np.any(names == ""):
        raise CaseError(f"expected {what}, found {int(np.sum(names == ''))} empty; {ADVICE[what]}")
    return names


def _is_name(one: object) -> bool:
    return isinstance(one, (str, int, np.integer)) and not isinstance(one, bool)


def _array(given: object, what: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors with gradients
        line = str(error).partition("\n")[0]
        raise CaseError(f"{what} form no array: {line}; {ADVICE[what]}") from error


def _odd(what: str, expected: str, array: npt.NDArray[Any]) -> CaseError:
    found = f"type {array.dtype} of shape {array.shape}"
    return CaseError(f"expected {what} that are {expected}, found {found}; {ADVICE[what]}")


FORMS: Mapping[str, tuple[str, Callable[[object, str], npt.NDArray[Any]]]] = {
    "x": ("features", as_features),
    "y": ("labels", as_labels),
    "ids": ("ids", as_names),
    "units": ("units", as_names),
}


def check_roles(roles: Mapping[str, Rows], n_outputs: int) -> None:
    """Check that the rows of all roles are of one form, with labels that a model can answer.

    Args:
        roles: Rows by role; empty ones are not looked at.
        n_outputs: Number of classes, or of columns of the label matrix.

    Raises:
        CaseError: If shapes differ, people are known of some roles only, or a label is out of
            range.
    """
    held = {name: rows for name, rows in roles.items() if len(rows)}
    first = next(iter(held), "")
    for name, rows in held.items():
        shape, expected = rows.x.shape[1:], held[first].x.shape[1:]
        if not shape or 0 in shape or shape != expected:
            raise CaseError(
                f"expected rows of one shape in all roles, with at least one feature, found "
                f"{expected} in {first} and {shape} in {name}"
            )
        if (rows.units is None) != (held[first].units is None):
            known, unknown = (first, name) if rows.units is None else (name, first)
            raise CaseError(
                f"people are known of the {known} rows and not of the {unknown} rows; give units "
                "of all rows, or of none"
            )
        if rows.y.shape[1:] != held[first].y.shape[1:] or rows.y.shape[1:] not in (
            (),
            (n_outputs,),
        ):
            raise CaseError(
                f"expected classes (n,) in all roles, or label matrices (n, {n_outputs}), found "
                f"{held[first].y.shape} in {first} and {rows.y.shape} in {name}"
            )
        low, high = int(rows.y.min()), int(rows.y.max())
        if rows.y.ndim == 2 and high < 0:
            raise CaseError(
                f"no label of the {name} rows is known; drop them, or say what they bear"
            )
        if rows.y.ndim == 1 and (low < 0 or high >= min(n_outputs, MOST_CLASSES)):
            raise CaseError(
                f"expected classes from 0 to {min(n_outputs, MOST_CLASSES) - 1}, found "
                f"{low if low < 0 else high} in {name}; number the classes from 0, one after the "
                "other"
            )
