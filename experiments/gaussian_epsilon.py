"""The Gaussian epsilon: the two-sample bound, extrapolated along a Gaussian trade-off curve."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit.contracts import AttackInfo, Scores
from forget_audit.experiments._models import TwoSampleSettings, two_samples
from forget_audit.registry import experiment
from forget_audit.trials import Lab
from forget_audit.types import Case
from forget_audit.verdict import epsilon


@experiment
@dataclass(frozen=True, kw_only=True)
class GaussianEpsilon(TwoSampleSettings):
    """Bound `mu` of a Gaussian trade-off curve from below and convert it to epsilon at delta.

    Supposed that nothing tells unlearned from retrained models better than `N(0, 1)` can be told
    from `N(mu, 1)`, a rule has `Phi^-1(TPR) - Phi^-1(FPR) <= mu`. The rule is chosen on half of
    the models by its two-sample bound; on the other half
    `mu >= Phi^-1(TPR_lo) - Phi^-1(FPR_hi)` with one-sided Clopper-Pearson limits at half of the
    error each. Epsilon solves `delta = Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu)`. The
    number is larger than the two-sample epsilon and holds only as far as the curve is Gaussian,
    which nothing here checks: read it as an extrapolation.

    Args:
        models: Unlearned models, and as many retrained ones; half of them choose the rule.
        level: Confidence of the bound.
        delta: Where epsilon is read off the curve.

    References:
        Dong, Roth and Su (2019), Gaussian Differential Privacy, arXiv:1905.02383.
        Nasr et al. (2023), Tight Auditing of Differentially Private Machine Learning,
        arXiv:2302.07956.

    Departures:
        The second paper audits training by the Gaussian mechanism, whose curve is known; here the
        curve is an assumption. Limits are Clopper-Pearson's on models the rule was not chosen on.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="gaussian_epsilon",
        title="Gaussian epsilon",
        card="E2",
        paper="arXiv:1905.02383",
        access="score",
        kind="method",
        question=(
            "If differences between models follow a bell curve, how surely can models made by "
            "this method be told from models that never saw the deleted records?"
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
        """Choose the rule on half of the models and bound `mu` on the others."""
        _, counts = two_samples(lab, case, rng, self.models).judge(level=self.level, delta=0.0)
        mu = epsilon.gaussian_mu(counts, level=self.level)
        return Scores(scalars={"epsilon": epsilon.gaussian_epsilon(mu, self.delta), "mu": mu})
