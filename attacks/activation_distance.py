"""How far a model's answers and features lie from those of retrained models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
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
        return _against(_retrained(pool, case, needed=1), case)

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:  # noqa: ARG002
        """Look at each retrained model once, and compare with all but one of them."""
        seen = _retrained(pool, case, needed=2)
        return [_against(seen[:k] + seen[k + 1 :], case) for k in range(len(seen))]


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A model on the forget rows.

    Args:
        answers: Probabilities `(n, classes)`.
        features: Those that the output layer reads; none if they cannot be compared.
    """

    answers: Floats
    features: "Centred | None"

    @staticmethod
    def of(target: Target, rows: Rows) -> "Seen":
        """Look at a model; with a single row there is nothing to compare features by."""
        able = len(rows) > 1 and target.feature_layers(rows)
        return Seen(
            answers=target.probabilities(rows),
            features=Centred.of(target.features(rows)) if able else None,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Centred:
    """Features `X` less the mean of each column, ready to be compared.

    Args:
        x: `X` `(n, width)`.
        products: `X X'` `(n, n)`, if `X` is wider than it is long; then nothing else is needed.
        size: `|X'X|_F`, which is also `|X X'|_F`.
    """

    x: Floats
    products: Floats | None
    size: float

    @staticmethod
    def of(features: Floats) -> "Centred":
        """Centre features `(n, width)`."""
        x = features - features.mean(axis=0)
        products = x @ x.T if x.shape[1] > len(x) else None
        size = float(np.linalg.norm(x.T @ x if products is None else products))
        return Centred(x=x, products=products, size=size)

    def similarity(self, other: "Centred") -> float:
        """Return the linear CKA with features of the same rows, in [0, 1]."""
        own = self.size * other.size
        if not own > 0:
            return 0.0
        if self.products is not None and other.products is not None:
            both = float(np.vdot(self.products, other.products))  # |X'Y|_F^2 = <X X', Y Y'>
        else:
            both = float(np.linalg.norm(self.x.T @ other.x)) ** 2
        return min(both / own, 1.0)


def similarity(first: Floats, second: Floats) -> float:
    """Return the linear CKA of features `(n, p)` and `(n, q)` of the same rows, in [0, 1]."""
    return Centred.of(first).similarity(Centred.of(second))


def _retrained(pool: Pool, case: Case, needed: int) -> list[Seen]:
    if len(pool.retrained) < needed:
        raise NotApplicable("needs at least one retrained model to compare with, found none")
    return [Seen.of(target, case.forget) for target in pool.retrained]


def _against(others: Sequence[Seen], case: Case) -> Fitted:
    """Return the attack that measures models by their distance from `others`."""
    learnt = [other.features for other in others if other.features is not None]

    def score(target: Target, _rng: np.random.Generator) -> Scores:
        own = Seen.of(target, case.forget)
        apart = [np.linalg.norm(own.answers - o.answers, axis=1).mean() for o in others]
        scalars = {"output_distance": float(np.mean(apart))}
        if own.features is not None and learnt:
            alike = [own.features.similarity(features) for features in learnt]
            scalars["feature_distance"] = 1 - float(np.mean(alike))
        return Scores(scalars=scalars)

    return Fitted(score=score)
