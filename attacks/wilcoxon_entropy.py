"""The paired test on entropies, reproduced to show how little its non-rejection says."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import wilcoxon

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats


@attack
@dataclass(frozen=True, kw_only=True)
class WilcoxonEntropy:
    """Count the retrained models from which a signed-rank test on entropies tells a model.

    The entropies of the predictions on the forget rows are paired with those of one retrained
    model at a time; the answer is the share of them that the test rejects. Two retrained models
    are told apart far more often than the level says, because rows of one model are no
    independent draws, so each retrained model is put through the same test against the others.

    Args:
        level: A p-value below it counts as told apart.

    References:
        Foster et al. (2024), An Information Theoretic Approach to Machine Unlearning,
        arXiv:2402.01401.

    Departures:
        The paper takes one non-rejection for sameness; we report the share over all retrained
        models and keep it out of every verdict.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="wilcoxon_entropy",
        title="Signed-rank test on entropies",
        card="A25",
        paper="arXiv:2402.01401",
        access="score",
        kind="model",
        question=(
            "How often does a simple test see a difference between this model and a retrained "
            "one on the deleted records?"
        ),
        perfect="The share at which retrained models are told apart from each other.",
        headline="rejection_share",
        leave_one_out=True,
    )
    level: float = 0.10

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, found {self.level}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Take the entropies of the retrained models.

        Raises:
            NotApplicable: Without retrained models.
        """
        if not pool.retrained:
            raise NotApplicable("needs at least one retrained model to compare with, found none")
        reference = [_entropies(other, case) for other in pool.retrained]

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            own = _entropies(target, case)
            rejected = [_p_value(own, other) < self.level for other in reference]
            return Scores(scalars={"rejection_share": float(np.mean(rejected))})

        return Fitted(score=score)


def _entropies(target: Target, case: Case) -> Floats:
    return stats.entropy(stats.probabilities(target.logits(case.forget)))


def _p_value(first: Floats, second: Floats) -> float:
    """Return the two-sided p-value; one if no pair differs, where the test is not defined."""
    if np.array_equal(first, second):
        return 1.0
    return float(wilcoxon(first, second).pvalue)
