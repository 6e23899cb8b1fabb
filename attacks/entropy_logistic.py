"""The entropy attack: the share of forget rows whose prediction looks like a training row's."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.linear_model import LogisticRegression

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.errors import NotApplicable
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
        member = np.repeat([1, 0], [len(case.retain), len(case.auxiliary)])

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            known = [_entropies(target, rows) for rows in (case.retain, case.auxiliary)]
            judge = LogisticRegression(C=self.c, class_weight="balanced")
            judge.fit(np.concatenate(known)[:, None], member)
            called = judge.predict(_entropies(target, case.forget)[:, None])
            return Scores(fitted_on=fitted_on, scalars={"member_share": float(np.mean(called))})

        return Fitted(score=score, fitted_on=fitted_on)


def _entropies(target: Target, rows: Rows) -> Floats:
    return stats.entropy(stats.probabilities(target.logits(rows)))
