"""What attacks say as metrics: with intervals, and beside what the yardsticks get.

Where people are behind rows, the person is what is scored and counted.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Scores, Series
from forget_audit.findings import AttackResult, Metric
from forget_audit.outputs import unit_means
from forget_audit.rows import unit_numbers
from forget_audit.seeds import generator
from forget_audit.types import SMALL_REQUEST, Case, Floats
from forget_audit.verdict import exact_tests

ROC_GRID = np.geomspace(1e-3, 1.0, 61)
Groups = Mapping[str, Sequence[Scores]]


def of_people(scores: Scores, case: Case) -> Scores:
    """Return one score a person, the mean over the scored rows, where people are behind rows.

    Rows of one person are no independent observations: intervals over rows would be too narrow.
    """
    if case.forget.units is None or not len(scores.forget):
        return scores
    owner = {
        row: unit
        for rows in case.roles().values()
        for row, unit in zip(rows.ids.tolist(), rows.groups.tolist(), strict=True)
    }
    means: dict[str, Any] = {}
    for part in ("forget", "control"):
        names = np.array([owner[row] for row in getattr(scores, f"{part}_ids").tolist()])
        means[part] = unit_means(getattr(scores, part), unit_numbers(names))
        means[f"{part}_ids"] = np.array(list(dict.fromkeys(names.tolist())), dtype=np.str_)
    return dataclasses.replace(scores, **means, fitted_on=frozenset())


def measured(info: AttackInfo, groups: Groups, seconds: float) -> AttackResult:
    """Return the metrics and curves of an attack, the audited model's beside the others'.

    Args:
        info: Card of the attack.
        groups: What it says of each model, by group.
        seconds: What it took.
    """
    audited = groups["audited"][0]
    values = {name: [_values(s) for s in scores] for name, scores in groups.items()}
    metrics = tuple(
        _metric(name, value, values, audited, ranked=info.kind != "method")
        for name, value in values["audited"][0].items()
    )
    curves: dict[str, Mapping[str, Series]] = {}
    if len(audited.forget) >= SMALL_REQUEST:
        curves["roc"] = _roc_series(groups)
    for name in audited.series:
        curves[name] = {
            group: _mean_series([s.series[name] for s in scores])
            for group, scores in groups.items()
            if scores
        }
    return AttackResult(
        name=info.name,
        outcome="informative",
        reason="",
        metrics=metrics,
        series=curves,
        duration_s=seconds,
    )


def _values(scores: Scores) -> dict[str, float]:
    """Turn the scores of one model into metrics."""
    values: dict[str, float] = {}
    if len(scores.forget):
        values["auc"] = stats.auc(scores.forget, scores.control)
        for name, rate in (("tpr_at_1_percent_fpr", 0.01), ("tpr_at_01_percent_fpr", 0.001)):
            hits = stats.true_positives_at(scores.forget, scores.control, rate)
            if hits is not None:
                values[name] = hits[0] / len(scores.forget)
        if scores.threshold is not None:
            values["balanced_accuracy"] = stats.balanced_accuracy(
                scores.forget, scores.control, scores.threshold
            )
    return {**values, **scores.scalars}


def _metric(
    name: str,
    value: float,
    measured: Mapping[str, list[dict[str, float]]],
    audited: Scores,
    *,
    ranked: bool,
) -> Metric:
    retrained = np.array([values[name] for values in measured["retrained"] if name in values])
    original = [values[name] for values in measured["original"] if name in values]
    low, high, construction = _interval(name, value, audited)
    return Metric(
        name=name,
        audited=value,
        low=low,
        high=high,
        construction=construction,
        retrained_mean=float(retrained.mean()),
        retrained_sd=float(retrained.std(ddof=1)),
        original_mean=float(np.mean(original)) if original else None,
        p_value=exact_tests.rank_p_value(value, retrained) if ranked else None,
    )


def _interval(name: str, value: float, audited: Scores) -> tuple[float | None, float | None, str]:
    n = len(audited.forget)
    if n and name == "auc":
        low, high = stats.auc_interval(audited.forget, audited.control)
        return low, high, "DeLong 95 %"
    if n and name == "balanced_accuracy" and audited.threshold is not None:
        rng = generator(0, "bootstrap")
        low, high = stats.balanced_accuracy_interval(
            audited.forget, audited.control, audited.threshold, rng
        )
        return low, high, "bootstrap 95 %"
    if n and name.startswith("tpr_"):
        low, high = stats.binomial_interval(round(value * n), n)
        return low, high, "Clopper-Pearson 95 %"
    return None, None, ""


def _roc_series(groups: Groups) -> dict[str, Series]:
    def at_grid(scores: Scores) -> Floats:
        fpr, tpr = stats.roc(scores.forget, scores.control)
        return np.asarray(tpr[np.searchsorted(fpr, ROC_GRID, side="right") - 1])

    def series(values: Floats) -> Series:
        return Series(
            x_label="false positive rate",
            y_label="true positive rate",
            x=tuple(ROC_GRID.tolist()),
            y=tuple(np.asarray(values).tolist()),
        )

    retrained = np.stack([at_grid(scores) for scores in groups["retrained"]])
    curves = {
        "audited": series(at_grid(groups["audited"][0])),
        "retrained_low": series(np.quantile(retrained, 0.05, axis=0)),
        "retrained_high": series(np.quantile(retrained, 0.95, axis=0)),
    }
    if groups["original"]:
        originals = np.stack([at_grid(scores) for scores in groups["original"]])
        curves["original"] = series(originals.mean(axis=0))
    return curves


def _mean_series(curves: Sequence[Series]) -> Series:
    first = curves[0]
    mean = np.mean([curve.y for curve in curves], axis=0)
    return Series(x_label=first.x_label, y_label=first.y_label, x=first.x, y=tuple(mean.tolist()))
