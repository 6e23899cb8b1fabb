"""Four plain scores of a prediction, each with a threshold for every class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit import stats
from forget_audit.attacks._references import entropies
from forget_audit.attacks._together import together
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
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

        def score_many(targets: Sequence[Target], _fresh: FreshGenerator) -> list[Scores]:
            roles = (case.forget, case.test, case.retain, case.auxiliary)
            answers = [[row_scores(target, rows) for target in targets] for rows in roles]
            found: dict[str, Floats] = {}
            for name in answers[0][0]:
                forget, control, kept, unseen = (
                    np.stack([scores[name] for scores in each]) for each in answers
                )
                cuts = np.ones((len(targets), case.n_classes))
                if name != "correctness":
                    cuts = self._thresholds(kept, unseen, case)
                called_f = forget >= cuts[:, case.forget.y]
                called_t = control >= cuts[:, case.test.y]
                found[f"{name}_auc"] = stats.aucs(forget, control)
                found[f"{name}_balanced_accuracy"] = (
                    called_f.mean(axis=1) + np.mean(~called_t, axis=1)
                ) / 2
            return [
                Scores(
                    fitted_on=fitted_on,
                    scalars={name: float(values[k]) for name, values in found.items()},
                )
                for k in range(len(targets))
            ]

        return together(score_many, fitted_on)

    def _thresholds(self, kept: Floats, unseen: Floats, case: Case) -> Floats:
        """Return one threshold a model and class `(models, n_classes)`."""
        return class_thresholds(
            kept, case.retain.y, unseen, case.auxiliary.y, case.n_classes, self.fewest
        )


def row_scores(target: Target, rows: Rows) -> Mapping[str, Floats]:
    """Return the four scores of each row `(n,)` by name, higher for members."""
    p, losses = target.probabilities(rows), target.losses(rows)
    right = np.argmax(target.logits(rows), axis=1) == rows.y
    return {
        "correctness": right.astype(np.float64),
        "confidence": stats.label_probability(target.log_odds(rows)),
        "entropy": -entropies(target, rows),
        "modified_entropy": -modified_entropy(p, losses, rows.y),
    }


def modified_entropy(p: Floats, losses: Floats, labels: Labels) -> Floats:
    """Return the modified entropy `(n,)` in nats, within [0, 400].

    `1 - p_k` of the likeliest class is the sum of the other probabilities, so that it keeps its
    digits where `p_k` rounds to one.

    Args:
        p: Probabilities `(n, classes)`.
        losses: Cross-entropy of the labels `(n,)`, which keeps digits where a probability is 0.
        labels: `(n,)`.
    """
    rows = np.arange(len(labels))
    top = np.argmax(p, axis=1)
    others = p.copy()
    others[rows, top] = 0.0
    complement = 1.0 - p
    complement[rows, top] = others.sum(axis=1)
    terms = p * np.log(np.maximum(complement, FLOOR))
    terms[rows, labels] = -complement[rows, labels] * losses
    return np.asarray(np.clip(-terms.sum(axis=1), 0.0, stats.LOSS_LIMIT), dtype=np.float64)


def class_thresholds(
    members: Floats,
    member_labels: Labels,
    others: Floats,
    other_labels: Labels,
    n_classes: int,
    fewest: int,
) -> Floats:
    """Return the threshold `(..., n_classes)` of each class, from which a row is a member.

    Args:
        members: Scores of trained-on rows `(..., n)`, of one model or several.
        member_labels: Their labels `(n,)`.
        others: Scores of never-trained rows `(..., m)`.
        other_labels: Their labels `(m,)`.
        n_classes: Number of classes.
        fewest: A class with fewer rows on either side takes the threshold over all rows.
    """
    cuts = np.repeat(best_cuts(members, others)[..., None], n_classes, axis=-1)
    for label in range(n_classes):
        inside, outside = members[..., member_labels == label], others[..., other_labels == label]
        if min(inside.shape[-1], outside.shape[-1]) >= fewest:
            cuts[..., label] = best_cuts(inside, outside)
    return cuts


def best_cuts(members: Floats, others: Floats) -> Floats:
    """Return the score at the best balanced accuracy of each model `(...)`.

    The highest of equally good ones; infinite if calling nobody is best.

    Args:
        members: `(..., n)`.
        others: `(..., m)`.
    """
    n, m = members.shape[-1], others.shape[-1]
    scores = np.concatenate([members, others], axis=-1)
    order = np.argsort(-scores, axis=-1)
    scores = np.take_along_axis(scores, order, axis=-1)
    hits = np.cumsum(order < n, axis=-1)
    gain = hits / n - (np.arange(1, n + m + 1) - hits) / m
    gain[..., :-1][scores[..., :-1] == scores[..., 1:]] = -np.inf  # equal scores stay together
    best = np.argmax(gain, axis=-1)[..., None]
    cuts = np.take_along_axis(scores, best, axis=-1)
    return np.where(np.take_along_axis(gain, best, axis=-1) > 0, cuts, np.inf)[..., 0]
