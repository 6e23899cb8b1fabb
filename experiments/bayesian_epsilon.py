"""The Bayesian epsilon: a credible interval for how well models can be told apart."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit.contracts import AttackInfo, Scores
from forget_audit.experiments._models import TwoSampleSettings, two_samples
from forget_audit.registry import experiment
from forget_audit.trials import Lab
from forget_audit.types import Case
from forget_audit.verdict import epsilon

FEWEST_DRAWS = 1_000


@experiment
@dataclass(frozen=True, kw_only=True)
class BayesianEpsilon(TwoSampleSettings):
    """Draw both error rates of one rule from their posterior and read epsilon off each draw.

    Threshold and direction are chosen on half of the models. On the other half false alarms and
    misses have binomial counts; with a Beta(1/2, 1/2) prior each rate has a Beta posterior. Of
    each joint draw `epsilon = max(ln((1 - delta - FPR) / FNR), ln((1 - delta - FNR) / FPR), 0)`
    is taken. `epsilon` is the value that a share `level` of the draws exceeds, `upper` the one
    that a share `level` stays below. This is belief under a prior about one rule, tighter than
    the two-sample epsilon: credible, not confident, and its upper end bounds this rule alone.

    Args:
        models: Unlearned models, and as many retrained ones; half of them choose the rule.
        level: Posterior probability on the far side of either bound.
        delta: Probability for which epsilon need not hold.
        draws: From the posterior.

    References:
        Zanella-Béguelin et al. (2022), Bayesian Estimation of Differential Privacy,
        arXiv:2206.05199.

    Departures:
        The paper gives a two-sided interval, we two one-sided bounds; it chooses no rule, we do,
        on models of its own. The joint posterior is sampled instead of integrated.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="bayesian_epsilon",
        title="Bayesian epsilon",
        card="E5",
        paper="arXiv:2206.05199",
        access="score",
        kind="method",
        question=(
            "After these experiments, how strongly should one believe that models made by this "
            "method differ from models that never saw the deleted records?"
        ),
        perfect="0 in about 95 of 100 experiments; 0 alone proves nothing.",
        headline="epsilon",
    )
    draws: int = 20_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < FEWEST_DRAWS:
            raise ValueError(f"draws must be at least {FEWEST_DRAWS}, found {self.draws}")

    def run(self, lab: Lab, case: Case, rng: np.random.Generator) -> Scores:
        """Choose the rule on half of the models and draw its rates given the others."""
        _, counts = two_samples(lab, case, rng, self.models).judge(
            level=self.level, delta=self.delta
        )
        low, high = epsilon.bayesian_interval(
            counts, rng, level=self.level, delta=self.delta, draws=self.draws
        )
        return Scores(scalars={"epsilon": low, "upper": high})
