"""What the rows say of each model of a pool beside all the others, a few models at a time.

Means and sums of squares over the pool are gathered first, one model after the other; leaving a
model out is then subtraction. Nothing is ever held for all models but the log-odds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from forget_audit import stats
from forget_audit.nulls import Sums, total
from forget_audit.outputs import Derived
from forget_audit.types import Floats, Scope
from forget_audit.verdict.influence import TOP_SHARE, influences, projected, taught

TINY = 1e-12
AT_ONCE = 1 << 18  # scores in work at one time: 2 MiB an array

Columns = dict[str, Floats]


def statistics_of_rows(
    part: Derived, originals: Derived, scope: Scope, *, primary_only: bool = False
) -> dict[str, Floats]:
    """Measure every model of `part` against all the others there.

    Args:
        part: The pool.
        originals: Models trained with the forget rows.
        scope: Of the request: of rows, of a class or a sub-class.
        primary_only: Whether to leave out all but the primary statistic.

    Returns:
        Columns `(models,)` by name; `row_error` is the standard error of `rho_p` over rows, and
        `taken_off` what the control rows take off it, in requests for single rows.
    """
    main = _Influence.of(part, originals, scope, with_control=not primary_only)
    measures: list[_Influence | _Rest] = [main]
    if not primary_only:
        measures.append(_Rest.of(part, originals, scope))
    columns: dict[str, Floats] = {}
    for measure in measures:
        found = [measure.of_block(block) for block in _blocks(part)]
        columns |= {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    return columns if primary_only else {**columns, **_fidelity(part)}


def _blocks(part: Derived) -> Iterator[Derived]:
    """Yield a few models at a time, one if they have many rows."""
    size = max(1, AT_ONCE // len(part.labels))
    for start in range(0, len(part), size):
        yield part.take(np.arange(start, min(start + size, len(part))))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Influence:
    """The residual influence on the probability of the label.

    Args:
        sums: Of the pool.
        trained: Mean of the originals `(units,)`.
        adjust: Whether control rows tell what difficulty explains.
        with_control: Whether to say how much they take off.
    """

    sums: Sums
    trained: Floats
    adjust: bool
    with_control: bool

    @staticmethod
    def of(part: Derived, originals: Derived, scope: Scope, *, with_control: bool) -> "_Influence":
        size, trained = total(originals.each_p())
        adjust = scope == "instance"
        return _Influence(
            sums=Sums.of(part.each_p),
            trained=trained / size,
            adjust=adjust,
            with_control=with_control and adjust,
        )

    def of_block(self, block: Derived) -> Columns:
        own, n_f = block.p, block.n_f
        null = self.sums.without(own)
        main = influences(null, own, self.trained, n_f, adjust=self.adjust)
        columns = {"rho_p": main.rho, "row_error": main.standard_error}
        if self.with_control:
            whole = influences(null, own, self.trained, n_f, adjust=False)
            columns["taken_off"] = whole.rho - main.rho
        return columns


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rest:
    """The other statistics of rows: of log-odds, losses and whole predictions.

    Args:
        sums: Of the log-odds of the pool.
        trained: Mean log-odds of the originals `(units,)`.
        predictions: Sum of the predictions of the pool `(answers, classes)`.
        scope: Of the request.
    """

    sums: Sums
    trained: Floats
    predictions: Floats
    scope: Scope

    @staticmethod
    def of(part: Derived, originals: Derived, scope: Scope) -> "_Rest":
        size, trained = total(originals.each_phi())
        return _Rest(
            sums=Sums.of(part.each_phi),
            trained=trained / size,
            predictions=total(own for block in _blocks(part) for own in block.predictions)[1],
            scope=scope,
        )

    def of_block(self, block: Derived) -> Columns:
        own, n_f = block.phi, block.n_f
        null = self.sums.without(own)
        z = null.z(own)
        predictions = block.predictions
        others = (self.predictions - predictions) / (self.sums.size - 1)
        js = block.of_units(stats.jensen_shannon(predictions, others))
        entropies = block.of_units(stats.entropy(predictions))
        columns = {"test_z": z[:, n_f:].mean(axis=1)}
        if self.scope != "instance":
            return columns | {
                "js": np.log(js[:, :n_f].mean(axis=1) + TINY),
                "js_test": np.log(js[:, n_f:].mean(axis=1) + TINY),
                "entropy": entropies[:, :n_f].mean(axis=1),
                "entropy_test": entropies[:, n_f:].mean(axis=1),
            }
        columns |= _log_odds_influence(z, null, self.trained, n_f)
        return columns | _contrasts(z, block.loss, js, entropies, n_f)


def _log_odds_influence(z: Floats, null: stats.Null, trained: Floats, n_f: int) -> Columns:
    """Residual influence on the log-odds: over all forget rows, and over the most exposed tenth."""
    d = taught(null, trained, n_f)
    top = d >= np.quantile(d, 1 - TOP_SHARE, axis=1, keepdims=True)
    adjusted = stats.remove_difficulty(z, null, slice(n_f, None))[:, :n_f]
    whole, worst = projected(adjusted, d, None), projected(adjusted, d, None, top)
    return {"rho": whole.rho, "rho_top": worst.rho}


def _contrasts(z: Floats, loss: Floats, js: Floats, entropies: Floats, n_f: int) -> Columns:
    """Compare forget with control rows of each model, on scales with a steady spread."""
    pairs = n_f * (z.shape[1] - n_f)

    def area(scores: Floats) -> Floats:
        wins = stats.aucs(scores[:, :n_f], scores[:, n_f:]) * pairs
        return stats.log_odds_of_count(wins, pairs)

    def log_mean(values: Floats) -> Floats:
        return np.asarray(np.log(values.mean(axis=1) + TINY))

    columns = {
        "zauc": area(z),
        "loss_auc": area(-loss),
        "dispersion": log_mean(z[:, :n_f] ** 2) - log_mean(z[:, n_f:] ** 2),
        "js": log_mean(js[:, :n_f]) - log_mean(js[:, n_f:]),
        "entropy": entropies[:, :n_f].mean(axis=1) - entropies[:, n_f:].mean(axis=1),
    }
    hits = stats.true_positives_at_each(z[:, :n_f], z[:, n_f:], 0.01)
    if hits is not None:
        columns["tpr1"] = stats.log_odds_of_count(hits[0], n_f)
    return columns


def _fidelity(part: Derived) -> Columns:
    """Compare each model as a whole with the others: not forget-specific."""
    others = (part.label_shares.sum(axis=0) - part.label_shares) / (len(part) - 1)
    return {
        "retain_accuracy": part.retain_accuracy,
        "test_accuracy": part.test_accuracy,
        "label_shift": 0.5 * np.abs(part.label_shares - others).sum(axis=1),
    }
