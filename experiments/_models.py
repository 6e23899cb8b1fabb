"""Unlearned and retrained models of one request, and one score a model to tell them apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forget_audit import stats
from forget_audit.errors import NotApplicable
from forget_audit.seeds import draw_seed
from forget_audit.targets import Target
from forget_audit.trials import Lab
from forget_audit.types import Case, Floats
from forget_audit.verdict import epsilon
from forget_audit.verdict.yardstick import influences

FEWEST_MODELS = 12  # with fewer even perfect separation bounds next to nothing


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Independent models of the same request.

    Args:
        originals: Trained with the forget rows.
        unlearned: Made from one original each.
        retrained: Trained without the forget rows.
    """

    originals: list[Target]
    unlearned: list[Target]
    retrained: list[Target]


def draw_copies(
    lab: Lab, case: Case, rng: np.random.Generator, *, unlearned: int, retrained: int
) -> Copies:
    """Train and unlearn that many models, every one with seeds of its own."""
    rows = case.training
    originals = lab.train(rows, [np.arange(len(rows))] * unlearned, draw_seeds(rng, unlearned))
    return Copies(
        originals=originals,
        unlearned=lab.forget(originals, [case] * unlearned, draw_seeds(rng, unlearned)),
        retrained=lab.retrain(case, draw_seeds(rng, retrained)),
    )


def draw_seeds(rng: np.random.Generator, count: int) -> list[int]:
    """Draw `count` seeds from `rng`."""
    return [draw_seed(rng) for _ in range(count)]


def log_odds(targets: Sequence[Target], case: Case) -> Floats:
    """Return the log-odds of the labels `(models, n_f + n_t)`, forget rows first."""
    parts = [
        np.stack([stats.log_odds(target.logits(rows), rows.y) for target in targets])
        for rows in (case.forget, case.test)
    ]
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """One score a model; the rule is chosen on one half and judged on the other.

    Args:
        unlearned_tune: Unlearned models to choose the rule on.
        retrained_tune: Likewise retrained ones.
        unlearned_eval: Unlearned models to judge it on.
        retrained_eval: Likewise retrained ones.
    """

    unlearned_tune: Floats
    retrained_tune: Floats
    unlearned_eval: Floats
    retrained_eval: Floats

    def judge(self, *, level: float, delta: float) -> tuple[epsilon.Rule, epsilon.Counts]:
        """Choose a rule on the tuning half and count on the other."""
        rule = epsilon.choose_rule(
            self.unlearned_tune, self.retrained_tune, level=level, delta=delta
        )
        return rule, rule.counts(self.unlearned_eval, self.retrained_eval)


@dataclass(frozen=True, kw_only=True)
class TwoSampleSettings:
    """What experiments that compare unlearned with retrained models have in common.

    Args:
        models: Unlearned models, and as many retrained ones; half of them choose the rule.
        level: Confidence of the bound.
        delta: Probability for which the bound need not hold.

    Raises:
        ValueError: If a field is out of its range.
    """

    models: int = 32
    level: float = 0.95
    delta: float = 0.0

    def __post_init__(self) -> None:
        if self.models < FEWEST_MODELS:
            raise ValueError(f"models must be at least {FEWEST_MODELS}, found {self.models}")
        check_confidence(self.level, self.delta)


def check_confidence(level: float, delta: float) -> None:
    """Refuse a level or a delta that is no probability.

    Raises:
        ValueError: If one is out of its range.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), found {level}")
    if not 0 <= delta < 1:
        raise ValueError(f"delta must lie in [0, 1), found {delta}")


def two_samples(lab: Lab, case: Case, rng: np.random.Generator, models: int) -> Samples:
    """Score `models` unlearned and as many retrained models by the influence that is left.

    Row calibration and weights come from the tuning half alone; a retrained model of that half
    is calibrated on the others there.

    Raises:
        NotApplicable: If nothing was learnt from the forget rows.
    """
    copies = draw_copies(lab, case, rng, unlearned=models, retrained=models)
    half, n_f = models // 2, len(case.forget)
    unlearned, retrained, original = (
        stats.label_probability(log_odds(group, case))
        for group in (copies.unlearned, copies.retrained, copies.originals[:half])
    )
    reference, weights = retrained[:half], original.mean(axis=0)

    def share(null: stats.Null, scores: Floats) -> Floats:
        adjust = case.scope == "instance"
        found = influences(null, scores, weights, n_f, adjust=adjust)
        if not np.all(found.n_eff):
            raise NotApplicable(
                "models trained with and without the forget rows answer alike on them, so there "
                "is no influence to look for"
            )
        return found.rho

    null = stats.calibrate(reference)
    return Samples(
        unlearned_tune=share(null, unlearned[:half]),
        retrained_tune=share(stats.leave_one_out_nulls(reference), reference),
        unlearned_eval=share(null, unlearned[half:]),
        retrained_eval=share(null, retrained[half:]),
    )
