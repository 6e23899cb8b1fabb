"""The paired test on entropies, reproduced to show how little its non-rejection says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import wilcoxon

from forget_audit.attacks._references import entropies
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
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
        return self._against(_references(pool, case), case)

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:  # noqa: ARG002
        """Take the entropies of all retrained models but one, each left out in turn."""
        reference = _references(pool, case, left_out=1)
        every = range(len(reference))
        return [self._against(np.delete(reference, i, axis=0), case) for i in every]

    def _against(self, reference: Floats, case: Case) -> Fitted:
        def score(target: Target, _rng: np.random.Generator) -> Scores:
            rejected = p_values(entropies(target, case.forget), reference) < self.level
            return Scores(scalars={"rejection_share": float(np.mean(rejected))})

        return Fitted(score=score)


def _references(pool: Pool, case: Case, *, left_out: int = 0) -> Floats:
    """Return the entropies `(models, n_f)` under the retrained models."""
    if len(pool.retrained) <= left_out:
        raise NotApplicable("needs at least one retrained model to compare with, found none")
    return np.stack([entropies(other, case.forget) for other in pool.retrained])


def p_values(own: Floats, reference: Floats) -> Floats:
    """Return the two-sided p-value `(models,)` of own values `(n,)` against those of each model.

    It is one if no pair differs, where the test is not defined. How the test is carried out
    depends on whether values are equal or differ by as much as others, so the models are tested
    together with those that are like them in this.
    """
    gaps = own - reference
    size = np.sort(np.abs(gaps), axis=1)
    ties = np.any((size[:, 1:] == size[:, :-1]) & (size[:, 1:] > 0), axis=1)
    kind = np.where(size[:, -1] == 0, -1, 2 * (size[:, 0] == 0) + ties)
    found = np.ones(len(reference))
    for alike in set(kind[kind >= 0].tolist()):
        chosen = kind == alike
        found[chosen] = wilcoxon(gaps[chosen], axis=1).pvalue
    return found
