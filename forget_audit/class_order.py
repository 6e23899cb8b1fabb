"""Models whose answers are right, and stand in another order of the classes than the labels.

The slip is common where files come from several programs: folders are sorted otherwise, classes
are counted from 1, two columns are exchanged. A model that was trained on the labels is right on
retained rows; one in another order is right on hardly any of certain classes, and on most of them
once they are exchanged. That differs from a bad model, which no order of the classes helps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as distributions

from forget_audit.types import Labels

FEWEST_ROWS, FEWEST_OTHERS = 50, 3
TIMES = 3.0  # so many times as many rows must be right in the other order
MANY = 10  # classes that are not taken for others by chance
LEVEL = 1e-6  # that as many more are right by chance
CLEARLY = 0.7  # right, of the rows that other models have right in either order
MOSTLY = 0.5  # right, of the rows of these classes
LOWER = 0.25  # share of other models that may be bad themselves


@dataclass(frozen=True, kw_only=True, eq=False)
class Reordered:
    """A model that answers rows right in another order of the classes.

    Args:
        model: Position of the model.
        answers: Classes that it answers in the place of others, ascending.
        labels: The classes that are meant by them.
        share: Of the rows of these answers, how many are right as they stand.
        share_then: How many would be right then.
    """

    model: int
    answers: Labels
    labels: Labels
    share: float
    share_then: float

    def __str__(self) -> str:
        pairs = [f"{a} for {b}" for a, b in zip(self.answers, self.labels, strict=True)]
        shown = ", ".join(pairs[:4]) + (", ..." if len(pairs) > 4 else "")
        return (
            f"class {shown}: {100 * self.share:.0f} % of these answers are right as they stand, "
            f"{100 * self.share_then:.0f} % in that order"
        )


def reordered(answered: Sequence[Labels], y: Labels) -> list[Reordered]:
    """Find models that are right in another order of the classes, among models of one task.

    Needs 50 rows, of which about 20 in the exchanged classes. What models near chance answer, or
    those that know one class alone, tells no order.

    Args:
        answered: Classes that each model answers `(n,)`, for rows that all were trained on.
        y: Labels of these rows `(n,)`.
    """
    if len(y) < FEWEST_ROWS:
        return []
    seen = {k: found for k, own in enumerate(answered) if (found := _of_one(k, own, y))}
    others = [own for k, own in enumerate(answered) if k not in seen]
    most = len(others) <= LOWER * len(answered)
    return [found for found in seen.values() if most or _clearly_right(found, others, y)]


def _of_one(model: int, answered: Labels, y: Labels) -> Reordered | None:
    """Return the order that fits one model far better, if there is one."""
    answers, labels = _exchanged(answered, y)
    of_these = np.isin(answered, answers)
    given, wanted = answered[of_these], y[of_these]
    right = int(np.sum(given == wanted))
    then = int(np.sum(labels[np.searchsorted(answers, given)] == wanted)) if len(answers) else 0
    if then < TIMES * right or distributions.binom.sf(then - 1, right + then, 0.5) > LEVEL:
        return None
    return Reordered(
        model=model,
        answers=answers,
        labels=labels,
        share=right / len(given),
        share_then=then / len(given),
    )


def _exchanged(answered: Labels, y: Labels) -> tuple[Labels, Labels]:
    """Return answers, ascending, and the other labels that they stand for.

    Most rows of the answer bear the label, and most rows of the label get the answer. Few classes
    must be exchanged among each other: one that is taken for another is a fault of the model.
    """
    pairs, counts = np.unique(np.stack([answered, y]), axis=1, return_counts=True)
    first, second = pairs
    mostly = (2 * counts > np.bincount(answered)[first]) & (2 * counts > np.bincount(y)[second])
    moved = pairs[:, mostly & (first != second)]
    if moved.shape[1] < MANY:
        moved = moved[:, np.isin(moved[1], moved[0])]
    return moved[0], moved[1]


def _clearly_right(found: Reordered, others: Sequence[Labels], y: Labels) -> bool:
    """Say whether other models are right, as they stand, in the classes that one exchanges."""
    if len(others) < FEWEST_OTHERS:
        return False
    of_these = np.isin(y, found.labels)
    shares, known = [], []
    for own in others:
        given = np.isin(own, found.answers)
        meant = found.labels[np.searchsorted(found.answers, own[given])]
        right, then = int(np.sum(own[given] == y[given])), int(np.sum(meant == y[given]))
        shares.append(right / max(right + then, 1))
        known.append(np.mean(own[of_these] == y[of_these]))
    return bool(np.quantile(shares, LOWER) >= CLEARLY and np.quantile(known, LOWER) >= MOSTLY)
