"""What must hold of recorded answers before anything is computed from them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from forget_audit.errors import Problem
from forget_audit.predictions.arrays import (
    ABOUT,
    ANSWERS,
    KINDS,
    LETTERS,
    MOST_ROWS,
    NEEDED,
    PARTS,
    VERSION,
    Arrays,
    PredictionsError,
    groups_in,
    kind_of,
    parts_in,
)
from forget_audit.predictions.models import model_problems
from forget_audit.rows import is_text
from forget_audit.verdict.weighing import Group

SUM_ERROR = 1e-6  # for each class: what six digits or float32 leave
FEWEST_ROWS = 2
WIDEST = 8  # bytes of a number: wider ones are changed when they become float64
REQUIRED: tuple[Group, ...] = ("retrained", "originals", "audited")


def check(arrays: Arrays) -> None:
    """Check names and shapes, then labels, ids and people, then answers, then models.

    Raises:
        PredictionsError: With all problems of the first of these that has any.
    """
    for found in (_structure, _rows, _answers, model_problems):
        problems = found(arrays)
        if problems:
            raise PredictionsError(problems)


def _structure(arrays: Arrays) -> list[Problem]:
    problems = [_unknown(name) for name in arrays if not _is_known(name)]
    found = [match for name in arrays if (match := ANSWERS.fullmatch(name))]
    if len({match[1] for match in found}) > 1:
        problems.append(Problem("arrays", "expected prob_ or logit_ throughout, found both"))
    kind = found[0][1] if found else "prob"
    groups, parts = groups_in(arrays), parts_in(arrays)
    for group in REQUIRED:
        if group not in groups:
            message = f"expected answers of {group} models, found none"
            problems.append(Problem(f"{kind}_{LETTERS[group]}", message))
    problems += [
        Problem(f"y_{PARTS[part]}", f"expected {part} rows, found none")
        for part in NEEDED
        if part not in parts
    ]
    wanted = {f"{kind}_{LETTERS[group]}_{PARTS[part]}" for group in groups for part in parts}
    wanted |= {f"id_{PARTS[part]}" for part in parts}
    if any(name.startswith("unit_") for name in arrays):
        wanted |= {f"unit_{PARTS[part]}" for part in parts}
    problems += [Problem(name, "expected this array, found none") for name in sorted(wanted)
                 if name not in arrays]  # fmt: skip
    extra = {match[0] for match in found if f"y_{match[3]}" not in arrays}
    problems += [Problem(name, f"has no labels y_{name[-1]}") for name in sorted(extra)]
    return problems or _version(arrays) or _shapes(arrays, kind, groups, parts)


def _is_known(name: str) -> bool:
    return bool(name == "version" or ANSWERS.fullmatch(name) or ABOUT.fullmatch(name))


def _unknown(name: str) -> Problem:
    known = [f"{kind}_{w}_{p}" for kind in KINDS for w in "ROAI" for p in PARTS.values()]
    known += [f"{what}_{p}" for what in ("y", "id", "unit") for p in PARTS.values()]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return Problem(name, f"unknown array{hint}")


def _version(arrays: Arrays) -> list[Problem]:
    found = arrays.get("version", np.array(VERSION))
    one = found.shape in ((), (1,))
    if one and found.dtype.kind in "iu" and int(found.ravel()[0]) == VERSION:
        return []
    what = f"{found.tolist()!r:.40}" if one else f"{found.dtype} {found.shape}"
    return [Problem("version", f"expected the whole number {VERSION}, found {what}")]


def _shapes(
    arrays: Arrays, kind: str, groups: Sequence[Group], parts: Sequence[str]
) -> list[Problem]:
    problems, classes = [], {}
    flat = [f"y_{PARTS[part]}" for part in parts if arrays[f"y_{PARTS[part]}"].ndim != 1]
    if flat:
        return [
            Problem(name, f"expected one label a row, found shape {arrays[name].shape}")
            for name in flat
        ]
    total = sum(len(arrays[f"y_{PARTS[part]}"]) for part in parts)
    if total > MOST_ROWS:
        return [Problem("rows", f"expected at most {MOST_ROWS:,}, found {total:,}")]
    for part in parts:
        letter = PARTS[part]
        for what in ("y", "id", "unit"):
            name = f"{what}_{letter}"
            if name in arrays and arrays[name].shape != (len(arrays[f"y_{letter}"]),):
                message = f"expected one entry a row, found shape {arrays[name].shape}"
                problems.append(Problem(name, message))
    if problems:
        return problems
    for group in groups:
        sizes = {}
        for part in parts:
            name = f"{kind}_{LETTERS[group]}_{PARTS[part]}"
            array, rows = arrays[name], len(arrays[f"y_{PARTS[part]}"])
            number = array.dtype.kind in "fiu" and array.dtype.itemsize <= WIDEST
            if not number or array.ndim not in (2, 3):
                message = f"expected numbers (models, rows, classes), found {array.dtype}"
                problems.append(Problem(name, f"{message} {array.shape}"))
            elif array.shape[1] != rows:
                message = f"expected {rows} rows as in y_{PARTS[part]}, found {array.shape[1]}"
                problems.append(Problem(name, message))
            else:
                sizes[name] = array.shape[0]
                classes[name] = array.shape[2] if array.ndim == 3 and array.shape[2] > 1 else 2
        problems += _agree(sizes, "models")
    return problems + _agree(classes, "classes")


def _agree(sizes: dict[str, int], what: str) -> list[Problem]:
    if len(set(sizes.values())) < 2:
        return []
    most = max(set(sizes.values()), key=list(sizes.values()).count)
    return [
        Problem(name, f"expected {most} {what} like the others, found {size}")
        for name, size in sizes.items()
        if size != most
    ]


def _rows(arrays: Arrays) -> list[Problem]:
    problems: list[Problem] = []
    parts = parts_in(arrays)
    kind = kind_of(arrays)
    shape = arrays[f"{kind}_R_f"].shape
    classes = shape[2] if len(shape) == 3 and shape[2] > 1 else 2
    for part in parts:
        letter = PARTS[part]
        problems += _labels(f"y_{letter}", arrays[f"y_{letter}"], classes)
        for what in ("id", "unit"):
            name = f"{what}_{letter}"
            if name in arrays:
                problems += _names_of(name, arrays[name])
        if len(arrays[f"y_{letter}"]) < FEWEST_ROWS:
            message = f"expected at least {FEWEST_ROWS} {part} rows, found"
            problems.append(Problem(f"y_{letter}", f"{message} {len(arrays[f'y_{letter}'])}"))
    return problems or _names(arrays, parts)


def _names_of(name: str, values: npt.NDArray[np.generic]) -> list[Problem]:
    """Check that ids are whole numbers, or text that can be written again."""
    if values.dtype.kind not in "USiu":
        message = f"expected text or whole numbers, found type {values.dtype}"
        return [Problem(name, message)]
    try:
        sound = values.dtype.kind in "iu" or is_text(text_of(values))
    except UnicodeDecodeError:
        sound = False
    return [] if sound else [Problem(name, "expected text in UTF-8, found other bytes")]


def _labels(name: str, labels: npt.NDArray[np.generic], classes: int) -> list[Problem]:
    if labels.dtype.kind not in "fiub":
        return [Problem(name, f"expected whole numbers, found type {labels.dtype}")]
    values = labels.astype(np.float64)
    odd = values[~np.isfinite(values) | (values != np.floor(values))]
    if len(odd):
        return [Problem(name, f"expected whole numbers, found {odd[0]:g}")]
    outside = values[(values < 0) | (values >= classes)]
    if not len(outside):
        return []
    hint = "; count classes from 0, also where the language counts from 1"
    message = f"expected labels from 0 to {classes - 1}, found {outside[0]:g}"
    return [Problem(name, message + (hint if outside[0] == classes else ""))]


def _names(arrays: Arrays, parts: Sequence[str]) -> list[Problem]:
    problems = []
    ids = {part: text_of(arrays[f"id_{PARTS[part]}"]) for part in parts}
    for part, names in ids.items():
        problems += _present(f"id_{PARTS[part]}", names)
        values, counts = np.unique(names, return_counts=True)
        if len(values) < len(names):
            message = f"expected distinct ids, found {str(values[counts > 1][0])!r} twice"
            problems.append(Problem(f"id_{PARTS[part]}", message))
    problems += _in_two("id", ids, "rows")
    if f"unit_{PARTS[parts[0]]}" in arrays:
        units = {part: text_of(arrays[f"unit_{PARTS[part]}"]) for part in parts}
        for part, people in units.items():
            problems += _present(f"unit_{PARTS[part]}", people)
        problems += _in_two("unit", units, "people")
    return problems


def _present(name: str, texts: npt.NDArray[np.str_]) -> list[Problem]:
    empty = int(np.sum(texts == ""))
    return [Problem(name, f"expected a name for each row, found {empty} empty")] if empty else []


def _in_two(what: str, names: dict[str, npt.NDArray[np.str_]], who: str) -> list[Problem]:
    problems = []
    for (one, ours), (other, theirs) in combinations(names.items(), 2):
        shared = np.intersect1d(ours, theirs)
        if len(shared):
            problems.append(
                Problem(
                    f"{what}_{PARTS[one]}",
                    f"expected {one} and {other} rows of different {who}, found {len(shared)} in "
                    f"both (first: {str(shared[0])!r})",
                )
            )
    return problems


def text_of(values: npt.NDArray[np.generic]) -> npt.NDArray[np.str_]:
    """Return ids as text, whole numbers as they are written.

    Raises:
        UnicodeDecodeError: If bytes are no UTF-8.
    """
    if values.dtype.kind == "S":
        return np.char.decode(values.astype(np.bytes_), "utf-8")
    return values.astype(np.str_)


def _answers(arrays: Arrays) -> list[Problem]:
    problems = []
    for name, array in arrays.items():
        if not (match := ANSWERS.fullmatch(name)):
            continue
        if not np.all(np.isfinite(array)):
            bad = int(np.sum(~np.isfinite(array)))
            problems.append(Problem(name, f"expected finite numbers, found {bad} that are not"))
        elif match[1] == "prob":
            problems += _probabilities(name, array)
        else:
            problems += _no_probabilities(name, array)
    return problems


def _no_probabilities(name: str, array: npt.NDArray[np.generic]) -> list[Problem]:
    """Refuse logits that are probabilities: their softmax means nothing."""
    values = array.astype(np.float64)
    if values.ndim == 2 or values.shape[2] == 1 or not values.size or values.min() < 0:
        return []
    if np.abs(values.sum(axis=-1) - 1).max() > SUM_ERROR * values.shape[2]:
        return []
    message = "expected logits, found numbers that are not negative and sum to one, as "
    message += f"probabilities do; call them prob{name[5:]} (columns p0, p1, ...)"
    return [Problem(name, message)]


def _probabilities(name: str, array: npt.NDArray[np.generic]) -> list[Problem]:
    values = array.astype(np.float64)
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    logits = f"if these are logits, call them logit{name[4:]} (columns logit0, logit1, ...)"
    if low < 0 and high > 1:
        return [Problem(name, f"expected probabilities, found {low:g} and {high:g}; {logits}")]
    if low < 0:
        return [Problem(name, f"expected probabilities, found the negative number {low:g}")]
    if high > 1 + SUM_ERROR:
        return [Problem(name, f"expected probabilities, found {high:g}; {logits}")]
    if values.ndim == 2 or values.shape[2] == 1:
        return []
    off = np.abs(values.sum(axis=-1) - 1)
    allowed = SUM_ERROR * values.shape[2]
    if off.max(initial=0) <= allowed:
        return []
    worst = float(values.sum(axis=-1).ravel()[int(off.argmax())])
    wrong = int(np.sum(off > allowed))
    message = f"expected sums of one within {allowed:g} ({SUM_ERROR:g} a class), found"
    return [Problem(name, f"{message} {worst:.9g} and {wrong} sums in all that are off")]
