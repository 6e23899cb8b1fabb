"""Logistic regressions on the same features, each on rows of its own, side by side."""

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from forget_audit.types import Floats

Mask = npt.NDArray[np.bool_]
WIDEST, MOST_STEPS, MOST_HALVINGS, ENOUGH = 256, 100, 40, 1e-12


def decisions(x: Floats, member: Mask, used: Mask, c: float) -> Floats:
    """Return the log-odds `(fits, n)` that each regression gives to all rows.

    The same minimum as that of scikit-learn's `LogisticRegression(C=c)`: half the square of the
    slopes plus `c` times the sum of the log-losses. Narrow features go by Newton's method, to
    far below the tolerance of scikit-learn's default solver; wide ones by that solver, since
    Newton's method solves equations in as many unknowns as there are columns.

    Args:
        x: Features `(n, width)`, standardised.
        member: The class `(n,)`.
        used: Which rows each regression is fitted on `(fits, n)`, both classes among them.
        c: Inverse strength of the ridge penalty.
    """
    if x.shape[1] > WIDEST:
        judge = LogisticRegression(C=c, max_iter=2000)
        return np.stack([judge.fit(x[m], member[m]).decision_function(x) for m in used])
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.append(np.ones(x.shape[1]), 0.0)
    truth, weight = member.astype(np.float64), c * used
    w = np.zeros((len(used), len(ridge)))

    def cost(w: Floats) -> Floats:
        z = w @ design.T
        losses = np.sum(weight * (np.logaddexp(0, z) - truth * z), axis=1)
        return np.asarray(np.sum(ridge * w**2, axis=1) / 2 + losses)

    now = cost(w)
    for _ in range(MOST_STEPS):
        p = expit(w @ design.T)
        slope = ridge * w + (weight * (p - truth)) @ design
        bent = weight * p * (1 - p)
        curvature = np.stack([design.T @ (b[:, None] * design) for b in bent]) + np.diag(ridge)
        step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        length = np.ones((len(w), 1))
        for _ in range(MOST_HALVINGS):
            found = cost(w - length * step)
            further = found > now + ENOUGH * np.abs(now)
            if not further.any():
                break
            length[further] /= 2
        w, now = w - length * step, found
        if np.all(np.sum(slope * step, axis=1) <= ENOUGH * np.maximum(np.abs(now), 1)):
            break
    return np.asarray(w @ design.T)
