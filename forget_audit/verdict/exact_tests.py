"""Exact tests that a model is one more of its references: ranks, max-T, permutations, Holm."""

from collections.abc import Sequence
from itertools import chain, combinations
from math import comb

import numpy as np
import numpy.typing as npt

from forget_audit.types import Floats

MOST_PERMUTATIONS = 100_000
DRAWN_PERMUTATIONS = 9_999


def rank_p_value(value: float, reference: Floats) -> float:
    """Return the two-sided rank p-value of `value` among `reference`; never zero."""
    r = len(reference)
    above = int(np.sum(reference >= value))
    below = int(np.sum(reference <= value))
    return min(1.0, 2 * (1 + min(above, below)) / (r + 1))


def max_t(members: Floats) -> Floats:
    """Return `max_j |s_j - mean of the others| / sd of the others` for each pool member.

    Args:
        members: Statistics `(models, statistics)`, each model treated alike.
    """
    return np.asarray(np.max(np.abs(studentise(members)), axis=1))


def studentise(members: Floats) -> Floats:
    """Return each entry's distance from the mean of the other rows in their sd.

    A column without any spread gives zeros; an entry that alone differs gives infinity.
    """
    n = len(members)
    centred = members - members.mean(axis=0)
    size = np.abs(members).max(axis=0)
    without = -centred / (n - 1)
    difference = centred - without
    squares = np.sum(centred**2, axis=0) - centred * difference
    spread = np.sqrt(np.maximum(squares, 0.0) / (n - 2))
    rounding = 1e-12 * size
    same, flat = np.abs(difference) <= rounding, spread <= rounding
    quotient = difference / np.where(flat, 1.0, spread)
    far = np.where(difference > 0, np.inf, -np.inf)
    return np.asarray(np.where(same, 0.0, np.where(flat, far, quotient)))


def max_t_p_value(reference: Floats, audited: Floats, rng: np.random.Generator) -> float:
    """Return the exact p-value that the audited models are further reference models.

    One audited model is compared with every pool member in turn; several by permuting the
    labels (all ways up to 100,000, otherwise 9,999 drawn). The maximum over statistics absorbs
    multiplicity and correlation: Westfall and Young (1993); the p-value is never zero: Phipson
    and Smyth (2010), doi:10.2202/1544-6115.1585.

    Args:
        reference: Leave-one-out statistics `(R, J)` of the retrained models.
        audited: The same `(M, J)` of the audited model or copies.
        rng: Draws permutations when there are too many.
    """
    pool = np.concatenate([reference, audited])
    r, m = len(reference), len(audited)
    if m == 1:
        t = max_t(pool)
        return float((1 + np.sum(t[:r] >= t[r])) / (r + 1))
    observed = group_t(pool, np.arange(r, r + m)[None])[0] - 1e-12
    if comb(r + m, m) <= MOST_PERMUTATIONS:
        ways = chain.from_iterable(combinations(range(r + m), m))
        every = np.fromiter(ways, np.int64).reshape(-1, m)
        return float(np.mean(group_t(pool, every) >= observed))
    orders = np.tile(np.arange(r + m), (DRAWN_PERMUTATIONS, 1))
    drawn = rng.permuted(orders, axis=1)[:, :m]
    reached = int(np.sum(group_t(pool, drawn) >= observed))
    return (1 + reached) / (DRAWN_PERMUTATIONS + 1)


def group_t(pool: Floats, groups: npt.NDArray[np.int64]) -> Floats:
    """Return the largest two-sample t over statistics, for each way to call a group audited."""
    n, m = len(pool), groups.shape[1]
    centred = pool - pool.mean(axis=0)
    inside = centred[groups].sum(axis=1)
    gap = np.abs(inside * (1 / m + 1 / (n - m)))
    squares = (centred**2).sum(axis=0) - inside**2 * (1 / m + 1 / (n - m))
    scale = np.sqrt(np.maximum(squares, 0.0) / (n - 2) * (1 / m + 1 / (n - m)))
    rounding = 1e-7 * np.abs(centred).max(axis=0)
    flat = scale <= rounding
    far = np.where(gap > rounding, np.inf, 0.0)
    return np.asarray(np.max(np.where(flat, far, gap / np.where(flat, 1.0, scale)), axis=1))


def holm(p_values: Sequence[float]) -> Floats:
    """Return p-values adjusted by Holm (1979) for testing all of them.

    Written out because the function of statsmodels collects garbage in each call, which takes
    longer than all other statistics.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
