"""Many small logistic regressions at once: one feature, a ridge penalty on its slope."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from forget_audit.types import Floats

ENOUGH, MOST_STEPS, LONGEST = 1e-10, 100, 5.0
AT_ONCE = 50_000  # numbers, few enough to stay near the processor


def fit_many(
    x: Floats, y: npt.NDArray[np.bool_], weight: npt.NDArray[np.bool_] | Floats, c: float
) -> tuple[Floats, Floats]:
    """Return slope and intercept of each regression `(fits,)`.

    The same minimum as that of scikit-learn's `LogisticRegression(C=c)`: `slope**2 / 2` plus `c`
    times the weighted sum of the log-losses, found by Newton's method on many regressions side
    by side, each until it has arrived. A step is at most as long as `LONGEST`, so that separated
    classes do no harm.

    Args:
        x: The feature `(fits, n)`.
        y: The class `(fits, n)`.
        weight: What a row counts in a regression `(fits, n)`: a mask of those it sees, or numbers.
        c: Inverse strength of the penalty.
    """
    slope, intercept = np.zeros(len(x)), np.zeros(len(x))
    several = max(AT_ONCE // max(x.shape[1], 1), 1)
    for start in range(0, len(x), several):
        part = slice(start, start + several)
        slope[part], intercept[part] = _fit(
            x[part], y[part].astype(np.float64), c * weight[part].astype(np.float64)
        )
    return slope, intercept


def _fit(x: Floats, truth: Floats, weight: Floats) -> tuple[Floats, Floats]:
    slope, intercept = np.zeros(len(x)), np.zeros(len(x))
    left = np.arange(len(x))
    for _ in range(MOST_STEPS):
        p = expit(slope[left, None] * x + intercept[left, None])
        off, bent = weight * (p - truth), weight * p * (1 - p)
        bent_x = bent * x
        g_slope, g_intercept = slope[left] + _dot(off, x), off.sum(axis=1)
        h_slope, h_both = 1 + _dot(bent_x, x), bent_x.sum(axis=1)
        h_intercept = bent.sum(axis=1) + np.finfo(np.float64).tiny
        size = h_slope * h_intercept - h_both**2
        step = np.stack(
            [h_intercept * g_slope - h_both * g_intercept,
             h_slope * g_intercept - h_both * g_slope]
        ) / size  # fmt: skip
        length = np.abs(step).max(axis=0)
        step *= np.minimum(1, LONGEST / np.maximum(length, LONGEST))
        slope[left] -= step[0]
        intercept[left] -= step[1]
        going = length >= ENOUGH
        if not going.all():
            x, truth, weight, left = x[going], truth[going], weight[going], left[going]
        if not len(left):
            break
    return slope, intercept


def _dot(first: Floats, second: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", first, second))
