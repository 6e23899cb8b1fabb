"""The one-run epsilon: guess from few models which candidates were trained on and forgotten."""

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
class OneRunCanary(OneRunSettings):
    """Throw a fair coin for each of `m` candidates and guess the coins from the unlearned model.

    Heads: the candidate is trained on with the retained rows and then forgotten; tails: the
    model never saw it. The coins are independent, so nothing but the models can tell them apart.
    A candidate's score is its log-odds in standard deviations from retrained models that take
    part in no run. In each run the highest `r / 2` scores are called heads and the lowest
    `r / 2` tails; `v` are right. Two different numbers are bounded and never mixed:

    `epsilon_example`, between models that differ in one candidate: then `v` is at most
    `Bin(r, q)` with `q = e^eps / (1 + e^eps)` (with delta the tail grows by
    `2 m delta max_i P[v - i <= Bin < v] / i`), and runs are pooled by adding `r`, `v` and `m`.

    `epsilon_set`, between models given the whole drawn set and retrained ones: under retraining
    guesses do not depend on the coins, so `P[at least v right] <= e^(runs eps) P[Bin(r, 1/2) >=
    v] + runs delta`.

    Args:
        candidates: Most candidates; half of them forget rows, half test rows.
        runs: Independent models that are trained and made to forget.
        guesses: Guesses in each run, fixed beforehand; even.
        references: Retrained models that say what is normal for a candidate.
        level: Confidence of the bounds.
        delta: Probability for which the bounds need not hold.

    References:
        Steinke, Nasr and Jagielski (2023), Privacy Auditing with One (1) Training Run,
        arXiv:2305.08846.

    Departures:
        The paper audits training; here the drawn candidates are also made forgotten before the
        model is scored. The bound for the whole set is ours. Scores are calibrated by retrained
        models, and tied scores count against the guesser.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="one_run_canary",
        title="Coin-toss epsilon",
        card="E3",
        paper="arXiv:2305.08846",
        access="score",
        kind="method",
        question=(
            "Can one tell which records were learnt and then deleted, when a coin toss decided "
            "which ones were?"
        ),
        perfect="0 in at least 95 of 100 experiments; 0 alone proves nothing.",
        headline="epsilon_example",
    )

    def run(self, lab: Lab, case: Case, rng: np.random.Generator) -> Scores:
        """Carry out the runs and bound both numbers from the right guesses."""
        found = guess_coins(lab, case, rng, self)
        return Scores(
            scalars={
                "epsilon_example": epsilon.one_run_per_example(
                    found.r, found.v, m=found.m, level=self.level, delta=self.delta
                ),
                "epsilon_set": epsilon.one_run_set_level(
                    found.r, found.v, runs=self.runs, level=self.level, delta=self.delta
                ),
                "correct": float(found.v),
                "guesses": float(found.r),
            }
        )
