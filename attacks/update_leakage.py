"""The attack of someone who has seen the model before and after a record was deleted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from operator import itemgetter
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from forget_audit import stats
from forget_audit.attacks._shadow_features import FEWEST_SHADOWS, Pair, best_threshold, pairs
from forget_audit.attacks._together import together
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.seeds import draw_seed
from forget_audit.targets import Target
from forget_audit.types import Case, Floats

Features = Callable[[Floats, Floats], Floats]


@attack
@dataclass(frozen=True, kw_only=True)
class UpdateLeakage:
    """Tell deleted records from never-trained ones by the answers before and after the deletion.

    The attacker has asked the original model for its probabilities `p` and asks the unlearned
    one for `q`. On shadows before and after the audited method made them forget, an attack model
    learns forgotten rows from rows the shadow was never trained on, both classes weighing the
    same, from one of five features of a row: `p - q`; the same with the classes in descending
    order of `p`; the distance `|p - q|`; `p` and `q` side by side; the same in descending order
    of `p`. Feature and attack model (logistic regression or random forest) are those with the
    best AUC on held-out shadows, from which the threshold comes too. The audited model is paired
    with the model it was made from, and so are retrained models and originals.

    A second attack learns in the same way from the original alone, `p` in either order. Its
    confidence in the truth about a row (forgotten or not) is taken off that of the first:
    `confidence_gain` is the mean over all scored rows, `higher_confidence_share` the share of
    rows where the pair tells more.

    Args:
        folds: Groups of shadows held out in turn.
        trees: Trees of a random forest.
        leaf: Fewest rows in a leaf.
        c: Inverse strength of the ridge penalty, as in scikit-learn.

    References:
        Chen et al. (2021), When Machine Unlearning Jeopardizes Privacy, arXiv:2005.02205.

    Departures:
        Shadows forget as large a share of their rows as the request is, by the audited method,
        instead of single rows by retraining. Of the paper's attack models the decision tree and
        the perceptron are left out. The attack on the original alone chooses its order and model
        as the other one does. Confidences count both classes equally, so that rare forgotten rows
        do not make it confident that nothing was forgotten. As in the paper, labels are not used.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="update_leakage",
        title="Before and after the deletion",
        card="A13",
        paper="arXiv:2005.02205",
        access="score",
        kind="membership",
        question=(
            "Does someone who has used the model both before and after the deletion notice which "
            "records were deleted?"
        ),
        perfect=(
            "The value of models retrained without the records, often above 0.5: a true deletion "
            "shows as well."
        ),
        headline="auc",
        practises=True,
    )
    folds: int = 4
    trees: int = 10
    leaf: int = 5
    c: float = 1.0

    def __post_init__(self) -> None:
        if self.folds < FEWEST_SHADOWS:
            raise ValueError(f"folds must be at least {FEWEST_SHADOWS}, found {self.folds}")
        for name in ("trees", "leaf"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not self.c > 0:
            raise ValueError(f"c must be above 0, found {self.c}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        """Learn from shadows before and after they forgot, and choose by held-out shadows.

        Raises:
            NotApplicable: Without the model before the deletion, or without at least two shadows
                that went through the audited method.
        """
        parent = pool.parent
        if parent is None:
            raise NotApplicable(
                "needs the model from which the audited one was made, found none; hand in the "
                "original as the parent"
            )
        known = Lessons.of(pairs(pool, case))
        seed = draw_seed(rng) % 2**31
        by_pair = self._best((direct, in_order, distance, beside, beside_in_order), known, seed)
        by_original = self._best((original, original_in_order), known, seed)
        fitted_on = frozenset(case.auxiliary.ids.tolist())

        both, n_f = (case.forget, case.test), len(case.forget)
        p = np.concatenate([parent.probabilities(rows) for rows in both])
        before = by_original.confidence(p, p)

        def score_many(targets: Sequence[Target], _fresh: FreshGenerator) -> list[Scores]:
            q = [target.probabilities(rows) for target in targets for rows in both]
            after = by_pair.confidence(np.tile(p, (len(targets), 1)), np.concatenate(q))
            return [scored(one) for one in after.reshape(len(targets), -1)]

        def scored(after: Floats) -> Scores:
            gains = np.concatenate([(after - before)[:n_f], (before - after)[n_f:]])
            return Scores(
                forget=after[:n_f],
                control=after[n_f:],
                forget_ids=case.forget.ids,
                control_ids=case.test.ids,
                fitted_on=fitted_on,
                threshold=by_pair.threshold,
                scalars={
                    "confidence_gain": float(np.mean(gains)),
                    "higher_confidence_share": float(np.mean(gains > 0)),
                },
            )

        return together(score_many, fitted_on)

    def _best(self, choice: Sequence[Features], known: "Lessons", seed: int) -> "Judge":
        """Return the feature and attack model that do best on held-out shadows, fitted on all."""
        folds = GroupKFold(min(self.folds, len(np.unique(known.shadow))))
        found = []
        for features, model in product(choice, self._models(seed)):
            x = features(known.before, known.after)
            held_out = cross_val_predict(
                model, x, known.forgotten, groups=known.shadow, cv=folds, method="predict_proba"
            )[:, 1]
            forgotten, others = held_out[known.forgotten], held_out[~known.forgotten]
            judge = Judge(
                features=features, model=model, threshold=best_threshold(forgotten, others)
            )
            found.append((stats.auc(forgotten, others), judge))
        _, best = max(found, key=itemgetter(0))
        best.model.fit(best.features(known.before, known.after), known.forgotten)
        return best

    def _models(self, seed: int) -> tuple[ClassifierMixin, ...]:
        regression = LogisticRegression(C=self.c, class_weight="balanced", max_iter=2000)
        forest = RandomForestClassifier(
            self.trees,
            min_samples_leaf=self.leaf,
            class_weight="balanced",
            random_state=seed,
            n_jobs=1,
        )
        return make_pipeline(StandardScaler(), regression), forest


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons:
    """What the attack models learn from, all shadows together.

    Args:
        before: Probabilities by the shadow `(n, n_classes)`.
        after: Probabilities by the shadow after it forgot `(n, n_classes)`.
        forgotten: Whether the row was forgotten, not never trained on `(n,)`.
        shadow: Which shadow it is `(n,)`; folds never split one.
    """

    before: Floats
    after: Floats
    forgotten: npt.NDArray[np.bool_]
    shadow: npt.NDArray[np.int64]

    @classmethod
    def of(cls, known: Sequence[Pair]) -> "Lessons":
        """Return what the shadows answer."""
        return cls(
            before=np.concatenate([pair.before.probabilities(pair.rows) for pair in known]),
            after=np.concatenate([pair.after.probabilities(pair.rows) for pair in known]),
            forgotten=np.concatenate([pair.forgotten for pair in known]),
            shadow=np.repeat(np.arange(len(known)), [len(pair.rows) for pair in known]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """A feature, the attack model that reads it, and where it draws the line.

    Args:
        features: Maps `p` and `q` `(n, n_classes)` to what the model reads.
        model: Gives the probability that a row was forgotten.
        threshold: Best on held-out shadows.
    """

    features: Features
    model: ClassifierMixin
    threshold: float

    def confidence(self, p: Floats, q: Floats) -> Floats:
        """Return the probability of each row to have been forgotten `(n,)`."""
        return np.asarray(self.model.predict_proba(self.features(p, q))[:, 1], dtype=np.float64)


def direct(p: Floats, q: Floats) -> Floats:
    """Return `p - q`."""
    return p - q


def in_order(p: Floats, q: Floats) -> Floats:
    """Return `p - q` in descending order of `p`."""
    return direct(*_sorted(p, q))


def distance(p: Floats, q: Floats) -> Floats:
    """Return the Euclidean distance of `p` and `q` as a column."""
    return np.asarray(np.linalg.norm(p - q, axis=1, keepdims=True), dtype=np.float64)


def beside(p: Floats, q: Floats) -> Floats:
    """Return `p` and `q` side by side."""
    return np.concatenate([p, q], axis=1)


def beside_in_order(p: Floats, q: Floats) -> Floats:
    """Return `p` and `q` side by side, both in descending order of `p`."""
    return beside(*_sorted(p, q))


def original(p: Floats, _: Floats) -> Floats:
    """Return `p` alone."""
    return p


def original_in_order(p: Floats, q: Floats) -> Floats:
    """Return `p` alone, in descending order."""
    return _sorted(p, q)[0]


def _sorted(p: Floats, q: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(-p, axis=1, kind="stable")
    return np.take_along_axis(p, order, axis=1), np.take_along_axis(q, order, axis=1)
