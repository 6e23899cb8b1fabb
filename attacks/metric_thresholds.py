"""Four plain scores of a prediction, each with a threshold for every class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special
from sklearn.metrics import roc_curve

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Labels, Rows

FLOOR = 1e-300


@attack
@dataclass(frozen=True, kw_only=True)
class MetricThresholds:
    """Tell forget from never-trained rows by four scores of the prediction, one at a time.

    With probabilities `p_k` and label `y` they are: correctness `1[argmax p = y]`; confidence
    `p_y`; entropy `-sum_k p_k log p_k`; and modified entropy
    `-(1 - p_y) log p_y - sum_{k != y} p_k log(1 - p_k)`, which unlike entropy is large where the
    model is surely wrong. Both entropies are in nats and negated, so that more means more like a
    trained-on row. Each has one threshold a class, at the best balanced accuracy between the
    retained and the auxiliary rows of the model that is scored; a class with fewer than `fewest`
    of either takes the threshold over all classes. `*_auc` needs no threshold.

    Args:
        fewest: Retained and auxiliary rows of a class that a threshold of its own needs.

    References:
        Song and Mittal (2021), Systematic Evaluation of Privacy Risks of Machine Learning Models,
        arXiv:2003.10595.

    Departures:
        Thresholds come from retained and auxiliary rows of the scored model instead of a shadow
        model, and a class with few rows takes the common one. Correctness has no threshold, as in
        the paper: right answers count as members.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="metric_thresholds",
        title="Four scores with thresholds by class",
        card="A02",
        paper="arXiv:2003.10595",
        access="score",
        kind="model",
        question=(
            "Is the model more often right, or surer of its answer, on the deleted records than "
            "on records it has never seen?"
        ),
        perfect="The value of models retrained without the records; it need not be 0.5.",
        headline="modified_entropy_auc",
    )
    fewest: int = 20

    def __post_init__(self) -> None:
        if self.fewest < 1:
            raise ValueError(f"fewest must be at least 1, found {self.fewest}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Return the scorer; thresholds are each target's own.

        Raises:
            NotApplicable: Without auxiliary rows.
        """
        if not len(case.auxiliary):
            raise NotApplicable("needs auxiliary rows that no model was trained on, found none")
        fitted_on = frozenset([*case.retain.ids.tolist(), *case.auxiliary.ids.tolist()])

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            forget, control, kept, unseen = (
                row_scores(target, rows)
                for rows in (case.forget, case.test, case.retain, case.auxiliary)
            )
            scalars = {}
            for name in forget:
                cuts = np.ones(case.n_classes)
                if name != "correctness":
                    cuts = self._thresholds(kept[name], unseen[name], case)
                called_f = forget[name] >= cuts[case.forget.y]
                called_t = control[name] >= cuts[case.test.y]
                scalars[f"{name}_auc"] = stats.auc(forget[name], control[name])
                scalars[f"{name}_balanced_accuracy"] = float(
                    (np.mean(called_f) + np.mean(~called_t)) / 2
                )
            return Scores(fitted_on=fitted_on, scalars=scalars)

        return Fitted(score=score, fitted_on=fitted_on)

    def _thresholds(self, kept: Floats, unseen: Floats, case: Case) -> Floats:
        """Return one threshold a class `(n_classes,)`."""
        return class_thresholds(
            kept, case.retain.y, unseen, case.auxiliary.y, case.n_classes, self.fewest
        )


def row_scores(target: Target, rows: Rows) -> Mapping[str, Floats]:
    """Return the four scores of each row `(n,)` by name, higher for members."""
    logits = target.logits(rows)
    return {
        "correctness": (np.argmax(logits, axis=1) == rows.y).astype(np.float64),
        "confidence": stats.label_probability(stats.log_odds(logits, rows.y)),
        "entropy": -stats.entropy(stats.probabilities(logits)),
        "modified_entropy": -modified_entropy(logits, rows.y),
    }


def modified_entropy(logits: Floats, labels: Labels) -> Floats:
    """Return the modified entropy `(n,)` in nats of logits `(n, classes)`, within [0, 400].

    `1 - p_k` of the likeliest class is the sum of the other probabilities, so that it keeps its
    digits where `p_k` rounds to one.
    """
    rows = np.arange(len(labels))
    p = stats.probabilities(logits)
    top = np.argmax(p, axis=1)
    others = p.copy()
    others[rows, top] = 0.0
    complement = 1.0 - p
    complement[rows, top] = others.sum(axis=1)
    terms = special.xlogy(p, np.maximum(complement, FLOOR))
    terms[rows, labels] = -complement[rows, labels] * stats.cross_entropy(logits, labels)
    return np.asarray(np.clip(-terms.sum(axis=1), 0.0, stats.LOSS_LIMIT), dtype=np.float64)


def class_thresholds(
    members: Floats,
    member_labels: Labels,
    others: Floats,
    other_labels: Labels,
    n_classes: int,
    fewest: int,
) -> Floats:
    """Return the threshold `(n_classes,)` of each class, at or above which a row is a member.

    Args:
        members: Scores of trained-on rows.
        member_labels: Their labels.
        others: Scores of never-trained rows.
        other_labels: Their labels.
        n_classes: Number of classes.
        fewest: A class with fewer rows on either side takes the threshold over all rows.
    """
    cuts = np.full(n_classes, _best_cut(members, others))
    for label in range(n_classes):
        inside, outside = members[member_labels == label], others[other_labels == label]
        if min(len(inside), len(outside)) >= fewest:
            cuts[label] = _best_cut(inside, outside)
    return cuts


def _best_cut(members: Floats, others: Floats) -> float:
    """Return the score at the best balanced accuracy; infinite if calling nobody is best."""
    truth = np.repeat([1, 0], [len(members), len(others)])
    fpr, tpr, cuts = roc_curve(truth, np.concatenate([members, others]))
    return float(cuts[np.argmax(tpr - fpr)])
