"""Arrays of recorded answers: their names, and reading them from an NPZ file within bounds."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.errors import CaseError, PlanError, Problem
from forget_audit.sources.npz import read_npz
from forget_audit.types import Floats
from forget_audit.verdict.weighing import GROUPS, Group

Arrays = Mapping[str, npt.NDArray[Any]]

VERSION = 1
LETTERS: Mapping[Group, str] = dict(zip(GROUPS, "ROAI", strict=True))
PARTS: Mapping[str, str] = {
    "forget": "f",
    "test": "t",
    "retain": "r",
    "other": "o",
    "auxiliary": "a",
}
NEEDED = ("forget", "test", "retain")
KINDS: Mapping[str, str] = {"prob": "probabilities", "logit": "logits"}
ANSWERS = re.compile(r"(prob|logit)_([ROAI])_([ftroa])")
ABOUT = re.compile(r"(y|id|unit)_([ftroa])")
FEWER = "hand in fewer of the retained rows or of the test rows"
MOST_BYTES = 1 << 30  # of a file, unpacked
MOST_ROWS = 1 << 22  # numbers of rows are features, which are float32
MOST_ANSWERS = 1 << 25  # numbers: an audit of so many takes about 3.4 GB


class PredictionsError(PlanError):
    """A file of predictions has problems; all that can be told at once are listed."""

    subject = "predictions file"


def refused(place: str, message: str) -> PredictionsError:
    """Return the error of a file with one problem."""
    return PredictionsError([Problem(place, message)])


def kind_of(arrays: Arrays) -> str:
    """Return `prob` or `logit`, whichever the arrays hold."""
    return next(found[1] for name in arrays if (found := ANSWERS.fullmatch(name)))


def groups_in(arrays: Arrays) -> list[Group]:
    """Return the groups of models that have answers."""
    letters = {found[2] for name in arrays if (found := ANSWERS.fullmatch(name))}
    return [group for group, letter in LETTERS.items() if letter in letters]


def parts_in(arrays: Arrays) -> list[str]:
    """Return the parts of the rows that have labels."""
    return [part for part, letter in PARTS.items() if f"y_{letter}" in arrays]


def both_classes(values: npt.NDArray[Any], kind: str) -> Floats:
    """Return answers `(models, rows, classes)`, float64.

    Those of a single output, `(models, rows)` or `(models, rows, 1)`, are about class 1 of two.
    """
    array = values.astype(np.float64)
    if array.ndim == 3 and array.shape[2] > 1:
        return array
    one = array.reshape(array.shape[:2])
    return np.stack([1 - one if kind == "prob" else np.zeros_like(one), one], axis=-1)


def read_arrays(path: Path) -> Arrays:
    """Read all arrays of an NPZ file.

    Args:
        path: As written by `numpy.savez` or `numpy.savez_compressed`.

    Raises:
        PredictionsError: If it is no such file, is damaged, holds pickled objects, or is larger
            than 1 GiB when unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise refused(path.name, f"cannot be read as npz: {error}") from error
    if total > MOST_BYTES:
        raise refused(path.name, too_large(total))
    try:
        arrays = read_npz(path)
    except CaseError as error:
        raise refused(path.name, str(error)) from error
    check_number(path.name, sum(arrays[name].size for name in arrays if ANSWERS.fullmatch(name)))
    return arrays


def check_number(name: str, answers: int) -> None:
    """Refuse so many answers that an audit of them would need too much memory.

    Raises:
        PredictionsError: If there are more than 33 million.
    """
    if answers > MOST_ANSWERS:
        message = f"holds {answers:,} answers, the most is {MOST_ANSWERS:,}; {FEWER}"
        raise refused(name, message)


def too_large(size: int) -> str:
    """Say that a file is too large to be read, and what to do."""
    mib = 2**20
    return f"unpacks to {size / mib:,.0f} MiB, the most is {MOST_BYTES / mib:,.0f} MiB; {FEWER}"
