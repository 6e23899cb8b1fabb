"""How far a model's answers and features lie from those of retrained models."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows


@attack
@dataclass(frozen=True, kw_only=True)
class ActivationDistance:
    """Measure how far answers and features on the forget rows lie from retrained models.

    `output_distance` is the mean of `|p_U(x) - p_R(x)|_2` over the forget rows `x` and the
    retrained models `R`, with `p` the probabilities of the classes. `feature_distance` is
    `1 - CKA` between the features that the output layers read, mean over the retrained models:
    `CKA(X, Y) = |X'Y|_F^2 / (|X'X|_F |Y'Y|_F)` with one row of `X` and `Y` a forget row and all
    columns centred. CKA is 1 for features that differ by rotation and scale only, so that the
    order of hidden units does not count; features that do not vary have CKA 0 with anything.
    Two retrained models differ too, hence each of them is measured against the others.

    References:
        Chundawat et al. (2023), Can Bad Teaching Induce Forgetting? Unlearning in Deep Networks
        Using an Incompetent Teacher, arXiv:2205.08096.
        Kornblith et al. (2019), Similarity of Neural Network Representations Revisited,
        arXiv:1905.00414.

    Departures:
        The paper takes one retrained model and calls a small distance good; we take all of them
        and show their distances from each other beside. The distance of the features is ours. It
        is left out with a single forget row or in models without learnt features.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="activation_distance",
        title="Distance of the answers",
        card="A21",
        paper="arXiv:2205.08096",
        access="weights",
        kind="model",
        question=(
            "How differently does the model treat the deleted records from models that never "
            "saw them?"
        ),
        perfect=(
            "The distance of retrained models from each other, which is above 0; nearer is no "
            "better."
        ),
        headline="output_distance",
        leave_one_out=True,
    )

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Take answers and features of the retrained models on the forget rows.

        Raises:
            NotApplicable: Without retrained models.
        """
        if not pool.retrained:
            raise NotApplicable("needs at least one retrained model to compare with, found none")
        rows = case.forget
        answers = [_probabilities(other, rows) for other in pool.retrained]
        features = [_features(other, rows) for other in pool.retrained]

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            own = _probabilities(target, rows)
            distances = [np.linalg.norm(own - other, axis=1).mean() for other in answers]
            scalars = {"output_distance": float(np.mean(distances))}
            learnt = _features(target, rows)
            known = [other for other in features if other is not None]
            if learnt is not None and known:
                similar = [similarity(learnt, other) for other in known]
                scalars["feature_distance"] = 1 - float(np.mean(similar))
            return Scores(scalars=scalars)

        return Fitted(score=score)


def similarity(first: Floats, second: Floats) -> float:
    """Return the linear CKA of features `(n, p)` and `(n, q)` of the same rows, in [0, 1]."""
    x, y = (part - part.mean(axis=0) for part in (first, second))
    own = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    return min(float(np.linalg.norm(x.T @ y)) ** 2 / own, 1.0) if own > 0 else 0.0


def _probabilities(target: Target, rows: Rows) -> Floats:
    return stats.probabilities(target.logits(rows))


def _features(target: Target, rows: Rows) -> Floats | None:
    """Return the penultimate features, or nothing if they cannot be compared."""
    return target.features(rows) if len(rows) > 1 and target.feature_layers(rows) else None
