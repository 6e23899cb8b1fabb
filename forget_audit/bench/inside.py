"""What the benchmark finds inside a model: probes of the features, and relearning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.linear_model import Ridge

from forget_audit import stats, whitebox
from forget_audit.errors import ModelError
from forget_audit.questions import labelled
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows

PENALTY = 1.0


def traces(targets: Sequence[Target], case: Case, seed: int) -> Mapping[str, Floats]:
    """Return `probe` and `relearn` of each model `(models,)`, higher meaning more is left.

    Args:
        targets: Models of one architecture.
        case: The request; one for single rows leaves no traces to look for.
        seed: Draws examples and output layers, the same for every model.

    Raises:
        ModelError: If a model has no features before its output layer.
    """
    if case.scope == "instance":
        return {}
    inside, outside = _sides(case)
    probes, losses = [], []
    for target in targets:
        layers = target.feature_layers(inside)
        if not layers:
            raise ModelError("expected learnt features before the output layer, found none")
        probes.append(whitebox.probe(target, inside, outside, layers[-1], seed))
        losses.append(whitebox.relearn(target, case, seed))
    return {"probe": np.array(probes), "relearn": -np.array(losses)}


def _sides(case: Case) -> tuple[Rows, Rows]:
    """Return never-trained rows with the class or label, and without."""
    if case.attribute is None:
        assert case.others is not None
        return case.test, case.others
    rows = labelled(case.test, case.attribute)
    return rows.take(rows.y == 1), rows.take(rows.y == 0)


def probe_auc(target: Target, case: Case) -> float:
    """Return the AUC of the forgotten label read from the penultimate features.

    A ridge regression of the label on features standardised over the auxiliary rows is taught
    there and tried on the test rows.
    """
    column = case.attribute
    assert column is not None
    taught, tried = labelled(case.auxiliary, column), labelled(case.test, column)
    x = target.features(taught)
    centre, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    judge = Ridge(alpha=PENALTY).fit((x - centre) / spread, taught.y)
    scores = judge.predict((target.features(tried) - centre) / spread)
    return stats.auc(scores[tried.y == 1], scores[tried.y == 0])
