"""The entropy attack: the share of forget rows whose prediction looks like a training row's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit.attacks._references import entropies
from forget_audit.attacks._together import together
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
from forget_audit.errors import NotApplicable
from forget_audit.logistic import fit_many
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows


@attack
@dataclass(frozen=True, kw_only=True)
class EntropyLogistic:
    """Call forget rows members by a logistic regression on the entropy of the prediction.

    Models are surer, right or wrong, of rows they were trained on. For each target a
    class-balanced logistic regression learns retained (1) against never-trained (0) rows from
    one feature, the entropy; the answer is the share of forget rows it calls members. The
    direction of the gap is learnt with it, so a lower share is not a better one.

    Args:
        c: Inverse strength of the ridge penalty, as in scikit-learn.

    References:
        Chundawat et al. (2023), Can Bad Teaching Induce Forgetting?, arXiv:2205.08096.
        Foster et al. (2024), An Information Theoretic Approach to Machine Unlearning,
        arXiv:2402.01401.

    Departures:
        The published protocol fits on the test rows; we fit on the auxiliary rows, so that the
        test rows stay unseen. The share is read against retrained models, never against 0.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="entropy_logistic",
        title="Entropy of the prediction",
        card="A04",
        paper="arXiv:2205.08096",
        access="score",
        kind="model",
        question="Is the model as sure of the deleted records as of records it still keeps?",
        perfect="The value of models retrained without the records, neither 0 nor one half.",
        headline="member_share",
    )
    c: float = 1.0

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise ValueError(f"c must be above 0, found {self.c}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Return the scorer; the regression is fitted on each target's own outputs.

        Raises:
            NotApplicable: Without auxiliary rows.
        """
        if not len(case.auxiliary):
            raise NotApplicable("needs auxiliary rows that no model was trained on, found none")
        fitted_on = frozenset([*case.retain.ids.tolist(), *case.auxiliary.ids.tolist()])
        member = np.repeat([True, False], [len(case.retain), len(case.auxiliary)])
        weight = len(member) / 2 / np.where(member, len(case.retain), len(case.auxiliary))

        def score_many(targets: Sequence[Target], _fresh: FreshGenerator) -> list[Scores]:
            known = np.concatenate([_entropies(targets, case.retain),
                                    _entropies(targets, case.auxiliary)], axis=1)  # fmt: skip
            alike = np.broadcast_to(member, known.shape), np.broadcast_to(weight, known.shape)
            slope, intercept = fit_many(known, *alike, self.c)
            called = slope[:, None] * _entropies(targets, case.forget) + intercept[:, None] > 0
            return [
                Scores(fitted_on=fitted_on, scalars={"member_share": float(share)})
                for share in called.mean(axis=1)
            ]

        return together(score_many, fitted_on)


def _entropies(targets: Sequence[Target], rows: Rows) -> Floats:
    return np.stack([entropies(target, rows) for target in targets])
