"""What attacks say as metrics: with intervals, and beside what the yardsticks get.

Where people are behind rows, the person is what is scored and counted.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Scores, Series
from forget_audit.findings import AttackResult, Metric
from forget_audit.outputs import unit_means
from forget_audit.rows import unit_numbers
from forget_audit.seeds import generator
from forget_audit.types import SMALL_REQUEST, Case, Floats, Ids, Labels, Rows
from forget_audit.verdict import exact_tests

ROC_GRID = np.geomspace(1e-3, 1.0, 61)
Groups = Mapping[str, Sequence[Scores]]
_KNOWN: WeakKeyDictionary[Rows, tuple[Ids, Labels]] = WeakKeyDictionary()


def of_people(scores: Scores, case: Case) -> Scores:
    """Return one score a person, the mean over the scored rows, where people are behind rows.

    Rows of one person are no independent observations: intervals over rows would be too narrow.
    """
    if case.forget.units is None or not len(scores.forget):
        return scores
    means: dict[str, Any] = {}
    for part, rows in (("forget", case.forget), ("control", case.test)):
        ids = getattr(scores, f"{part}_ids")
        people, number = _people(rows) if ids is rows.ids else _counted(_owners(ids, case))
        means[part] = unit_means(getattr(scores, part), number)
        means[f"{part}_ids"] = people
    return dataclasses.replace(scores, **means, fitted_on=frozenset())


def _people(rows: Rows) -> tuple[Ids, Labels]:
    """Return `_counted` of the units of rows, looked up once."""
    if rows not in _KNOWN:
        _KNOWN[rows] = _counted(rows.groups)
    return _KNOWN[rows]


def _owners(ids: Ids, case: Case) -> Ids:
    """Return the person behind each row that is named by its id."""
    owner = {
        row: unit
        for rows in case.roles().values()
        for row, unit in zip(rows.ids.tolist(), rows.groups.tolist(), strict=True)
    }
    return np.array([owner[row] for row in ids.tolist()], dtype=np.str_)


def _counted(names: Ids) -> tuple[Ids, Labels]:
    """Return the people in order of their first rows, and the number of that behind each row."""
    return np.array(list(dict.fromkeys(names.tolist())), dtype=np.str_), unit_numbers(names)


def measured(info: AttackInfo, groups: Groups, seconds: float) -> AttackResult:
    """Return the metrics and curves of an attack, the audited model's beside the others'.

    Args:
        info: Card of the attack.
        groups: What it says of each model, by group.
        seconds: What it took.
    """
    audited = groups["audited"][0]
    values = {name: _values(scores) for name, scores in groups.items()}
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


def _values(every: Sequence[Scores]) -> list[dict[str, float]]:
    """Turn the scores of each model into metrics, all models at once."""
    values: list[dict[str, float]] = [{} for _ in every]
    for places, forget, control in _stacked(every):
        columns = {"auc": stats.aucs(forget, control)}
        for name, rate in (("tpr_at_1_percent_fpr", 0.01), ("tpr_at_01_percent_fpr", 0.001)):
            hits = stats.true_positives_at_each(forget, control, rate)
            if hits is not None:
                columns[name] = hits[0] / forget.shape[1]
        for k, place in enumerate(places):
            values[place] |= {name: float(column[k]) for name, column in columns.items()}
    for scores, found in zip(every, values, strict=True):
        if found and scores.threshold is not None:
            found["balanced_accuracy"] = stats.balanced_accuracy(
                scores.forget, scores.control, scores.threshold
            )
        found |= scores.scalars
    return values


def _stacked(every: Sequence[Scores]) -> Iterator[tuple[list[int], Floats, Floats]]:
    """Yield positions, forget scores `(k, n_f)` and control scores `(k, n_c)` of equal sizes."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for place, scores in enumerate(every):
        if len(scores.forget):
            sizes.setdefault((len(scores.forget), len(scores.control)), []).append(place)
    for places in sizes.values():
        forget = np.stack([every[place].forget for place in places])
        yield places, forget, np.stack([every[place].control for place in places])


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
    def series(values: Floats) -> Series:
        return Series(
            x_label="false positive rate",
            y_label="true positive rate",
            x=tuple(ROC_GRID.tolist()),
            y=tuple(np.asarray(values).tolist()),
        )

    retrained = _on_grid(groups["retrained"])
    curves = {
        "audited": series(_on_grid(groups["audited"])[0]),
        "retrained_low": series(np.quantile(retrained, 0.05, axis=0)),
        "retrained_high": series(np.quantile(retrained, 0.95, axis=0)),
    }
    if groups["original"]:
        curves["original"] = series(_on_grid(groups["original"]).mean(axis=0))
    return curves


def _on_grid(every: Sequence[Scores]) -> Floats:
    """Return the true positive rates of each model on the grid of false ones `(models, grid)`."""
    curves = np.zeros((len(every), len(ROC_GRID)))
    for places, forget, control in _stacked(every):
        curves[places] = stats.roc_each(forget, control, ROC_GRID)
    return curves


def _mean_series(curves: Sequence[Series]) -> Series:
    first = curves[0]
    mean = np.mean([curve.y for curve in curves], axis=0)
    return Series(x_label=first.x_label, y_label=first.y_label, x=first.x, y=tuple(mean.tolist()))
