"""Recorded answers as a long table, one line a model and row, and the arrays they make."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.errors import Problem
from forget_audit.predictions.arrays import (
    LETTERS,
    PARTS,
    VERSION,
    Arrays,
    PredictionsError,
    refused,
)
from forget_audit.types import Floats

TEXT = ("group", "model", "part", "id")
PLAIN = (*TEXT, "label")
NUMBER = re.compile(r"(p|logit)(0|[1-9]\d*)")
LONGEST_TEXT = 500  # characters of an id: numpy gives all the room of the longest
MOST_CLASSES = 100_000
EMPTY_CELL = "expected text in every line, found an empty cell"

Codes = npt.NDArray[np.int64]
Coded = tuple[Codes, npt.NDArray[np.str_]]  # number of each line's text, the texts


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Lines of a long table, texts numbered in order of appearance.

    Args:
        kind: `prob` or `logit`.
        texts: Columns of text by name.
        labels: Of each line `(lines,)`.
        answers: In order of the classes `(lines, classes)`.
    """

    kind: str
    texts: dict[str, Coded]
    labels: Floats
    answers: Floats


def check_version(name: str, found: str) -> None:
    """Refuse a version of the format that is not ours.

    Raises:
        PredictionsError: If it is another one.
    """
    if found != str(VERSION):
        raise refused(name, f"expected version {VERSION} of the format, found {found}")


def texts_of(names: Sequence[str]) -> list[str]:
    """Return which columns hold text."""
    return [name for name in names if name in (*TEXT, "unit")]


def named(name: str, texts: Iterable[str]) -> npt.NDArray[np.str_]:
    """Return the texts of a column.

    Raises:
        PredictionsError: If one is empty, or too long.
    """
    found = [*texts]
    if "" in found:
        raise refused(f"column {name}", EMPTY_CELL)
    longest = max(map(len, found), default=0)
    if longest > LONGEST_TEXT:
        message = f"expected texts of at most {LONGEST_TEXT} characters, found {longest:,}"
        raise refused(f"column {name}", message)
    return np.array(found, dtype=np.str_)


def checked(names: Sequence[str]) -> tuple[str, list[str]]:
    """Return `prob` or `logit` and the columns of the answers, in order of the classes.

    Raises:
        PredictionsError: If a column is missing or unknown.
    """
    found = [match for name in names if (match := NUMBER.fullmatch(name))]
    kinds = {match[1] for match in found}
    numbers = sorted(int(match[2]) for match in found)
    known = {*PLAIN, "unit", *(match[0] for match in found)}
    missing = [name for name in PLAIN if name not in names]
    problems = []
    if len(found) > MOST_CLASSES:
        message = f"expected answers of at most {MOST_CLASSES:,} classes, found {len(found):,}"
        raise PredictionsError([Problem("columns", message)])
    if missing:
        message = f"expected {', '.join(PLAIN)}, found no {', '.join(missing)}"
        problems.append(Problem("columns", f"{message} among {', '.join(names[:12]) or 'none'}"))
    counts = Counter(names)
    odd = [name for name in names if name not in known or counts[name] > 1]
    if odd and not missing:
        hint = "" if odd[0] else "; in R write without row names"
        problems.append(Problem("columns", f"unknown or repeated column {odd[0]!r}{hint}"))
    if len(kinds) > 1:
        problems.append(Problem("columns", "expected p0, p1, ... or logit0, logit1, ..., not both"))
    elif numbers not in ([1], [*range(max(len(numbers), 2))]):
        shown = ", ".join(match[0] for match in found[:12]) or "none"
        message = "expected p0, p1, ... or logit0, logit1, ... of all classes, counted from 0, or"
        problems.append(Problem("columns", f"{message} of two classes p1 alone; found {shown}"))
    if problems:
        raise PredictionsError(problems)
    prefix = kinds.pop()
    return "prob" if prefix == "p" else prefix, [f"{prefix}{number}" for number in numbers]


def to_arrays(table: Table) -> Arrays:
    """Return the arrays of an NPZ file with the same content."""
    groups, models, parts = (table.texts[name] for name in ("group", "model", "part"))
    problems = [
        Problem(f"column {name}", f"expected {', '.join(known)}, found {value!r}")
        for name, known, (_, values) in (("group", LETTERS, groups), ("part", PARTS, parts))
        for value in values.tolist()
        if value not in known
    ]
    if problems:
        raise PredictionsError(problems)
    ids, units = table.texts["id"], table.texts.get("unit")
    number, known = _numbered_models(groups, models)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for code, part in enumerate(parts[1].tolist()):
        here, letter = np.flatnonzero(parts[0] == code), PARTS[part]
        rows, first = in_order(ids[0][here])
        names = ids[1][ids[0][here][first]]
        labels = table.labels[here]
        arrays[f"id_{letter}"], arrays[f"y_{letter}"] = names, labels[first]
        problems += _same(labels, rows, first, names, f"column label, {part} rows")
        if units is not None:
            arrays[f"unit_{letter}"] = units[1][units[0][here][first]]
            problems += _same(units[0][here], rows, first, names, f"column unit, {part} rows")
        for k, group in enumerate(groups[1].tolist()):
            chosen = here[groups[0][here] == k]
            index = number[chosen] * len(names) + rows[groups[0][here] == k]
            shape = (len(known[group]), len(names))
            uneven = _uneven(index, known[group], names, f"{group} models, {part} rows")
            problems += uneven
            if not uneven:
                answers = np.empty((len(index), table.answers.shape[1]))
                answers[index] = table.answers[chosen]
                arrays[f"{table.kind}_{LETTERS[group]}_{letter}"] = answers.reshape(*shape, -1)
    if problems:
        raise PredictionsError(problems)
    return arrays


def _numbered_models(groups: Coded, models: Coded) -> tuple[Codes, dict[str, npt.NDArray[np.str_]]]:
    """Return the number of each line's model within its group, and the models of each group."""
    number, known = np.zeros_like(groups[0]), {}
    for k, group in enumerate(groups[1].tolist()):
        inside = groups[0] == k
        number[inside], first = in_order(models[0][inside])
        known[group] = models[1][models[0][inside][first]]
    return number, known


def in_order(codes: Codes) -> tuple[Codes, Codes]:
    """Return codes numbered in order of appearance, and where each appears first."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[inverse], first[order]


def _same(
    values: npt.NDArray[Any], rows: Codes, first: Codes, names: npt.NDArray[np.str_], place: str
) -> list[Problem]:
    """Check that all lines of a row say the same of it."""
    differing = np.flatnonzero(~((values == values[first][rows]) | (values != values)))
    if not len(differing):
        return []
    name = str(names[rows[differing[0]]])
    return [Problem(place, f"expected the same in all lines of a row, found two for {name!r}")]


def _uneven(
    index: Codes, models: npt.NDArray[np.str_], names: npt.NDArray[np.str_], place: str
) -> list[Problem]:
    """Check that each model answers each row once.

    Memory grows with the lines, not with models times rows, of which a file can announce any
    number.

    Args:
        index: Of each line: number of the model, times the number of rows, plus that of the row.
        models: Of the group.
        names: Of the rows.
        place: For the message.
    """
    problems = []
    there, counts = np.unique(index, return_counts=True)
    gaps = np.flatnonzero(there != np.arange(len(there)))
    several = there[counts > 1]
    for words, wrong, first in (
        ("no answer", len(models) * len(names) - len(there), [*gaps[:1], len(there)][0]),
        ("several answers", len(several), [*several[:1], 0][0]),
    ):
        if wrong:
            model, row = divmod(int(first), len(names))
            problems.append(
                Problem(
                    place,
                    f"expected one answer of each model to each row, found {words} at "
                    f"{wrong} places (first: model {str(models[model])!r}, row "
                    f"{str(names[row])!r})",
                )
            )
    return problems
