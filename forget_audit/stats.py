"""Pure statistics: row scores, exact intervals, ROC at low false positive rates, exact tests.

Nothing here knows what a model is. Probabilities and logits never share a variable.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from forget_audit.nulls import Null as Null
from forget_audit.nulls import calibrate as calibrate
from forget_audit.nulls import leave_one_out_nulls as leave_one_out_nulls
from forget_audit.nulls import remove_difficulty as remove_difficulty
from forget_audit.resampling import Bootstrap as Bootstrap
from forget_audit.resampling import balanced_accuracy_interval as balanced_accuracy_interval
from forget_audit.resampling import bootstrap as bootstrap
from forget_audit.types import UNKNOWN, Floats, Labels

PHI_LIMIT = 30.0
LOSS_LIMIT = 400.0


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


def auc(forget: Floats, control: Floats) -> float:
    """Return the share of pairs in which the forget row scores higher, ties counting one half."""
    return float(aucs(forget[None], control[None])[0])


def aucs(forget: Floats, control: Floats) -> Floats:
    """Return the AUC of each model `(models,)`, given scores `(models, n_f)` and `(models, n_c)`.

    Thousands of models at once cost what sorting their scores costs.
    """
    pairs = zip(np.sort(forget, axis=1), np.sort(control, axis=1), strict=True)
    twice = [np.searchsorted(c, f).sum() + np.searchsorted(c, f, "right").sum() for f, c in pairs]
    return np.asarray(np.array(twice, np.float64) / 2 / (forget.shape[1] * control.shape[1]))


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
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, k, n - k + 1) if k > 0 else 0.0
    high = stats.beta.isf(tail, k + 1, n - k) if k < n else 1.0
    return float(low), float(high)


def true_positives_at(forget: Floats, control: Floats, fpr: float) -> tuple[int, int] | None:
    """Return true and false positives at the loosest threshold that keeps `FP <= fpr n`.

    A forget row counts when it scores above the strictest control score that must be excluded.
    Returns nothing if the control rows cannot resolve `fpr`, that is if `n fpr < 1`.
    """
    found = true_positives_at_each(forget[None], control[None], fpr)
    return None if found is None else (int(found[0][0]), int(found[1][0]))


def true_positives_at_each(
    forget: Floats, control: Floats, fpr: float
) -> tuple[Labels, Labels] | None:
    """Return `true_positives_at` of each model `(models,)`, from scores `(models, n)`."""
    n = control.shape[1]
    allowed = int(np.floor(fpr * n + 1e-9))
    if allowed < 1:
        return None
    if allowed >= n:
        return np.full(len(forget), forget.shape[1]), np.full(len(control), n)
    place = n - 1 - allowed
    threshold = np.partition(control, place, axis=1)[:, place, None]
    return np.sum(forget > threshold, axis=1), np.sum(control > threshold, axis=1)


def balanced_accuracy(forget: Floats, control: Floats, threshold: float) -> float:
    """Return the mean of the shares of forget rows at or above and control rows below."""
    return float((np.mean(forget >= threshold) + np.mean(control < threshold)) / 2)


def roc(forget: Floats, control: Floats) -> tuple[Floats, Floats]:
    """Return false and true positive rates at all thresholds, from (0, 0) to (1, 1)."""
    order = np.argsort(-np.concatenate([forget, control]), kind="stable")
    scores = np.concatenate([forget, control])[order]
    member = (order < len(forget)).astype(np.float64)
    last = np.append(np.diff(scores) != 0, True)
    tpr = np.concatenate([[0.0], np.cumsum(member)[last] / len(forget)])
    fpr = np.concatenate([[0.0], np.cumsum(1 - member)[last] / len(control)])
    return fpr, tpr


def roc_each(forget: Floats, control: Floats, grid: Floats) -> Floats:
    """Return the ROC of each model on a grid of false positive rates `(models, grid)`.

    The true positive rate at the loosest threshold whose false positive rate does not exceed
    that of the grid: `tpr[searchsorted(fpr, grid, "right") - 1]` of `roc`, of all models at once.

    Args:
        forget: Scores `(models, n_f)`.
        control: Scores `(models, n_c)`.
        grid: False positive rates from 0 to 1 `(grid,)`.
    """
    n_f, n_c = forget.shape[1], control.shape[1]
    allowed = np.searchsorted(np.arange(n_c + 1) / n_c, grid, side="right") - 1
    # with as many allowed as there are control rows, no score is too low
    cuts = np.column_stack([np.full(len(control), -np.inf), np.sort(control, axis=1)])
    thresholds = cuts[:, n_c - np.minimum(allowed, n_c)]
    ranked = zip(np.sort(forget, axis=1), thresholds, strict=True)
    below = np.array([np.searchsorted(f, cut, side="right") for f, cut in ranked])
    return np.asarray((n_f - below) / n_f)


def log_odds_of_count(k: npt.ArrayLike, n: float) -> Floats:
    """Return the log-odds of `k` of `n` with one half added to both counts."""
    count = np.asarray(k, dtype=np.float64)
    return np.asarray(np.log((count + 0.5) / (n - count + 0.5)))
