"""The robust attack with few reference models: a row against a population of other rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from forget_audit import stats
from forget_audit.attacks._references import means_of_others
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool, Shadow
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows

FLOOR = 1e-6
GRID = np.linspace(0.0, 1.0, 11)


@attack
@dataclass(frozen=True, kw_only=True)
class Rmia:
    """Ask how often a row's likelihood ratio beats that of rows that nobody was trained on.

    With `p(x)` the probability of the label, the ratio of a row is `a(x) = p(x) / p_mean(x)`.
    `p_mean` is what models give on average, half of them trained on the row and half not. The
    retrained models give `p_out`; models trained on the row are taken to give
    `a0 p_out + 1 - a0`, so `p_mean = ((1 + a0) p_out + 1 - a0) / 2`, at least 1e-6. The score is
    the share of auxiliary rows `z` with `a(x) > gamma a(z)`. `a0` is the value of 0, 0.1, ..., 1
    with the best mean AUC when each shadow model is attacked with the others, for which members
    are known. Half of its non-members are the population then, the others are under attack. Hard
    rows keep lower ratios, also under a retrained model, which is why those are the measure.

    Args:
        gamma: By how much a row must beat another.
        a0: Fixes `a0` between 0 and 1; calibrated on the shadow models if left out.

    References:
        Zarifzadeh et al. (2024), Low-Cost High-Power Membership Inference Attacks,
        arXiv:2312.03262 (the offline variant).

    Departures:
        Always offline: no model was trained on the control rows, so originals would calibrate
        forget rows alone. `p_out` comes from the retrained models. These share all their training
        rows, so none can serve to calibrate `a0` by the others; shadow models do, all in turn
        instead of one pair. Probabilities are not rescaled or averaged over augmented copies.
        Comparisons are strict. Where retrained models never saw a class, `p_mean` rests on the
        floor and the attack on each record by its own null is the better one.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="rmia",
        title="Likelihood ratio against a population",
        card="A08",
        paper="arXiv:2312.03262",
        access="score",
        kind="membership",
        question=(
            "Do the deleted records stand out, next to other records the model has never seen, "
            "more than they do for models retrained without them?"
        ),
        perfect="The value of retrained models that were left out; it need not be 0.5.",
        headline="auc",
        leave_one_out=True,
    )
    gamma: float = 1.0
    a0: float | None = None

    def __post_init__(self) -> None:
        if not self.gamma >= 1:
            raise ValueError(f"gamma must be at least 1, found {self.gamma}")
        if self.a0 is not None and not 0 <= self.a0 <= 1:
            raise ValueError(f"a0 must lie between 0 and 1, found {self.a0}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        """Learn what retrained models say of each row, and `a0` from the shadow models.

        Raises:
            NotApplicable: Without retrained models, auxiliary rows, or shadows to calibrate on.
        """
        return self._against(
            [likelihoods.mean(axis=0) for likelihoods in _retrained(pool, case)],
            case,
            self._damping(pool, case, rng),
        )

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:
        """Learn the same from all retrained models but one, each left out in turn."""
        usual = [means_of_others(found) for found in _retrained(pool, case, left_out=1)]
        a0 = self._damping(pool, case, fresh())
        return [self._against(p_out, case, a0) for p_out in zip(*usual, strict=True)]

    def _damping(self, pool: Pool, case: Case, rng: np.random.Generator) -> float:
        if self.a0 is not None:
            return self.a0
        return calibrated_a0(pool.shadows, case.auxiliary, self.gamma, rng)

    def _against(self, p_out: Sequence[Floats], case: Case, a0: float) -> Fitted:
        """Return the attack that knows what retrained models give on average."""
        groups = (case.forget, case.test, case.auxiliary)
        usual = [denominator(p, a0) for p in p_out]
        fitted_on = frozenset(case.auxiliary.ids.tolist())

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            forget, control, population = (
                _likelihoods(target, rows) / mean for rows, mean in zip(groups, usual, strict=True)
            )
            return Scores(
                forget=beaten(forget, population, self.gamma),
                control=beaten(control, population, self.gamma),
                forget_ids=case.forget.ids,
                control_ids=case.test.ids,
                fitted_on=fitted_on,
            )

        return Fitted(score=score, fitted_on=fitted_on)


def _retrained(pool: Pool, case: Case, *, left_out: int = 0) -> list[Floats]:
    """Return the likelihoods `(models, n)` of forget, control and auxiliary rows.

    Args:
        pool: Holds the retrained models.
        case: The rows.
        left_out: How many of the models a fit does without.

    Raises:
        NotApplicable: Without retrained models or auxiliary rows.
    """
    if len(pool.retrained) <= left_out:
        raise NotApplicable("needs at least one retrained model to compare with, found none")
    if not len(case.auxiliary):
        raise NotApplicable("needs auxiliary rows that no model was trained on, found none")
    return [
        np.stack([_likelihoods(target, rows) for target in pool.retrained])
        for rows in (case.forget, case.test, case.auxiliary)
    ]


def denominator(p_out: Floats, a0: float) -> Floats:
    """Return the mean probability of models with and without a row, from those without."""
    return np.asarray(np.maximum(((1 + a0) * p_out + 1 - a0) / 2, FLOOR), dtype=np.float64)


def beaten(ratios: Floats, population: Floats, gamma: float) -> Floats:
    """Return the share of the population `z` with `a(x) > gamma a(z)` for each ratio `a(x)`."""
    below = np.searchsorted(np.sort(gamma * population), ratios, side="left")
    return np.asarray(below / len(population), dtype=np.float64)


def calibrated_a0(
    shadows: Sequence[Shadow], auxiliary: Rows, gamma: float, rng: np.random.Generator
) -> float:
    """Return the `a0` at which shadows are attacked best with the other shadows.

    Args:
        shadows: Models of which the members among the auxiliary rows are known.
        auxiliary: The rows they were trained on in part.
        gamma: As in the attack.
        rng: Chooses which rows a shadow never saw are its population.

    Raises:
        NotApplicable: If no shadow has members and enough other rows that others never saw.
    """
    if len(shadows) < 2:
        raise NotApplicable(
            f"needs at least two shadow models to calibrate on, found {len(shadows)}; ask for "
            "shadow models, or fix a0"
        )
    likelihoods = np.stack([_likelihoods(shadow.target, auxiliary) for shadow in shadows])
    members = np.stack([shadow.members for shadow in shadows])
    population = np.zeros(len(auxiliary), dtype=bool)
    population[rng.permutation(len(auxiliary))[: len(auxiliary) // 2]] = True
    curves = [
        curve
        for k in range(len(shadows))
        if (curve := _curve(likelihoods, members, population, k, gamma)) is not None
    ]
    if not curves:
        raise NotApplicable("needs shadow models that were trained on different auxiliary rows")
    return float(GRID[np.argmax(np.mean(curves, axis=0))])


def _curve(
    likelihoods: Floats,
    members: npt.NDArray[np.bool_],
    population: npt.NDArray[np.bool_],
    k: int,
    gamma: float,
) -> Floats | None:
    """Return the AUC at each `a0` of attacking shadow `k` with those that never saw a row."""
    without = ~members
    without[k] = False
    known = without.any(axis=0)
    groups = (
        members[k] & known,
        ~members[k] & known & ~population,
        ~members[k] & known & population,
    )
    if not all(group.any() for group in groups):
        return None
    p_out = np.sum(likelihoods * without, axis=0) / np.maximum(without.sum(axis=0), 1)
    values = []
    for a0 in GRID:
        ratios = likelihoods[k] / denominator(p_out, float(a0))
        inside, outside, other = (ratios[group] for group in groups)
        values.append(stats.auc(beaten(inside, other, gamma), beaten(outside, other, gamma)))
    return np.asarray(values)


def _likelihoods(target: Target, rows: Rows) -> Floats:
    """Return the probability of each row's label `(n,)`."""
    return stats.label_probability(target.log_odds(rows))
