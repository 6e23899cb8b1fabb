"""A file of predictions, and what people do to it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from forget_audit.audits.audit import Audit, carry_out
from forget_audit.audits.runs import commissioned
from forget_audit.plans.plan import check_plan
from forget_audit.seeds import seeded_torch
from tests.bad_input.world import digits, fit, names, original, retrained

PLACES = {"f": slice(0, 60), "r": slice(60, 300), "t": slice(300, 500)}
PLAN = {
    "request": {"reference": "REQ-1"},
    "predictions": {"file": "answers.npz"},
    "battery": {"attacks": []},
    "report": {"controller": "Example"},
}

Arrays = dict[str, np.ndarray]
Edit = Callable[[Arrays], object]


@cache
def _logits(audited: str) -> Arrays:
    x, y = digits()
    groups = {}
    for letter, count, first in (("R", 19, 60), ("I", 2, 60), ("O", 4, 0)):
        with seeded_torch(ord(letter)):
            groups[letter] = [fit(x[first:300], y[first:300], k) for k in range(count)]
    groups["A"] = [retrained() if audited == "retrained" else original()]
    found: Arrays = {}
    for part, place in PLACES.items():
        found[f"y_{part}"], found[f"id_{part}"] = y[place], names("row-", np.arange(500)[place])
        rows = torch.tensor(x[place])
        for letter, models in groups.items():
            with torch.no_grad():
                answers = [model(rows).double().numpy() for model in models]
            found[f"logit_{letter}_{part}"] = np.stack(answers)
    return found


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def audit_file(edit: Edit, audited: str = "retrained") -> Callable[[], Audit]:
    """Return the audit of a file of predictions in which something was changed."""

    def play() -> Audit:
        arrays = {name: values.copy() for name, values in _logits(audited).items()}
        edit(arrays)
        with TemporaryDirectory() as folder:
            np.savez(Path(folder) / "answers.npz", **arrays)  # type: ignore[arg-type]
            plan = check_plan(PLAN, Path(folder))
            return carry_out(commissioned(plan))

    return play


def each(start: str, change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Return the edit of all arrays whose names begin so."""

    def edit(arrays: Arrays) -> None:
        for name in arrays:
            if name.startswith(start):
                arrays[name] = change(arrays[name])

    return edit


def first(model: int, change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Return the edit of one retrained model."""

    def edit(arrays: Arrays) -> None:
        for part in PLACES:
            arrays[f"logit_R_{part}"][model] = change(arrays[f"logit_R_{part}"][model])

    return edit


def most_of(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the change of the first fifteen models of a group."""
    return lambda values: np.concatenate([change(values[:15]), values[15:]])


def as_probabilities(change: Callable[[np.ndarray], np.ndarray] = softmax) -> Edit:
    """Return the edit that hands in all answers as probabilities."""

    def edit(arrays: Arrays) -> None:
        for name in [name for name in arrays if name.startswith("logit")]:
            arrays[name.replace("logit", "prob")] = change(arrays.pop(name))

    return edit


def shuffled(*starts: str) -> Edit:
    """Return the edit that puts rows in another order, as if files were sorted differently."""
    rng = np.random.default_rng(3)

    def edit(arrays: Arrays) -> None:
        for name in arrays:
            if name.startswith(starts):
                arrays[name] = arrays[name][:, rng.permutation(arrays[name].shape[1])]

    return edit


def fewer(count: int) -> Edit:
    """Return the edit that keeps so many rows to forget."""

    def edit(arrays: Arrays) -> None:
        for name in arrays:
            if name in ("y_f", "id_f"):
                arrays[name] = arrays[name][:count]
            elif name.endswith("_f"):
                arrays[name] = arrays[name][:, :count]

    return edit


def people(name: Callable[[str, int], str]) -> Edit:
    """Return the edit that puts people behind the rows."""

    def edit(arrays: Arrays) -> None:
        for part in PLACES:
            size = len(arrays[f"y_{part}"])
            arrays[f"unit_{part}"] = np.array([name(part, k) for k in range(size)])

    return edit


def of(name: str, place: Any, value: Any) -> Edit:
    """Return the edit of single entries."""

    def edit(arrays: Arrays) -> None:
        arrays[name] = arrays[name].astype(float) if value != value else arrays[name]
        arrays[name][place] = value

    return edit
