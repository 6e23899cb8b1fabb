"""The residual influence of the forget rows: the primary statistic of the verdict."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forget_audit import stats
from forget_audit.types import Floats

CAP = 3.0
TOP_SHARE = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Influences:
    """The residual influence of the forget rows on one or more models.

    Args:
        rho: 0 like a retrained model, 1 like an original, below 0 over-removed.
        standard_error: Over rows, linearised.
        n_eff: Number of forget rows that carry the evidence.
    """

    rho: Floats
    standard_error: Floats
    n_eff: Floats


def influences(
    null: stats.Null,
    scores: Floats,
    original_mean: Floats,
    n_f: int,
    *,
    cap: float | None = CAP,
    adjust: bool = True,
    rows: npt.NDArray[np.bool_] | None = None,
) -> Influences:
    """Return the share of the forget rows' measurable influence that is left in each model.

    `d` is how far training on a row moves its score, in units of seed-to-seed spread; `z` is
    how far the audited model's score lies from retrained ones, less what difficulty explains.
    The projection `sum w z / sum w d` with `w = clip(d, -cap, cap)` is 0 for a retrained model
    and 1 for an original; without a cap it is the normalised log-likelihood ratio of the
    per-example Gaussian test summed over the forget set.

    Args:
        null: Of the forget and control rows `(..., n)`, from the reference models.
        scores: Of the audited models on the same rows `(..., n)`, forget rows first.
        original_mean: Mean score of the originals on the same rows `(n,)`.
        n_f: Number of forget rows.
        cap: Largest weight of a row; unlimited if none.
        adjust: Whether to take off what difficulty explains.
        rows: Mask over the forget rows `(..., n_f)` to look at; all if left out.
    """
    z = null.z(scores)
    if adjust:
        z = stats.remove_difficulty(z, null, slice(n_f, None))
    return projected(z[..., :n_f], taught(null, original_mean, n_f), cap, rows)


def taught(null: stats.Null, original_mean: Floats, n_f: int) -> Floats:
    """Return how far training on each forget row moves its score, in sd of retrained models."""
    return np.asarray((original_mean[:n_f] - null.mean[..., :n_f]) / null.sd[..., :n_f])


def projected(
    z: Floats, d: Floats, cap: float | None, rows: npt.NDArray[np.bool_] | None = None
) -> Influences:
    """Return what `influences` does, from calibrated scores and weights `(..., n_f)`."""
    w = d if cap is None else np.clip(d, -cap, cap)
    counted = np.ones(d.shape, dtype=bool) if rows is None else np.broadcast_to(rows, d.shape)
    w = np.where(counted, w, 0.0)
    total = np.sum(w * d, axis=-1)
    empty = total <= 1e-12
    safe = np.where(empty, 1.0, total)
    rho = np.where(empty, 0.0, np.sum(w * z, axis=-1) / safe)
    parts = w * (z - rho[..., None] * d) / safe[..., None]
    n = counted.sum(axis=-1)
    alone = empty | (n < 2)
    error = np.sqrt(np.sum(parts**2, axis=-1) * n / np.where(alone, 1, n - 1))
    n_eff = safe**2 / np.where(empty, 1.0, np.sum((w * d) ** 2, axis=-1))
    return Influences(
        rho=np.asarray(rho),
        standard_error=np.asarray(np.where(alone, np.inf, error)),
        n_eff=np.asarray(np.where(empty, 0.0, n_eff)),
    )
