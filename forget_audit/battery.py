"""Runs every registered attack on the audited model and on its yardsticks.

Attacks end at scores; here the scores become metrics with intervals, each beside what
retrained models and originals get from the very same code.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from forget_audit import exact_tests, registry, stats
from forget_audit.contracts import Attack, AttackInfo, Fitted, Scores, Series
from forget_audit.errors import ForgetAuditError, NotApplicable
from forget_audit.findings import AttackResult, Metric
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.trials import Experiment, Lab, Labs
from forget_audit.types import (
    ACCESS_ORDER,
    SMALL_REQUEST,
    Access,
    Case,
    Floats,
    Outcome,
    Progress,
)

log = logging.getLogger(__name__)

FAILURES = (ForgetAuditError, ValueError, RuntimeError, ArithmeticError, LookupError)
YARDSTICKS = 3
ROC_GRID = np.geomspace(1e-3, 1.0, 61)
Groups = Mapping[str, Sequence[Scores]]


def run_battery(
    audited: Target,
    pool: Pool,
    case: Case,
    seed: int,
    names: Sequence[str] | None = None,
    progress: Progress = lambda _: None,
    *,
    access: Access = "weights",
) -> list[AttackResult]:
    """Run all registered attacks; each gets a row, also when it was not run.

    Args:
        audited: The audited model (the first copy).
        pool: Reference models.
        case: The rows.
        seed: Root seed; every attack has generators of its own.
        names: Attacks to run; all if left out.
        progress: Called with 1 after each attack.
        access: The most that attacks may ask of any model.
    """
    results = []
    for name, kind in registry.attacks().items():
        if names is not None and name not in names:
            results.append(_empty(name, "not-run", "the plan does not ask for it", 0.0))
        elif ACCESS_ORDER.index(kind.info.access) > ACCESS_ORDER.index(access):
            reason = f"needs access {kind.info.access!r}, this audit has {access!r}"
            results.append(_empty(name, "not-applicable", reason, 0.0))
        elif case.scope not in kind.info.scopes:
            results.append(_empty(name, "not-applicable", _unserved(kind.info, case), 0.0))
        else:
            attack = kind()
            results.append(
                _tried(attack.info, partial(score_groups, attack, audited, pool, case, seed))
            )
        progress(1)
    return results


def run_experiments(
    labs: Labs | None,
    case: Case,
    seed: int,
    names: Sequence[str],
    progress: Progress = lambda _: None,
) -> list[AttackResult]:
    """Run experiments on the method; each gets a row, also when it was not run.

    Args:
        labs: Where models forget by the method, by retraining, or not at all; none if the
            audited model was handed in.
        case: The rows.
        seed: Root seed; every experiment has generators of its own.
        names: Experiments to run.
        progress: Called with 1 after each experiment.
    """
    results = []
    for name, kind in registry.experiments().items():
        if name not in names:
            reason = "it trains models of its own, and the plan does not ask for it"
            results.append(_empty(name, "not-run", reason, 0.0))
        elif labs is None:
            reason = "it tests a method, and the audited model was handed in ready-made"
            results.append(_empty(name, "not-applicable", reason, 0.0))
        elif case.scope not in kind.info.scopes:
            results.append(_empty(name, "not-applicable", _unserved(kind.info, case), 0.0))
        else:
            experiment = kind()
            results.append(_tried(experiment.info, partial(conduct, experiment, labs, case, seed)))
        progress(1)
    return results


def _unserved(info: AttackInfo, case: Case) -> str:
    return f"is for {' and '.join(sorted(info.scopes))} requests, this is a {case.scope} request"


def conduct(experiment: Experiment, labs: Labs, case: Case, seed: int) -> Groups:
    """Carry out an experiment once by the method, thrice by retraining, and once by nothing."""

    def run(lab: Lab, repetition: int) -> Scores:
        name = experiment.info.name
        return experiment.run(lab, case, generator(seed, "experiment", name, repetition))

    return {
        "audited": [run(labs.method, 0)],
        "retrained": [run(labs.retraining, k) for k in range(YARDSTICKS)],
        "original": [run(labs.nothing, 0)],
    }


def _tried(info: AttackInfo, measure: Callable[[], Groups]) -> AttackResult:
    """Return the result of what `measure` scores, or the reason why there is none."""
    start = time.perf_counter()
    try:
        return _result(info, measure(), start)
    except NotApplicable as error:
        return _empty(info.name, "not-applicable", str(error), time.perf_counter() - start)
    except FAILURES as error:
        log.exception("%s failed", info.name)
        reason = f"{type(error).__name__}; the log says more"  # its text may hold data
        return _empty(info.name, "error", reason, time.perf_counter() - start)


def score_groups(attack: Attack, audited: Target, pool: Pool, case: Case, seed: int) -> Groups:
    """Score the audited model, the retrained models and the originals with one attack.

    An attack that learns from retrained models scores each of them by a fit on the others.
    """
    name, access = attack.info.name, attack.info.access

    def fitted(without: int | None) -> Fitted:
        part = pool if without is None else pool.without(without)
        return attack.fit(part, case, generator(seed, "attack", name, "fit"))

    def scores(fit: Fitted, target: Target) -> Scores:
        rng = generator(seed, "attack", name, "score")
        return fit.score(target.restricted(access), rng)

    whole = fitted(None)
    alone = attack.info.leave_one_out
    return {
        "audited": [scores(whole, audited)],
        "retrained": [
            scores(fitted(i) if alone else whole, target) for i, target in enumerate(pool.retrained)
        ],
        "original": [scores(whole, target) for target in pool.originals],
    }


def _result(info: AttackInfo, groups: Groups, start: float) -> AttackResult:
    audited = groups["audited"][0]
    measured = {name: [_values(s) for s in scores] for name, scores in groups.items()}
    metrics = tuple(
        _metric(name, value, measured, audited, ranked=info.kind != "method")
        for name, value in measured["audited"][0].items()
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
        duration_s=time.perf_counter() - start,
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


def _empty(name: str, outcome: Outcome, reason: str, seconds: float) -> AttackResult:
    return AttackResult(
        name=name, outcome=outcome, reason=reason, metrics=(), series={}, duration_s=seconds
    )
