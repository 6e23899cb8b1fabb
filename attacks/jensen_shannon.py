"""How far the predictions lie from those of retrained models, in Jensen-Shannon divergence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit import stats
from forget_audit.attacks._references import means_of_others
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats
from forget_audit.verdict.yardstick import TINY


@attack
@dataclass(frozen=True, kw_only=True)
class JensenShannon:
    """Measure how far predictions lie from the mean prediction of retrained models.

    `JS(p, q) = (KL(p | m) + KL(q | m)) / 2` with `m = (p + q) / 2`, in bits: 0 for equal, 1 for
    disjoint predictions. `p` is the prediction of the model, `q` the mean prediction of retrained
    models. `contrast = log mean JS(forget rows) - log mean JS(control rows)` says whether the
    forget rows are further off than rows nobody trained on, whatever the model's general
    distance; `forget_mean` and `control_mean` are the plain means, of which the first serves
    class requests, where control rows of the class move too.

    References:
        Lin (1991), Divergence Measures Based on the Shannon Entropy, doi:10.1109/18.61115.
        Chundawat et al. (2023), Can Bad Teaching Induce Forgetting?, arXiv:2205.08096 (the
        comparison of an unlearned with a retrained model).

    Departures:
        The published comparison is with one retrained model; we compare with the mean prediction
        of all of them, and forget with control rows. A retrained model has some distance, too.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="jensen_shannon",
        title="Distance of predictions from retraining",
        card="A22",
        paper="doi:10.1109/18.61115",
        access="score",
        kind="model",
        question=(
            "Do the model's answers on the deleted records differ from a retrained model's more "
            "than its answers on records it has never seen?"
        ),
        perfect=(
            "The value of retrained models against each other: near 0 for the contrast, above 0 "
            "for the means."
        ),
        headline="contrast",
        leave_one_out=True,
        statistics=("js",),
    )

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Take the mean prediction of the retrained models.

        Raises:
            NotApplicable: Without retrained models.
        """
        forget, control = _answers(pool, case, needed=1)
        return _against(forget.mean(axis=0), control.mean(axis=0), case)

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:  # noqa: ARG002
        """Take the mean prediction of all but one of the retrained models, for each of them."""
        usual = map(means_of_others, _answers(pool, case, needed=2))
        return [_against(forget, control, case) for forget, control in zip(*usual, strict=True)]


def _answers(pool: Pool, case: Case, needed: int) -> tuple[Floats, Floats]:
    """Return the predictions `(models, n, classes)` of retrained models on either kind of rows."""
    if len(pool.retrained) < needed:
        raise NotApplicable("needs at least one retrained model to compare with, found none")
    return (
        np.stack([target.probabilities(case.forget) for target in pool.retrained]),
        np.stack([target.probabilities(case.test) for target in pool.retrained]),
    )


def _against(usual_f: Floats, usual_t: Floats, case: Case) -> Fitted:
    """Return the attack that knows the mean predictions on forget and control rows."""

    def score(target: Target, _rng: np.random.Generator) -> Scores:
        forget, control = (
            float(np.mean(stats.jensen_shannon(target.probabilities(rows), usual)))
            for rows, usual in ((case.forget, usual_f), (case.test, usual_t))
        )
        contrast = float(np.log(forget + TINY) - np.log(control + TINY))
        return Scores(
            scalars={"contrast": contrast, "forget_mean": forget, "control_mean": control}
        )

    return Fitted(score=score)
