"""The loss-threshold attack of Yeom et al.: a low loss betrays a trained-on row."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case


@attack
@dataclass(frozen=True, kw_only=True)
class LossThreshold:
    """Call a row a member if its loss is at most the mean loss of the training rows.

    A model that was trained on a row tends to fit it better than rows it never saw. The score is
    the negative cross-entropy; the threshold is the mean over the retained rows of the model
    that is being scored, so nothing is tuned on the rows under test.

    References:
        Yeom et al. (2018), Privacy Risk in Machine Learning: Analyzing the Connection to
        Overfitting, arXiv:1709.01604.

    Departures:
        The mean loss is taken over the retained rows only, since the forget rows are under test.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="loss_threshold",
        title="Loss threshold",
        card="A01",
        paper="arXiv:1709.01604",
        access="score",
        kind="membership",
        question=(
            "Does the model make smaller errors on the deleted records than on records it has "
            "never seen?"
        ),
        perfect=(
            "The value of models retrained without the records; it need not be 0.5, because the "
            "two groups of records differ a little in difficulty."
        ),
        headline="auc",
        heads=frozenset({"single", "multi"}),
        statistics=("loss_auc",),
    )

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Return the scorer; the threshold is each target's own mean retained loss."""
        fitted_on = frozenset(case.retain.ids.tolist())

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            return Scores(
                forget=-target.losses(case.forget),
                control=-target.losses(case.test),
                forget_ids=case.forget.ids,
                control_ids=case.test.ids,
                fitted_on=fitted_on,
                threshold=-float(np.mean(target.losses(case.retain))),
            )

        return Fitted(score=score, fitted_on=fitted_on)
