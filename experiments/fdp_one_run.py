"""The coin-toss experiment read against a Gaussian trade-off curve."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit.contracts import AttackInfo, Scores
from forget_audit.experiments._canaries import OneRunSettings, guess_coins
from forget_audit.registry import experiment
from forget_audit.trials import Lab
from forget_audit.types import Case
from forget_audit.verdict import epsilon


@experiment
@dataclass(frozen=True, kw_only=True)
class FdpOneRun(OneRunSettings):
    """Bound `mu` of a Gaussian trade-off curve from the right guesses of coin-toss runs.

    Candidates, coins and guesses are those of the coin-toss epsilon: `r` guesses among `m`
    candidates, `v` of them right, runs counted together. Supposed that models which differ in
    one candidate cannot be told apart better than `N(0, 1)` from `N(mu, 1)`. With `p_i` the
    probability of `i` right guesses, turning over one coin at random gives for every `i`

    `sum_(j > i) (j / m) p_j <= Phi(Phi^-1(sum_(j >= i) ((r - j) / m) p_j) + mu)`.

    Starting from `P[at least v right] = 1 - level` these inequalities force, step by step, a
    total probability; `mu` is refuted if it exceeds 1. The bound is the largest refuted `mu`,
    converted to epsilon at delta. It uses the whole curve, so it exceeds the coin-toss epsilon
    where the curve is Gaussian, and holds only as far as it is, which nothing here checks.

    Args:
        candidates: Most candidates; half of them forget rows, half test rows.
        runs: Independent models that are trained and made to forget.
        guesses: Guesses in each run, fixed beforehand; even.
        references: Retrained models that say what is normal for a candidate.
        level: Confidence of the bound.
        delta: Where epsilon is read off the curve.

    References:
        Mahloujifar, Melis and Chaudhuri (2024), Auditing f-Differential Privacy in One Run,
        arXiv:2410.22235.
        Dong, Roth and Su (2019), Gaussian Differential Privacy, arXiv:1905.02383.

    Departures:
        The paper audits training; here the drawn candidates are also made forgotten. It tests
        given curves one by one; we solve for the edge of the Gaussian family. Several runs are
        counted as one with all their candidates, which the argument allows since a coin touches
        its own run alone.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="fdp_one_run",
        title="Coin-toss epsilon, Gaussian curve",
        card="E4",
        paper="arXiv:2410.22235",
        access="score",
        kind="method",
        question=(
            "If differences between models follow a bell curve, how well can one tell which "
            "records were learnt and then deleted, when a coin toss decided which ones were?"
        ),
        perfect="0 in at least 95 of 100 experiments; 0 alone proves nothing.",
        headline="epsilon",
    )
    delta: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.delta > 0:
            raise ValueError(f"delta must lie in (0, 1), found {self.delta}")

    def run(self, lab: Lab, case: Case, rng: np.random.Generator) -> Scores:
        """Carry out the runs and bound `mu` from the right guesses."""
        found = guess_coins(lab, case, rng, self)
        mu = epsilon.one_run_gaussian(found.r, found.v, m=found.m, level=self.level)
        return Scores(
            scalars={
                "epsilon": epsilon.gaussian_epsilon(mu, self.delta),
                "mu": mu,
                "correct": float(found.v),
                "guesses": float(found.r),
            }
        )
