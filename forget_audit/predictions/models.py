"""What must hold of recorded models: as many as needed, independent, classes in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from forget_audit.class_order import Reordered, reordered
from forget_audit.digests import sha256
from forget_audit.errors import Problem
from forget_audit.predictions.arrays import (
    ANSWERS,
    LETTERS,
    PARTS,
    Arrays,
    both_classes,
    groups_in,
    kind_of,
    parts_in,
)
from forget_audit.types import Labels
from forget_audit.verdict.weighing import Group

FEWEST_RETRAINED = 3
FEWEST_IDENTITY = 2
FOR_COMPARISON: tuple[Group, ...] = ("retrained", "identity", "originals")


def model_problems(arrays: Arrays) -> list[Problem]:
    """Check that there are enough models, none twice, with their classes in one order.

    Args:
        arrays: Of a file that is in order otherwise.
    """
    prints = _fingerprints(arrays)
    problems = _too_few({group: len(found) for group, found in prints.items()})
    everyone = [(group, k) for group in FOR_COMPARISON for k in range(len(prints.get(group, [])))]
    copies = [("audited", k) for k in range(len(prints["audited"]))]
    for pool in (everyone, copies):
        first: dict[str, tuple[str, int]] = {}
        for group, k in pool:
            mark = prints[group][k]  # type: ignore[index]
            if mark in first:
                other, j = first[mark]
                problems.append(
                    Problem(
                        f"{group} models",
                        f"expected models trained independently, found that model {k + 1} answers "
                        f"every row exactly like model {j + 1} of the {other} models: one was "
                        "listed twice, or training has no randomness of its own; train each with "
                        "another seed",
                    )
                )
            first.setdefault(mark, (group, k))
    return problems + _order_problems(arrays, list(prints))


def _order_problems(arrays: Arrays, groups: Sequence[Group]) -> list[Problem]:
    """Refuse models for comparison that have their classes in another order than the labels."""
    compared = [group for group in FOR_COMPARISON if group in groups]
    found = _reordered(arrays, compared)
    problems = []
    for group in compared:
        odd = [item for owner, item in found if owner == group]
        if odd:
            several = len(arrays[f"{kind_of(arrays)}_{LETTERS[group]}_r"]) > len(odd)
            which = f"models {_numbers([item.model for item in odd])} " if several else ""
            message = (
                f"{which}answer the retained rows far better if their classes are put in another "
                f"order ({odd[0]}); write class k of the labels as the k-th answer, counted from 0"
            )
            problems.append(Problem(f"{group} models", message))
    return problems


def _too_few(counts: dict[Group, int]) -> list[Problem]:
    if counts["audited"] < 1 or counts["originals"] < 1:
        return [Problem("models", "expected at least one audited model and one original")]
    if counts.get("identity", FEWEST_IDENTITY) < FEWEST_IDENTITY:
        message = f"expected {FEWEST_IDENTITY} or more, or none, found {counts['identity']}"
        return [Problem("identity models", message)]
    needed = FEWEST_RETRAINED + (0 if "identity" in counts else FEWEST_IDENTITY)
    if counts["retrained"] >= needed:
        return []
    why = "" if "identity" in counts else ", two of which are set aside as identity models"
    message = f"expected at least {needed}{why}, found {counts['retrained']}; a verdict needs 19 or"
    return [Problem("retrained models", f"{message} more beside the identity models")]


def remarks(arrays: Arrays) -> list[str]:
    """Return what is no error and worth knowing: copied, rounded or reordered answers."""
    found = []
    prints = _fingerprints(arrays)
    for k, own in enumerate(prints["audited"]):
        for group in FOR_COMPARISON:
            for j, other in enumerate(prints.get(group, [])):
                if own == other:
                    found.append(
                        f"audited model {k + 1} answers every row exactly like model {j + 1} of "
                        f"the {group} models: if it was not made that way, its answers were copied"
                    )
    if kind_of(arrays) == "prob":
        found += _rounded(arrays)
    together = [group for group in ("audited", *FOR_COMPARISON) if group in prints]
    for group, item in _reordered(arrays, together):
        if group == "audited":
            found.append(
                f"audited model {item.model + 1} answers the retained rows far better if its "
                f"classes are put in another order ({item}): was its output written in the order "
                "of the others?"
            )
    return found


def _fingerprints(arrays: Arrays) -> dict[Group, list[str]]:
    """Return a digest of all answers of each model, by group."""
    kind, parts = kind_of(arrays), parts_in(arrays)
    found: dict[Group, list[str]] = {}
    for group in groups_in(arrays):
        tables = [arrays[f"{kind}_{LETTERS[group]}_{PARTS[part]}"] for part in parts]
        found[group] = [
            sha256(b"".join(table[k].astype(np.float64).tobytes() for table in tables))
            for k in range(len(tables[0]))
        ]
    return found


def _reordered(arrays: Arrays, groups: Sequence[Group]) -> list[tuple[Group, Reordered]]:
    """Return models that have their classes in another order, numbered within their group."""
    labels: Labels = arrays["y_r"].astype(np.int64)
    kind = kind_of(arrays)
    answered: list[Labels] = []
    owners: list[tuple[Group, int]] = []
    for group in groups:
        given = np.argmax(both_classes(arrays[f"{kind}_{LETTERS[group]}_r"], kind), axis=2)
        answered += [*given]
        owners += [(group, k) for k in range(len(given))]
    found = [(owners[item.model], item) for item in reordered(answered, labels)]
    return [(group, replace(item, model=k)) for (group, k), item in found]


def _numbers(places: list[int]) -> str:
    shown = ", ".join(str(place + 1) for place in places[:5])
    return shown if len(places) <= 5 else f"{shown} and {len(places) - 5} more"


def _rounded(arrays: Arrays) -> list[str]:
    """Say if probabilities are written with few decimals, or are exactly zero."""
    tables = [array.astype(np.float64) for name, array in arrays.items() if ANSWERS.fullmatch(name)]
    found = []
    zeros = sum(int(np.sum(table == 0)) for table in tables)
    if zeros:
        share = 100 * zeros / sum(table.size for table in tables)
        found.append(
            f"{share:.2g} % of the probabilities are exactly 0 and count as 1e-45; write "
            "significant digits if they were cut"
        )
    for decimals in range(1, 7):
        scaled = (table * 10.0**decimals for table in tables)
        if all(np.allclose(part, np.round(part), rtol=0, atol=1e-6) for part in scaled):
            step = 10.0**-decimals
            found.append(
                f"all probabilities are multiples of {step:g}; write more if they were cut"
            )
            break
    return found
