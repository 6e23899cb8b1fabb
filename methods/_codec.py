"""Conditional dependence of numbers by ranks and nearest neighbours, and selection by it.

Azadkia and Chatterjee (2021), A simple measure of conditional dependence,
https://arxiv.org/abs/1910.12327.
"""

import numpy as np

from forget_audit.types import Floats, Labels

ROOM = 2**24


def dependence(y: Floats, z: Floats, given: Floats | None = None) -> float:
    """Return how far `z` tells `y`, beyond `given`: near 0 if not at all, 1 if it tells all.

    Args:
        y: One number a row `(n,)`.
        z: Columns `(n, k)`.
        given: Columns that are known already `(n, m)`.
    """
    near = _distances(z)
    if given is None:
        return float(_scores(y, None, near[None])[0])
    known = _distances(given)
    return float(_scores(y, known, (known + near)[None])[0])


def select(y: Floats, columns: Floats, most: int) -> list[int]:
    """Return the columns that tell `y`, chosen one by one while the next one still adds.

    Args:
        y: One number a row `(n,)`.
        columns: Candidates `(n, k)`.
        most: Most columns.
    """
    chosen: list[int] = []
    known: Floats | None = None
    size = max(1, ROOM // len(y) ** 2)
    while len(chosen) < min(most, columns.shape[1]):
        scores = np.empty(columns.shape[1])
        for start in range(0, columns.shape[1], size):
            part = columns[:, start : start + size].T
            near = (part[:, :, None] - part[:, None, :]) ** 2
            scores[start : start + size] = _scores(
                y, known, near if known is None else near + known
            )
        scores[chosen] = -np.inf
        best = int(np.argmax(scores))
        if scores[best] <= 0:
            break
        chosen.append(best)
        column = _distances(columns[:, best : best + 1])
        known = column if known is None else known + column
    return chosen


def _scores(y: Floats, known: Floats | None, near: Floats) -> Floats:
    """Return the coefficient for each matrix of squared distances in `near` `(k, n, n)`."""
    n = len(y)
    rank = np.searchsorted(np.sort(y), y, side="right").astype(np.float64)
    least = np.minimum(rank, rank[_neighbours(near)])
    if known is None:
        above = n - np.searchsorted(np.sort(y), y, side="left").astype(np.float64)
        whole = float((above * (n - above)).sum())
        part: Floats = (n * least - above**2).sum(axis=1)
    else:
        before = np.minimum(rank, rank[_neighbours(known[None])[0]])
        whole = float((rank - before).sum())
        part = (least - before).sum(axis=1)
    return part / whole if whole > 0 else np.zeros(len(near))


def _neighbours(distances: Floats) -> Labels:
    others = distances + np.where(np.eye(distances.shape[1], dtype=bool), np.inf, 0.0)
    return np.asarray(np.argmin(others, axis=2), dtype=np.int64)


def _distances(columns: Floats) -> Floats:
    total: Floats = ((columns[:, None, :] - columns[None, :, :]) ** 2).sum(axis=2)
    return total
