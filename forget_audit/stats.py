"""Pure statistics: row scores, exact intervals, ROC at low false positive rates, exact tests.

Nothing here knows what a model is. Probabilities and logits never share a variable.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats
from statsmodels.stats.proportion import proportion_confint

from forget_audit.types import UNKNOWN, Floats, Labels

PHI_LIMIT = 30.0
LOSS_LIMIT = 400.0
PRIOR_DF = 4.0


def log_odds(logits: Floats, labels: Labels) -> Floats:
    """Return `log p_y - log(1 - p_y)` `(..., n)` of logits `(..., n, classes)`.

    Computed from logits, where it does not saturate, and clipped to +-30. Log-probabilities
    are accepted too. Carlini et al. (2022), arXiv:2112.03570, call it logit scaling. Of a matrix
    of labels `(n, classes)` it is the mean over the known labels of a row.
    """
    if labels.ndim == 2:
        return _over_labels(_class_log_odds, logits, labels)
    return _class_log_odds(logits, labels)


def _class_log_odds(logits: Floats, labels: Labels) -> Floats:
    index = np.broadcast_to(labels[..., None], (*logits.shape[:-1], 1))
    own = np.take_along_axis(logits, index, axis=-1)[..., 0]
    rest = logits.astype(np.float64, copy=True)
    np.put_along_axis(rest, index, -np.inf, axis=-1)
    phi = own - _log_sum_exp(rest)
    return np.asarray(np.clip(phi, -PHI_LIMIT, PHI_LIMIT), dtype=np.float64)


def _log_sum_exp(values: Floats) -> Floats:
    """Return `log sum exp` over the last axis; SciPy's costs three to five times as much."""
    peak = np.max(values, axis=-1, keepdims=True)
    peak[~np.isfinite(peak)] = 0.0
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.sum(np.exp(values - peak), axis=-1)) + peak[..., 0])


def yes_or_no(logits: Floats) -> Floats:
    """Return the logits `(..., 2)` of no and yes of outputs `(...)` that answer one label each."""
    return np.stack([np.zeros(logits.shape), logits], axis=-1)


def _over_labels(score: Callable[[Floats, Labels], Floats], logits: Floats, y: Labels) -> Floats:
    """Return the mean `(..., n)` of a row score over the known labels of each row."""
    each = score(yes_or_no(logits), np.maximum(y, 0))
    known = y != UNKNOWN
    return np.asarray(np.sum(each * known, axis=-1) / np.maximum(known.sum(axis=-1), 1))


def label_probability(phi: Floats) -> Floats:
    """Return the probability of the label that belongs to log-odds `phi`."""
    return np.asarray(special.expit(phi), dtype=np.float64)


def cross_entropy(logits: Floats, labels: Labels) -> Floats:
    """Return the loss `-log p_y` `(..., n)` in nats, clipped to [0, 400].

    Of a matrix of labels `(n, classes)` it is the mean over the known labels of a row.
    """
    if labels.ndim == 2:
        return _over_labels(_class_cross_entropy, logits, labels)
    return _class_cross_entropy(logits, labels)


def _class_cross_entropy(logits: Floats, labels: Labels) -> Floats:
    index = np.broadcast_to(labels[..., None], (*logits.shape[:-1], 1))
    log_p = special.log_softmax(logits.astype(np.float64), axis=-1)
    loss = -np.take_along_axis(log_p, index, axis=-1)[..., 0]
    return np.asarray(np.clip(loss, 0.0, LOSS_LIMIT), dtype=np.float64)


def probabilities(logits: Floats) -> Floats:
    """Return the softmax over the last axis."""
    return np.asarray(special.softmax(logits.astype(np.float64), axis=-1), dtype=np.float64)


def entropy(p: Floats) -> Floats:
    """Return the Shannon entropy over the last axis, in nats."""
    return np.asarray(np.sum(special.entr(p), axis=-1), dtype=np.float64)


def jensen_shannon(p: Floats, q: Floats) -> Floats:
    """Return the Jensen-Shannon divergence over the last axis, in bits: 0 equal, 1 disjoint."""
    middle = (p + q) / 2
    nats = np.sum(special.rel_entr(p, middle) + special.rel_entr(q, middle), axis=-1) / 2
    return np.asarray(np.maximum(nats, 0.0) / np.log(2), dtype=np.float64)


def bits_of_success(p: float) -> float:
    """Return the information `1 - H(p)` in bits of a binary guess that succeeds at rate `p`.

    Below one half counts as much as above it: whoever is wrong that often flips the answer.
    """
    return float(1.0 - np.sum(special.entr([p, 1.0 - p])) / np.log(2))


@dataclass(frozen=True, kw_only=True, eq=False)
class Null:
    """What models that never saw a row say about it.

    Args:
        mean: Mean over reference models `(n,)`.
        sd: Standard deviation `(n,)`, shrunk towards the common one.
    """

    mean: Floats
    sd: Floats

    def z(self, scores: Floats) -> Floats:
        """Return `scores` in standard deviations from the mean."""
        return np.asarray((scores - self.mean) / self.sd)


def calibrate(reference: Floats) -> Null:
    """Return mean and shrunk spread of `reference` `(models, n)` at each row.

    The variance is `(v s^2 + 4 s0^2) / (v + 4)` with `v` degrees of freedom and the mean
    variance `s0^2` over rows, so that few reference models give usable spreads.

    Raises:
        ValueError: With fewer than two reference models.
    """
    if len(reference) < 2:
        raise ValueError(f"expected at least two reference models, found {len(reference)}")
    df = len(reference) - 1
    variance = np.var(reference, axis=0, ddof=1)
    shrunk = (df * variance + PRIOR_DF * np.mean(variance)) / (df + PRIOR_DF)
    return Null(mean=np.mean(reference, axis=0), sd=np.sqrt(np.maximum(shrunk, 1e-24)))


def leave_one_out_nulls(pool: Floats) -> Null:
    """Return for each model of `pool` `(models, n)` the null `(models, n)` of all the others.

    Equal to calling `calibrate` on the others, by downdating sums of squares about the mean.

    Raises:
        ValueError: With fewer than three models.
    """
    if len(pool) < 3:
        raise ValueError(f"expected at least three models, found {len(pool)}")
    others = len(pool) - 1
    mean = pool.mean(axis=0)
    without = mean + (mean - pool) / others
    squares = np.sum((pool - mean) ** 2, axis=0) - (pool - mean) * (pool - without)
    variance = np.maximum(squares, 0.0) / (others - 1)
    df = others - 1
    shrunk = (df * variance + PRIOR_DF * variance.mean(axis=1, keepdims=True)) / (df + PRIOR_DF)
    return Null(mean=without, sd=np.sqrt(np.maximum(shrunk, 1e-24)))


def remove_difficulty(z: Floats, null: Null, control: slice) -> Floats:
    """Return `z` less what its difficulty explains, learnt on the `control` rows.

    Longer or shorter training moves hard and easy rows differently, which is no trace of
    anybody. A cubic in the null mean and the log spread, fitted on never-trained rows (ridge
    1e-3 on standardised columns), is taken off all rows.

    Args:
        z: Calibrated scores `(..., n)`, one model a line.
        null: Of the same shape.
        control: The never-trained rows among the `n`.
    """
    mean, log_sd = null.mean, np.log(null.sd)
    basis = np.stack([mean, mean**2, mean**3, log_sd], axis=-1)
    centre = basis[..., control, :].mean(axis=-2, keepdims=True)
    spread = basis[..., control, :].std(axis=-2, keepdims=True)
    basis = (basis - centre) / np.where(spread > 1e-12, spread, 1.0)
    design = np.concatenate([np.ones_like(basis[..., :1]), basis], axis=-1)
    seen = design[..., control, :]
    turned = np.swapaxes(seen, -1, -2)
    penalty = 1e-3 * seen.shape[-2] * np.diag([0.0, 1.0, 1.0, 1.0, 1.0])
    weights = np.linalg.solve(turned @ seen + penalty, turned @ z[..., control, None])
    return np.asarray(z - (design @ weights)[..., 0])


def auc(forget: Floats, control: Floats) -> float:
    """Return the share of pairs in which the forget row scores higher, ties counting one half."""
    return float(aucs(forget[None], control[None])[0])


def aucs(forget: Floats, control: Floats) -> Floats:
    """Return the AUC of each model, given scores `(models, n_f)` and `(models, n_c)`."""
    n_f, n_c = forget.shape[1], control.shape[1]
    ranks = stats.rankdata(np.concatenate([forget, control], axis=1), axis=1)
    return np.asarray((ranks[:, :n_f].sum(axis=1) - n_f * (n_f + 1) / 2) / (n_f * n_c))


def auc_interval(forget: Floats, control: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the AUC over rows by DeLong et al. (1988), doi:10.2307/2531595.

    On the logit scale, where it stays inside 0 and 1; at 0 or 1 it is the exact binomial bound
    of the smaller group.
    """
    n_f, n_c = len(forget), len(control)
    value = auc(forget, control)
    k = min(n_f, n_c)
    if value in (0.0, 1.0) or k < 2:
        return binomial_interval(round(value * k), k, level)
    combined = stats.rankdata(np.concatenate([forget, control]))
    placement_f = (combined[:n_f] - stats.rankdata(forget)) / n_c
    placement_c = 1 - (combined[n_f:] - stats.rankdata(control)) / n_f
    variance = np.var(placement_f, ddof=1) / n_f + np.var(placement_c, ddof=1) / n_c
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt(variance) / (value * (1 - value))
    middle = special.logit(value)
    return float(special.expit(middle - half)), float(special.expit(middle + half))


def binomial_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of Clopper and Pearson for `k` successes of `n`."""
    low, high = proportion_confint(k, n, alpha=1 - level, method="beta")
    return float(low), float(high)


def true_positives_at(forget: Floats, control: Floats, fpr: float) -> tuple[int, int] | None:
    """Return true and false positives at the loosest threshold that keeps `FP <= fpr n`.

    A forget row counts when it scores above the strictest control score that must be excluded.
    Returns nothing if the control rows cannot resolve `fpr`, that is if `n fpr < 1`.
    """
    allowed = int(np.floor(fpr * len(control) + 1e-9))
    if allowed < 1:
        return None
    threshold = np.sort(control)[::-1][allowed]
    return int(np.sum(forget > threshold)), int(np.sum(control > threshold))


def balanced_accuracy(forget: Floats, control: Floats, threshold: float) -> float:
    """Return the mean of the shares of forget rows at or above and control rows below."""
    return float((np.mean(forget >= threshold) + np.mean(control < threshold)) / 2)


def balanced_accuracy_interval(
    forget: Floats,
    control: Floats,
    threshold: float,
    rng: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval over rows, drawn within each group 1,999 times.

    With one row in a group, or if all rows of both groups agree, there is nothing to draw; then
    it is from 0 to 1.
    """
    hits = [(forget >= threshold).astype(np.float64), (control < threshold).astype(np.float64)]
    if min(len(part) for part in hits) < 2 or all(np.ptp(part) == 0 for part in hits):
        return 0.0, 1.0

    def rate(x: Floats, y: Floats, axis: int = -1) -> Floats:
        return np.asarray((x.mean(axis=axis) + y.mean(axis=axis)) / 2)

    found = stats.bootstrap(
        hits, rate, n_resamples=1999, confidence_level=level, method="percentile", rng=rng
    )
    low, high = found.confidence_interval
    return float(low), float(high)


def roc(forget: Floats, control: Floats) -> tuple[Floats, Floats]:
    """Return false and true positive rates at all thresholds, from (0, 0) to (1, 1)."""
    order = np.argsort(-np.concatenate([forget, control]), kind="stable")
    scores = np.concatenate([forget, control])[order]
    member = (order < len(forget)).astype(np.float64)
    last = np.append(np.diff(scores) != 0, True)
    tpr = np.concatenate([[0.0], np.cumsum(member)[last] / len(forget)])
    fpr = np.concatenate([[0.0], np.cumsum(1 - member)[last] / len(control)])
    return fpr, tpr


def log_odds_of_count(k: npt.ArrayLike, n: float) -> Floats:
    """Return the log-odds of `k` of `n` with one half added to both counts."""
    count = np.asarray(k, dtype=np.float64)
    return np.asarray(np.log((count + 0.5) / (n - count + 0.5)))
