"""What the scores say beside the verdict: accuracy by class, and how scores are distributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.digests import plain
from forget_audit.types import SMALL_REQUEST, UNKNOWN, Floats, Json

GROUPS = {"audited": "A", "retrained": "R", "originals": "O"}
ROWS_A_BIN = 5
FEWEST_BINS, MOST_BINS = 6, 24
OUTER = 0.5  # percent on either side that goes into the outermost bins


def summaries(arrays: Mapping[str, npt.NDArray[Any]]) -> Json:
    """Return `side_effects` and, unless the request is small, `distributions` of the evidence.

    Args:
        arrays: Content of `scores.npz`.
    """
    found: Json = {"side_effects": {"groups": _by_class(arrays)}}
    people = arrays.get("unit_f")
    size = len(arrays["y_f"]) if people is None else len(np.unique(people))
    if size >= SMALL_REQUEST:
        found["distributions"] = _distributions(arrays)
    result: Json = plain(found)
    return result


def _by_class(arrays: Mapping[str, npt.NDArray[Any]]) -> list[Json]:
    """Return the accuracy on never-trained rows by class or label; small ones without their size.

    Rows of several labels count under each label that is known of them.
    """
    parts = [part for part in "to" if f"y_{part}" in arrays]
    labels = np.concatenate([arrays[f"y_{part}"] for part in parts])
    right = {letter: _right(arrays, letter, parts) for letter in "AR"}
    if labels.ndim == 2:
        known = labels != UNKNOWN
        return [
            _accuracies(f"label {k}", known[:, k], {g: hits[..., k] for g, hits in right.items()})
            for k in range(labels.shape[1])
        ]
    return [_accuracies(f"class {k}", labels == k, right) for k in np.unique(labels)]


def _right(
    arrays: Mapping[str, npt.NDArray[Any]], letter: str, parts: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Return which rows, or which labels of them, each model of a group answers right."""

    def of_part(part: str, model: int) -> npt.NDArray[np.bool_]:
        labels, logits = arrays[f"y_{part}"], arrays[f"logit_{letter}_{part}"][model]
        if labels.ndim == 2:
            return np.asarray((logits > 0) == (labels == 1))
        return np.asarray(logits.argmax(axis=-1) == labels)

    models = range(len(arrays[f"logit_{letter}_t"]))
    return np.stack([np.concatenate([of_part(part, m) for part in parts]) for m in models])


def _accuracies(
    name: str, inside: npt.NDArray[np.bool_], hits: Mapping[str, npt.NDArray[np.bool_]]
) -> Json:
    audited, retrained = (hits[letter][:, inside].mean(axis=1) for letter in "AR")
    size = int(inside.sum())
    return {
        "name": name,
        "rows": size if size >= SMALL_REQUEST else None,
        "audited": audited.mean(),
        "retrained_mean": retrained.mean(),
        "retrained_sd": retrained.std(ddof=1) if len(retrained) > 1 else None,
    }


def _distributions(arrays: Mapping[str, npt.NDArray[Any]]) -> Json:
    """Return histograms of the log-odds of the true label, shares of each group of models.

    Bins are wide enough that no single row can be read off; the outermost take what lies beyond.
    """
    phi: dict[tuple[str, str], Floats] = {
        (part, name): arrays[f"phi_{letter}_{part}"].ravel()
        for part in "ft"
        for name, letter in GROUPS.items()
    }
    everything = np.concatenate(list(phi.values()))
    low, high = np.percentile(everything, [OUTER, 100 - OUTER])
    bins = int(np.clip(len(arrays["y_f"]) // ROWS_A_BIN, FEWEST_BINS, MOST_BINS))
    edges = np.linspace(low, max(high, low + 1e-6), bins + 1)

    def shares(values: Floats) -> Floats:
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        return counts / max(len(values), 1)

    names = {"forget": "f", "test": "t"}
    return {
        "edges": edges,
        **{
            title: {name: shares(phi[part, name]) for name in GROUPS}
            for title, part in names.items()
        },
    }
