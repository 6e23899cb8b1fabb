"""Attacks that score many models in one go; one model is then many of which there is one."""

from collections.abc import Callable, Sequence

import numpy as np

from forget_audit.contracts import Fitted, FreshGenerator, Scores
from forget_audit.targets import Target


def together(
    score_many: Callable[[Sequence[Target], FreshGenerator], list[Scores]],
    fitted_on: frozenset[str] = frozenset(),
) -> Fitted:
    """Return the attack that scores one model as it scores many.

    Args:
        score_many: Scores many targets at once, each as if it were alone.
        fitted_on: Ids of the rows it learnt from.
    """

    def score(target: Target, rng: np.random.Generator) -> Scores:
        return score_many([target], lambda: rng)[0]

    return Fitted(score=score, fitted_on=fitted_on, score_many=score_many)
