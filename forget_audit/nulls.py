"""What models that never saw a row say about it: mean and spread, and what difficulty explains."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from forget_audit.types import Floats

PRIOR_DF = 4.0


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """What is needed of a pool of models to say what all of them, or all but one, say.

    Args:
        size: Number of models.
        mean: Mean over them `(n,)`.
        squares: Sum of squares about the mean `(n,)`.
    """

    size: int
    mean: Floats
    squares: Floats

    @staticmethod
    def of(members: Callable[[], Iterable[Floats]]) -> "Sums":
        """Sum up a pool, going through its scores `(n,)` twice and keeping none."""
        size, mean = total(members())
        mean /= max(size, 1)
        squares = total((row - mean) ** 2 for row in members())[1]
        return Sums(size=size, mean=mean, squares=squares)

    def null(self) -> Null:
        """Return what all models of the pool say; see `calibrate`."""
        variance = self.squares / (self.size - 1)
        return Null(mean=self.mean, sd=_shrunk(variance, self.size - 1))

    def without(self, members: Floats) -> Null:
        """Return for each of the `members` `(models, n)` of the pool what all others say."""
        others = self.size - 1
        mean = self.mean + (self.mean - members) / others
        squares = self.squares - (members - self.mean) * (members - mean)
        variance = np.maximum(squares, 0.0) / (others - 1)
        return Null(mean=mean, sd=_shrunk(variance, others - 1))


def total(rows: Iterable[Floats]) -> tuple[int, Floats]:
    """Return how many `rows` there are and their sum, keeping one at a time."""
    size, found = 0, np.zeros(())
    for row in rows:
        found = found + row if size == 0 else np.add(found, row, out=found)
        size += 1
    return size, found


def _shrunk(variance: Floats, df: int) -> Floats:
    common = variance.mean(axis=-1, keepdims=True)
    shrunk = (df * variance + PRIOR_DF * common) / (df + PRIOR_DF)
    return np.asarray(np.sqrt(np.maximum(shrunk, 1e-24)))


def calibrate(reference: Floats) -> Null:
    """Return mean and shrunk spread of `reference` `(models, n)` at each row.

    The variance is `(v s^2 + 4 s0^2) / (v + 4)` with `v` degrees of freedom and the mean
    variance `s0^2` over rows, so that few reference models give usable spreads.

    Raises:
        ValueError: With fewer than two reference models.
    """
    if len(reference) < 2:
        raise ValueError(f"expected at least two reference models, found {len(reference)}")
    return Sums.of(lambda: reference).null()


def leave_one_out_nulls(pool: Floats) -> Null:
    """Return for each model of `pool` `(models, n)` the null `(models, n)` of all the others.

    Equal to calling `calibrate` on the others, by downdating sums of squares about the mean.

    Raises:
        ValueError: With fewer than three models.
    """
    if len(pool) < 3:
        raise ValueError(f"expected at least three models, found {len(pool)}")
    return Sums.of(lambda: pool).without(pool)


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
    mean = null.mean
    columns = [np.ones_like(mean)]
    for column in (mean, mean**2, mean**2 * mean, np.log(null.sd)):
        seen = column[..., control]
        centre, spread = seen.mean(axis=-1, keepdims=True), seen.std(axis=-1, keepdims=True)
        columns.append((column - centre) / np.where(spread > 1e-12, spread, 1.0))
    design = np.stack(columns, axis=-2)
    seen = design[..., control]
    penalty = 1e-3 * seen.shape[-1] * np.diag([0.0, 1.0, 1.0, 1.0, 1.0])
    moments = seen @ np.swapaxes(seen, -1, -2) + penalty
    weights = np.linalg.solve(moments, seen @ z[..., control, None])
    return np.asarray(z - (np.swapaxes(weights, -1, -2) @ design)[..., 0, :])
