"""Many small logistic regressions at once: one feature, a ridge penalty on its slope."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from forget_audit.types import Floats

ENOUGH, MOST_STEPS, LONGEST = 1e-10, 100, 5.0


def fit_many(
    x: Floats, y: npt.NDArray[np.bool_], used: npt.NDArray[np.bool_], c: float
) -> tuple[Floats, Floats]:
    """Return slope and intercept of each regression `(fits,)`.

    The same minimum as that of scikit-learn's `LogisticRegression(C=c)`: `slope**2 / 2` plus `c`
    times the sum of the log-losses, found by Newton's method on all regressions side by side. A
    step is at most as long as `LONGEST`, so that separated classes do no harm.

    Args:
        x: The feature `(fits, n)`.
        y: The class `(fits, n)`.
        used: Which rows a regression sees `(fits, n)`.
        c: Inverse strength of the penalty.
    """
    slope, intercept = np.zeros(len(x)), np.zeros(len(x))
    truth = y.astype(np.float64)
    weight = c * used
    for _ in range(MOST_STEPS):
        p = expit(slope[:, None] * x + intercept[:, None])
        off, bent = weight * (p - truth), weight * p * (1 - p)
        g_slope, g_intercept = slope + np.sum(off * x, axis=1), np.sum(off, axis=1)
        bent_x = bent * x
        h_slope, h_both = 1 + np.sum(bent_x * x, axis=1), np.sum(bent_x, axis=1)
        h_intercept = np.sum(bent, axis=1) + np.finfo(np.float64).tiny
        size = h_slope * h_intercept - h_both**2
        step = np.stack(
            [h_intercept * g_slope - h_both * g_intercept,
             h_slope * g_intercept - h_both * g_slope]
        ) / size  # fmt: skip
        step *= np.minimum(1, LONGEST / np.maximum(np.abs(step).max(axis=0), LONGEST))
        slope, intercept = slope - step[0], intercept - step[1]
        if np.abs(step).max() < ENOUGH:
            break
    return slope, intercept
