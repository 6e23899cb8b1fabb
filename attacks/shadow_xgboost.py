"""The shadow-model attack of Shokri et al. with boosted trees as the attack model."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.model_selection import GroupKFold
from xgboost import XGBClassifier

from forget_audit.attacks._shadow_features import FEWEST_SHADOWS, Learnt, fitted, lessons
from forget_audit.contracts import AttackInfo, Fitted
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.seeds import draw_seed
from forget_audit.types import Case, Floats


@attack
@dataclass(frozen=True, kw_only=True)
class ShadowXgboost:
    """Learn from models of one's own, by boosted trees, how trained-on rows look.

    As the logistic shadow attack, with an attack model that can use thresholds and interactions
    of the features. Groups of shadows are held out in turn: they stop the boosting of the other
    shadows' trees and give the scores for the threshold. The final model learns from all shadows
    with the mean number of rounds.

    Args:
        top: How many of the largest probabilities are features.
        folds: Groups of shadows held out in turn.
        depth: Depth of a tree, at most 3.
        rounds: Trees at most.
        patience: Rounds without gain on the held-out shadows after which boosting stops.
        learning_rate: Weight of a tree.

    References:
        Shokri et al. (2017), Membership Inference Attacks Against Machine Learning Models,
        arXiv:1610.05820.
        Chen and Guestrin (2016), XGBoost: A Scalable Tree Boosting System, arXiv:1603.02754.

    Departures:
        Those of the logistic shadow attack. Trees are shallow and stopped early, as membership
        in a shadow is easily overfitted.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="shadow_xgboost",
        title="Shadow models, boosted trees",
        card="A03",
        paper="arXiv:1610.05820",
        access="score",
        kind="membership",
        question=(
            "Would someone who practised on models of their own, with a stronger learner, still "
            "take the deleted records for training records?"
        ),
        perfect="The value of models retrained without the records; it need not be 0.5.",
        headline="auc",
    )
    top: int = 3
    folds: int = 4
    depth: int = 3
    rounds: int = 200
    patience: int = 15
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        for name in ("top", "rounds", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.folds < FEWEST_SHADOWS:
            raise ValueError(f"folds must be at least {FEWEST_SHADOWS}, found {self.folds}")
        if not 1 <= self.depth <= 3:
            raise ValueError(f"depth must be 1, 2 or 3, found {self.depth}")
        if not 0 < self.learning_rate <= 1:
            raise ValueError(f"learning_rate must lie in (0, 1], found {self.learning_rate}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        """Learn members from non-members on the shadows.

        Raises:
            NotApplicable: Without at least two shadows that have members and others.
        """
        known = lessons(pool, case, self.top)
        x, y = known.features, known.member
        seed = draw_seed(rng) % 2**31
        held_out = np.zeros(len(y))
        rounds = []
        folds = GroupKFold(min(self.folds, len(pool.shadows)))
        for rest, fold in folds.split(x, y, known.shadow):
            part = self._trees(seed, self.rounds, early_stopping_rounds=self.patience)
            part.fit(x[rest], y[rest], eval_set=[(x[fold], y[fold])], verbose=False)
            held_out[fold] = part.predict(x[fold], output_margin=True)
            rounds.append(part.best_iteration + 1)
        trees = self._trees(seed, round(float(np.mean(rounds))))
        trees.fit(x, y)

        def score(rows: Floats) -> Floats:
            return np.asarray(trees.predict(rows, output_margin=True), dtype=np.float64)

        return fitted(case, self.top, known, Learnt(score=score, held_out=held_out))

    def _trees(self, seed: int, rounds: int, **stopping: int) -> XGBClassifier:
        return XGBClassifier(
            n_estimators=rounds,
            max_depth=self.depth,
            learning_rate=self.learning_rate,
            tree_method="hist",
            eval_metric="logloss",
            n_jobs=1,
            random_state=seed,
            **stopping,
        )
