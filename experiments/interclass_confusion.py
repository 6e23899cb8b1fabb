"""The interclass confusion test: train on swapped labels, forget them, look for the confusion."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from forget_audit.contracts import AttackInfo, Scores
from forget_audit.errors import NotApplicable
from forget_audit.experiments._models import draw_seeds
from forget_audit.experiments._rows import distinct, need_single_records
from forget_audit.registry import experiment
from forget_audit.targets import Target
from forget_audit.trials import Lab
from forget_audit.types import SMALL_REQUEST, Case, Labels, Rows

Mask = npt.NDArray[np.bool_]
Pair = tuple[int, int]

FEWEST_OF_A_CLASS = SMALL_REQUEST // 2


@experiment
@dataclass(frozen=True, kw_only=True)
class InterclassConfusion:
    """Swap the labels of rows of two classes and see whether the confusion outlives forgetting.

    `A` and `B` are the most frequent labels of the training rows, chosen before anything is
    trained. Of each class as many rows as half the request, drawn at random, get the other
    class's label; they are the forget set of the experiment, and all other training rows are
    retained. After training and forgetting, let `m` be the number of test rows of `A` and `B`:
    `ic_err_test` is the share of these with a wrong answer and `fgt_err_test` the share that is
    taken for the other of the two classes, `(#(A -> B) + #(B -> A)) / m`. The same on the forget
    rows with their true labels gives `ic_err_forget` and `fgt_err_forget`. Errors on test rows
    show a property that was learnt, those on forget rows what was memorised.

    Args:
        share: Largest part of a class that is swapped.
        models: Independent runs, each with rows of its own, over which the shares are averaged.

    Raises:
        ValueError: If a field is out of its range.

    References:
        Goel et al. (2022), Towards Adversarial Evaluations for Inexact Machine Unlearning,
        arXiv:2201.06640.

    Departures:
        The second number is a share here and a count in the paper. Swapped rows are drawn from
        all training rows, not from the request, whose classes may be too small.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="interclass_confusion",
        title="Interclass confusion",
        card="A16",
        paper="arXiv:2201.06640",
        access="label",
        kind="method",
        question=(
            "If records had been filed under the wrong of two names and then deleted, would the "
            "model still mix up the two?"
        ),
        perfect="The value of models retrained without the swapped records; it need not be 0.",
        headline="fgt_err_forget",
    )
    share: float = 0.5
    models: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie in (0, 1), found {self.share}")
        if self.models < 1:
            raise ValueError(f"models must be at least 1, found {self.models}")

    def run(self, lab: Lab, case: Case, rng: np.random.Generator) -> Scores:
        """Swap labels, train, forget and count the confusions.

        Raises:
            NotApplicable: If the request is small or for a class, or if a class has too few
                rows to train or to test on.
        """
        need_single_records(case)
        training = distinct(case.training)
        pair, count = self._classes(training, len(case.forget))
        test = case.test.take(np.isin(case.test.y, pair))
        if len(np.unique(test.y)) < 2:
            raise NotApplicable(
                f"needs test records of both classes {pair[0]} and {pair[1]}, found only "
                f"{len(np.unique(test.y))} of the two; hand in more test records"
            )
        swapped = [_draw(training, pair, count, rng) for _ in range(self.models)]
        everything, n = Rows.concat(training, _swap(training, pair)), len(training)
        subsets = [np.arange(n) + n * mask for mask in swapped]
        originals = lab.train(everything, subsets, draw_seeds(rng, self.models))
        cases = [
            case.replace(retain=training.take(~mask), forget=_swap(training.take(mask), pair))
            for mask in swapped
        ]
        unlearned = lab.forget(originals, cases, draw_seeds(rng, self.models))
        found = [
            _errors(target, test, training.take(mask), pair)
            for target, mask in zip(unlearned, swapped, strict=True)
        ]
        names = ("ic_err_test", "fgt_err_test", "ic_err_forget", "fgt_err_forget")
        means = np.mean(found, axis=0).tolist()
        return Scores(scalars=dict(zip(names, means, strict=True)))

    def _classes(self, training: Rows, wanted: int) -> tuple[Pair, int]:
        """Return the two most frequent labels and how many rows of each to swap."""
        labels, counts = np.unique(training.y, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:2]
        found = int(counts[order[-1]]) if len(order) == 2 else 0
        count = min(wanted // 2, int(self.share * found))
        if count < FEWEST_OF_A_CLASS:
            raise NotApplicable(
                f"needs at least {FEWEST_OF_A_CLASS} rows to swap in each of two classes, found "
                f"{count}; forget more records or hand in more of a class"
            )
        return (int(labels[order[0]]), int(labels[order[1]])), count


def _draw(rows: Rows, pair: Pair, count: int, rng: np.random.Generator) -> Mask:
    """Return a mask with `count` rows of each class of the pair."""
    chosen = np.zeros(len(rows), dtype=bool)
    for label in pair:
        chosen[rng.permutation(np.flatnonzero(rows.y == label))[:count]] = True
    return chosen


def _swap(rows: Rows, pair: Pair) -> Rows:
    """Return the rows with the two labels exchanged, under ids of their own."""
    a, b = pair
    labels = np.where(rows.y == a, b, np.where(rows.y == b, a, rows.y))
    return Rows(x=rows.x, y=labels, ids=np.array([f"{name}+swapped" for name in rows.ids.tolist()]))


def _errors(target: Target, test: Rows, forget: Rows, pair: Pair) -> list[float]:
    return [
        share for rows in (test, forget) for share in confusion(target.labels(rows), rows.y, pair)
    ]


def confusion(answers: Labels, truth: Labels, pair: Pair) -> tuple[float, float]:
    """Return the share of wrong answers, and of answers that name the other class of the pair.

    Args:
        answers: Predicted labels `(n,)`.
        truth: True labels `(n,)`, all of the pair.
        pair: The two labels.
    """
    wrong = answers != truth
    return float(np.mean(wrong)), float(np.mean(wrong & np.isin(answers, pair)))
