"""The two-sample epsilon: how surely unlearned models can be told from retrained ones."""

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
class TwoSampleEpsilon(TwoSampleSettings):
    """Bound epsilon from below by exact limits of the error rates of one rule on many models.

    If unlearned and retrained models are `(epsilon, delta)`-close, every rule that calls models
    unlearned has `TPR <= e^epsilon FPR + delta` and `TNR <= e^epsilon FNR + delta`. The unit is
    a model: each unlearned one comes from an original of its own, and a model's score is the
    share of the forget rows' influence that is left in it. Threshold, direction and one of the
    two inequalities are chosen on half of the models; on the other half the bound is
    `ln((TPR_lo - delta) / FPR_hi)` or `ln((TNR_lo - delta) / FNR_hi)`, and at least 0, with
    one-sided Clopper-Pearson limits at half of the error each. `ceiling` is what complete
    separation of that many models would have given.

    Args:
        models: Unlearned models, and as many retrained ones; half of them choose the rule.
        level: Confidence of the bound.
        delta: Probability for which the bound need not hold.

    References:
        Jagielski, Ullman and Oprea (2020), Auditing Differentially Private Machine Learning,
        arXiv:2006.07709.
        Nasr et al. (2021), Adversary Instantiation, arXiv:2101.04535.

    Departures:
        The papers compare training with and without a poisoned or chosen row; we compare an
        unlearning method with retraining. The rule is always chosen on models of its own, not
        on those that are counted.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="two_sample_epsilon",
        title="Two-sample epsilon",
        card="E1",
        paper="arXiv:2006.07709",
        access="score",
        kind="method",
        question=(
            "How surely can models made by this method be told from models that never saw the "
            "deleted records?"
        ),
        perfect="0 in at least 95 of 100 experiments; 0 alone proves nothing.",
        headline="epsilon",
    )

    def run(self, lab: Lab, case: Case, rng: np.random.Generator) -> Scores:
        """Choose the rule on half of the models and count on the others."""
        rule, counts = two_samples(lab, case, rng, self.models).judge(
            level=self.level, delta=self.delta
        )
        perfect = epsilon.Counts(
            hits=counts.unlearned,
            unlearned=counts.unlearned,
            alarms=0,
            retrained=counts.retrained,
        )
        found, ceiling = (
            epsilon.counts_epsilon(part, misses=rule.misses, level=self.level, delta=self.delta)
            for part in (counts, perfect)
        )
        return Scores(
            scalars={
                "epsilon": found,
                "ceiling": ceiling,
                "hit_rate": counts.hits / counts.unlearned,
                "alarm_rate": counts.alarms / counts.retrained,
            }
        )
