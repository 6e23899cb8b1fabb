"""Rows drawn again: bootstraps of what separates two groups of scores, many at a time.

A draw is a weight for each row, so nothing is sorted again: the scores are sorted once, each
draw counts how often it took each value, and running sums of the counts give every threshold.
Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forget_audit.types import Floats

Counts = npt.NDArray[np.int64]

DRAWS = 1999
AT_ONCE = 120_000  # counts of a block, few enough for the processor's cache
SEPARATED = 50.0
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bootstrap:
    """What separates two groups of scores, in each of many draws of their rows.

    Args:
        auc: Share of pairs in which the forget row scores higher, ties one half `(draws,)`.
        accuracy: Balanced accuracy at the best threshold of the draw `(draws,)`.
        tpr: True positive rate at the loosest threshold that keeps each false positive rate
            `(draws, rates)`; not a number where the control rows cannot resolve the rate.
        epsilon: Largest epsilon over all thresholds, were the error rates of the draw the true
            ones `(draws,)`. Thresholds with exactly one error rate of zero are left out, a draw
            that is separated counts 50. It leans upwards and belongs in no verdict.
        epsilon_at: The same of the thresholds of `tpr` alone, from true and false positive rate
            `(draws, rates)`; not a number without false positives.
    """

    auc: Floats
    accuracy: Floats
    tpr: Floats
    epsilon: Floats
    epsilon_at: Floats


def bootstrap(
    forget: Floats,
    control: Floats,
    draws: int,
    rng: np.random.Generator,
    *,
    rates: Sequence[float] = (0.01, 0.001),
    delta: float = 0.0,
) -> Bootstrap:
    """Draw the rows of each group again, with replacement, and measure every draw.

    Args:
        forget: Scores `(n_f,)`, higher for rows that were trained on.
        control: Scores `(n_c,)`.
        draws: How often.
        rng: Draws `integers(0, n_f, (size, n_f))`, then the same of the control rows, for one
            block of draws after the other.
        rates: False positive rates, from 0 to 1.
        delta: Of the definition of epsilon.
    """
    scores = np.concatenate([forget, control])
    values, place = np.unique(-scores, return_inverse=True)
    step = max(1, AT_ONCE // max(len(values), len(scores)))
    parts = []
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn_f, drawn_c = (
            _counts(part, size, len(values), rng)
            for part in (place[: len(forget)], place[len(forget) :])
        )
        parts.append(_measure(drawn_f, drawn_c, rates, delta))
    return Bootstrap(
        **{
            name: np.concatenate([part[name] for part in parts])
            for name in ("auc", "accuracy", "tpr", "epsilon", "epsilon_at")
        }
    )


def _counts(place: Counts, draws: int, n: int, rng: np.random.Generator) -> Counts:
    """Return how many of the drawn rows take each value `(draws, n)`, the highest first."""
    drawn = place[rng.integers(0, len(place), (draws, len(place)))]
    drawn += n * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n)


def _measure(
    drawn_f: Counts, drawn_c: Counts, rates: Sequence[float], delta: float
) -> dict[str, Floats]:
    above_f, above_c = np.cumsum(drawn_f, axis=1), np.cumsum(drawn_c, axis=1)
    n_f, n_c = int(above_f[0, -1]), int(above_c[0, -1])
    wins = np.einsum("dv,dv->d", drawn_c, above_f) - np.einsum("dv,dv->d", drawn_c, drawn_f) / 2
    auc = np.asarray(wins / (n_f * n_c))
    hits, alarms = _at_rates(above_f, above_c, rates)
    tpr = hits / n_f
    with np.errstate(divide="ignore"):
        plug_in = np.log(np.maximum(tpr - delta, TINY)) - np.log(alarms / n_c)
    unresolved = np.floor(np.asarray(rates) * n_c + 1e-9) < 1
    return {
        "auc": auc,
        "accuracy": np.max(above_f / n_f - above_c / n_c, axis=1) / 2 + 0.5,
        "tpr": np.where(unresolved, np.nan, tpr),
        "epsilon": np.where(auc == 1.0, SEPARATED, _largest_epsilon(above_f, above_c, delta)),
        "epsilon_at": np.where(unresolved | (alarms == 0), np.nan, np.maximum(plug_in, 0.0)),
    }


def _at_rates(above_f: Counts, above_c: Counts, rates: Sequence[float]) -> tuple[Counts, Counts]:
    """Return true and false positives at the loosest threshold that keeps each rate."""
    draws, n = above_f.shape
    n_c = int(above_c[0, -1])
    allowed = np.floor(np.asarray(rates) * n_c + 1e-9).astype(np.int64)
    shift = (n_c + 1) * np.arange(draws)[:, None]
    # one search in all draws: the counts of each begin above those of the one before
    found = np.searchsorted((above_c + shift).ravel(), np.minimum(allowed, n_c) + shift, "right")
    kept = found - n * np.arange(draws)[:, None] - 1
    rows, some = np.arange(draws)[:, None], kept >= 0
    return np.where(some, above_f[rows, kept], 0), np.where(some, above_c[rows, kept], 0)


def _largest_epsilon(above_f: Counts, above_c: Counts, delta: float) -> Floats:
    """Return the largest plug-in epsilon over thresholds; logarithms are looked up by count."""
    n_f, n_c = int(above_f[0, -1]), int(above_c[0, -1])
    tpr, fpr = np.arange(n_f + 1) / n_f, np.arange(n_c + 1) / n_c
    with np.errstate(divide="ignore"):
        hit, miss = np.log(np.maximum(tpr - delta, TINY)), np.log(1 - tpr)
        alarm, quiet = np.log(fpr), np.log(np.maximum(1 - fpr - delta, TINY))
    hit[-1], miss[-1] = -np.inf, np.inf
    alarm[0], quiet[0] = np.inf, -np.inf
    first = np.max(quiet[above_c] - miss[above_f], axis=1)
    second = np.max(hit[above_f] - alarm[above_c], axis=1)
    return np.asarray(np.maximum(np.maximum(first, second), 0.0))


def balanced_accuracy_interval(
    forget: Floats,
    control: Floats,
    threshold: float,
    rng: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval over rows, drawn within each group 1,999 times.

    How many of the drawn rows are right is binomial, so that number is what is drawn. With one
    row in a group, or if all rows of both groups agree, there is nothing to draw; then it is
    from 0 to 1.
    """
    hits = [forget >= threshold, control < threshold]
    if min(len(part) for part in hits) < 2 or all(np.ptp(part.astype(int)) == 0 for part in hits):
        return 0.0, 1.0
    rates = [rng.binomial(len(part), part.mean(), DRAWS) / len(part) for part in hits]
    low, high = np.quantile((rates[0] + rates[1]) / 2, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
