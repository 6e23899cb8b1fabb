"""The arrays of `scores.npz` as what models answered, with every shape and range checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.errors import VerificationError
from forget_audit.outputs import Outputs
from forget_audit.rows import unit_numbers
from forget_audit.types import UNKNOWN, Floats, Labels
from forget_audit.verdict.rehearsal import WAYS
from forget_audit.verdict.yardstick import WHITEBOX_FAMILY

Arrays = Mapping[str, npt.NDArray[Any]]


def outputs_of(arrays: Arrays, letter: str) -> Outputs:
    """Return what the models of a group answered.

    Args:
        arrays: Content of `scores.npz`.
        letter: Of the group, such as `R`.

    Raises:
        KeyError: If an array is missing.
        VerificationError: If an array has an odd shape or impossible values.
    """
    parts = [part for part in "fto" if f"y_{part}" in arrays]
    accuracy = _rates(arrays, f"racc_{letter}")
    logits = {part: arrays[f"logit_{letter}_{part}"] for part in parts}
    for part, values in logits.items():
        labels = arrays[f"y_{part}"]
        if values.ndim != 3 or values.shape[:2] != (len(accuracy), len(labels)):
            raise VerificationError(
                f"logit_{letter}_{part}: expected {len(accuracy)} models and {len(labels)} rows, "
                f"found shape {values.shape}"
            )
        finite = values.dtype.kind == "f" and all(np.isfinite(model).all() for model in values)
        if not finite or not _fit(labels, values.shape[2]):
            raise VerificationError(f"logit_{letter}_{part} or its labels are out of range")
    return Outputs(
        logits_f=logits["f"],
        logits_t=logits["t"],
        y_f=arrays["y_f"],
        y_t=arrays["y_t"],
        retain_accuracy=accuracy,
        test_accuracy=(
            _rates(arrays, f"tacc_{letter}")
            if f"tacc_{letter}" in arrays
            else _accuracies(arrays, {p: v for p, v in logits.items() if p != "f"})
        ),
        traces=_traces(arrays, letter, len(accuracy)),
        units_f=_units(arrays, "f"),
        units_t=_units(arrays, "t"),
        second=_second(arrays, letter, len(accuracy)),
    )


def _second(arrays: Arrays, letter: str, models: int) -> Mapping[str, tuple[Floats, Floats]]:
    """Return what the models of a group answered when they were asked again."""
    found = {}
    for way in (way for way in WAYS if f"{way}_R_f" in arrays):
        pair = []
        for part in "ft":
            name = f"{way}_{letter}_{part}"
            values, rows = arrays[name], len(arrays[f"y_{part}"])
            fits = values.shape == (models, rows) and values.dtype.kind == "f"
            if not fits or not np.isfinite(values).all():
                raise VerificationError(
                    f"{name}: expected finite numbers of {models} models and {rows} rows, found "
                    f"shape {values.shape}"
                )
            pair.append(values.astype(np.float64))
        found[way] = (pair[0], pair[1])
    return found


def _fit(labels: Labels, outputs: int) -> bool:
    """Say whether labels are classes of as many outputs, or a matrix with a column for each."""
    if labels.dtype.kind != "i" or not labels.size:
        return False
    if labels.ndim == 2:
        known = np.any(labels != UNKNOWN, axis=1)
        return labels.shape[1] == outputs and bool(
            np.isin(labels, (UNKNOWN, 0, 1)).all() and known.all()
        )
    return labels.ndim == 1 and bool(labels.min() >= 0 and labels.max() < outputs)


def _accuracies(arrays: Arrays, logits: Mapping[str, Floats]) -> Floats:
    """Return the accuracy of each model `(models,)` over the rows of all parts."""
    models = zip(*logits.values(), strict=True)
    each = [[hits(own, arrays[f"y_{p}"]) for p, own in zip(logits, m, strict=True)] for m in models]
    return np.array([np.concatenate(parts).mean() for parts in each])


def hits(logits: Floats, labels: Labels) -> Floats:
    """Return the share of each row that one model answers right `(n,)`."""
    if labels.ndim == 1:
        return np.asarray(np.argmax(logits, axis=-1) == labels, dtype=np.float64)
    known = labels != UNKNOWN
    right = ((logits > 0) == (labels == 1)) & known
    return np.asarray(right.sum(axis=-1) / known.sum(axis=-1))


def _units(arrays: Arrays, part: str) -> Labels | None:
    """Return the number of the person behind each row, if rows have people behind them."""
    names = arrays.get(f"unit_{part}")
    if names is not None and (
        names.shape != (len(arrays[f"y_{part}"]),) or names.dtype.kind != "U"
    ):
        raise VerificationError(f"unit_{part}: expected one pseudonym a row")
    return None if names is None else unit_numbers(names)


def _rates(arrays: Arrays, name: str) -> Floats:
    rates = arrays[name].astype(np.float64)
    if rates.ndim != 1 or not np.all((rates >= 0) & (rates <= 1)):
        raise VerificationError(f"{name}: expected rates between 0 and 1")
    return rates


def _traces(arrays: Arrays, letter: str, models: int) -> Mapping[str, Floats]:
    known = [name for name in (*WHITEBOX_FAMILY, "head") if f"{name}_R" in arrays]
    traces = {name: arrays[f"{name}_{letter}"].astype(np.float64) for name in known}
    for name, values in traces.items():
        if values.shape != (models,) or not np.all(np.isfinite(values)):
            raise VerificationError(
                f"{name}_{letter}: expected {models} finite numbers, found shape {values.shape}"
            )
    return traces
