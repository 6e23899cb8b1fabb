"""Requests to forget one label of all rows: where the label is sought in a model.

A model retrained without the label has an output for it that was never taught anything, so its
answers are arbitrary and no yardstick. What counts is how well the label can be read from the
features, and how well its output ranks the rows; answers that are always wrong tell as much as
answers that are always right.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from forget_audit import stats, whitebox
from forget_audit.errors import NotApplicable
from forget_audit.questions import labelled
from forget_audit.targets import Target
from forget_audit.types import Access, Case, Floats, Progress, Rows

FEWEST_OF_EACH = 30


def look_inside(
    targets: Sequence[Target],
    case: Case,
    seed: int,
    access: Access,
    progress: Progress = lambda _: None,
) -> Mapping[str, Floats]:
    """Return every trace that request and access allow, by name `(models,)`.

    Args:
        targets: Models of one architecture.
        case: The request; one for single rows leaves no traces to look for.
        seed: Draws examples and output layers, the same for every model.
        access: What this audit may use.
        progress: Called with 1 after each model.
    """
    if case.scope == "attribute":
        return traces([t.restricted(access) for t in targets], case, seed, progress)
    if case.scope == "instance" or access != "weights":
        progress(len(targets))
        return {}
    return whitebox.traces(targets, case, seed, progress)


def traces(
    targets: Sequence[Target], case: Case, seed: int, progress: Progress = lambda _: None
) -> Mapping[str, Floats]:
    """Return what each model betrays of the forgotten label `(models,)`, higher meaning more.

    `head`: log-odds of the AUC at which its output tells never-trained rows with the label from
    those without. With access to weights also `probe` and `first_probe`, how well a few examples
    find the label again in the features, and `relearn`, how low its loss gets when a fresh output
    layer is trained for a moment.

    Args:
        targets: Models of one architecture.
        case: An attribute request.
        seed: Draws examples and output layers, the same for every model.
        progress: Called with 1 after each model.

    Raises:
        NotApplicable: If too few control rows have the label, or lack it.
    """
    column = case.attribute
    assert column is not None
    rows = labelled(case.test, column)
    inside, outside = rows.take(rows.y == 1), rows.take(rows.y == 0)
    if min(len(inside), len(outside)) < FEWEST_OF_EACH:
        raise NotApplicable(
            f"needs {FEWEST_OF_EACH} never-trained rows with the label and as many without, found "
            f"{len(inside)} and {len(outside)}"
        )
    found: dict[str, list[float]] = {}
    for target in targets:
        values = {"head": _head(target, rows, column)}
        if target.access == "weights":
            layers = target.feature_layers(rows)
            if not layers:
                raise NotApplicable("the model has no learnt features before its output layer")
            values |= {
                "probe": whitebox.probe(target, inside, outside, layers[-1], seed),
                "first_probe": whitebox.probe(target, inside, outside, layers[0], seed),
                "relearn": -whitebox.relearn(target, case, seed),
            }
        for name, value in values.items():
            found.setdefault(name, []).append(value)
        progress(1)
    return {name: np.array(column) for name, column in found.items()}


def _head(target: Target, rows: Rows, column: int) -> float:
    scores = target.logits(rows)[:, column]
    pairs = float(np.sum(rows.y == 1) * np.sum(rows.y == 0))
    wins = stats.auc(scores[rows.y == 1], scores[rows.y == 0]) * pairs
    return float(stats.log_odds_of_count(wins, pairs))
