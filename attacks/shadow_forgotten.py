"""The shadow-model attack on unlearned models: forgotten rows against rows never seen."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from forget_audit.attacks._shadow_features import (
    FEWEST_SHADOWS,
    Learnt,
    fitted,
    forgotten_lessons,
)
from forget_audit.contracts import AttackInfo, Fitted
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.types import Case, Floats


@attack
@dataclass(frozen=True, kw_only=True)
class ShadowForgotten:
    """Learn from models of one's own what the outputs on forgotten rows look like.

    Shadow models are trained by the same recipe on halves of the auxiliary rows, and the audited
    method then makes each of them forget some of its rows. By the outputs of the shadows
    afterwards, a logistic regression learns forgotten rows from rows that the shadow was never
    trained on, both classes weighing the same; rows that were trained on and kept teach nothing.
    It is then asked about the forget rows. The threshold comes from shadows that the regression
    has not seen.

    Args:
        top: How many of the largest probabilities are features.
        folds: Groups of shadows held out in turn for the threshold.
        c: Inverse strength of the ridge penalty, as in scikit-learn.

    References:
        Shokri et al. (2017), Membership Inference Attacks Against Machine Learning Models,
        arXiv:1610.05820.
        Hayes et al. (2024), Inexact Unlearning Needs More Careful Evaluations to Avoid a False
        Sense of Privacy, arXiv:2403.01218 (shadows that went through the method).

    Departures:
        One attack model for all classes, with the label as a feature, instead of one a class,
        which needs far more rows. Log-odds, loss, entropy and correctness are features too. Each
        shadow forgets as large a share of its rows as the request is of the training rows.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="shadow_forgotten",
        title="Unlearned shadow models, logistic regression",
        card="A03",
        paper="arXiv:1610.05820",
        access="score",
        kind="membership",
        question=(
            "Would someone who practised deleting from models of their own recognise the deleted "
            "records?"
        ),
        perfect="The value of models retrained without the records; it need not be 0.5.",
        headline="auc",
        practises=True,
    )
    top: int = 3
    folds: int = 4
    c: float = 1.0

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"top must be at least 1, found {self.top}")
        if self.folds < FEWEST_SHADOWS:
            raise ValueError(f"folds must be at least {FEWEST_SHADOWS}, found {self.folds}")
        if not self.c > 0:
            raise ValueError(f"c must be above 0, found {self.c}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Learn forgotten from never-trained rows on the shadows after they forgot.

        Raises:
            NotApplicable: Without at least two shadows that went through the audited method.
        """
        known = forgotten_lessons(pool, case, self.top)
        judge = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=self.c, class_weight="balanced", max_iter=2000),
        )
        held_out = cross_val_predict(
            judge,
            known.features,
            known.member,
            groups=known.shadow,
            cv=GroupKFold(min(self.folds, len(pool.shadows))),
            method="decision_function",
        )
        judge.fit(known.features, known.member)

        def score(rows: Floats) -> Floats:
            return np.asarray(judge.decision_function(rows), dtype=np.float64)

        return fitted(case, self.top, known, Learnt(score=score, held_out=held_out))
