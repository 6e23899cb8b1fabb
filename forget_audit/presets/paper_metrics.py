"""What the tables of the papers measure, each computed as its paper does.

Names of metrics are a fixed vocabulary; figures are in the unit that the papers print.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from sklearn.linear_model import LogisticRegression

from forget_audit import stats
from forget_audit.attacks.loss_cross_validation import LossCrossValidation
from forget_audit.attacks.unsir_relearn import UnsirRelearn
from forget_audit.datasets import Dataset
from forget_audit.errors import NotApplicable, UnknownName
from forget_audit.pools import Pool
from forget_audit.questions import kept_labels, labelled
from forget_audit.registry import unknown
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows

Unit = Literal["%", "share", "epochs"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A metric of a paper.

    Args:
        meaning: What it is, and on which rows.
        unit: In which it is printed.
    """

    meaning: str
    unit: Unit = "%"


FIGURES: Mapping[str, Figure] = {
    "retain_accuracy": Figure(
        meaning="accuracy on the training rows that stay; of a label request, of the labels that "
        "stay on the training rows"
    ),
    "forget_accuracy": Figure(meaning="accuracy on the training rows to forget"),
    "retain_test_accuracy": Figure(
        meaning="accuracy on test rows of the classes that stay, or of the labels that stay; on "
        "all test rows if single rows are forgotten"
    ),
    "forget_test_accuracy": Figure(meaning="accuracy on test rows of what is forgotten"),
    "test_accuracy": Figure(meaning="accuracy on all test rows"),
    "retain_validation_accuracy": Figure(
        meaning="as on test rows, on the validation rows: those that the audit keeps aside"
    ),
    "mia_entropy": Figure(
        meaning="share of the rows to forget that a logistic regression on the entropy of the "
        "prediction calls members, fitted on the training rows that stay against all test rows; "
        "neither 0 nor 50 is good, the value of retrained models is"
    ),
    "mia_loss": Figure(
        meaning="accuracy at which a logistic regression tells rows to forget from test rows like "
        "them by their losses, in equal numbers and ten-fold cross-validation",
        unit="share",
    ),
    "relearn_epochs": Figure(
        meaning="epochs of 500 training rows each until the accuracy on the rows to forget is "
        "what it was; 100 stands for more than 100",
        unit="epochs",
    ),
}
PATTERNS: Mapping[str, Figure] = {
    "class_accuracy_N": Figure(meaning="accuracy on test rows of class N"),
    "label_train_NAME": Figure(meaning="accuracy on the label NAME, training rows"),
    "label_validation_NAME": Figure(meaning="accuracy on the label NAME, validation rows"),
    "label_test_NAME": Figure(meaning="accuracy on the label NAME, test rows"),
}
FORMS = re.compile(r"(class_accuracy)_(\d+)|label_(train|validation|test)_(\w+)")


def figure(name: str) -> Figure:
    """Return what a metric is.

    Raises:
        UnknownName: If there is none of that name.
    """
    if name in FIGURES:
        return FIGURES[name]
    found = FORMS.fullmatch(name)
    if found is None:
        raise UnknownName(unknown("metric", name, [*FIGURES, *PATTERNS]))
    kind, key = ("class_accuracy_N", "N") if found[1] else (f"label_{found[3]}_NAME", "NAME")
    return Figure(meaning=PATTERNS[kind].meaning.replace(key, found[2] or found[4]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """The rows that tables are about.

    Papers test on all official test rows, of which audits keep some aside. Here the two are put
    together again, unless the paper has validation rows: those are the rows kept aside.

    Args:
        case: The request.
        test: All test rows.
        retain_test: Those of what stays.
        forget_test: Those of what is forgotten; none if single rows or a label are.
        validation: Validation rows of what stays; none if the paper has none.
        labels: Names of the columns of a label matrix.
    """

    case: Case
    test: Rows
    retain_test: Rows
    forget_test: Rows | None
    validation: Rows | None
    labels: tuple[str, ...]

    @cached_property
    def controlled(self) -> Case:
        """The request with all test rows that are like the forgotten ones as control rows."""
        rows = self.retain_test if self.forget_test is None else self.forget_test
        none = self.case.auxiliary.take(np.arange(0))
        return self.case.replace(test=rows, others=None, auxiliary=none)

    @staticmethod
    def of(case: Case, dataset: Dataset, columns: Sequence[str]) -> Parts:
        """Deal the rows of a request for a table with the given metrics."""
        separate = any("validation" in name for name in columns)
        aside, rest = case.auxiliary, case.never_trained
        inside = _forgotten_kind(case, dataset, aside)
        if not separate and len(aside):
            rest = Rows.concat(rest, aside)
        chosen = _forgotten_kind(case, dataset, rest)
        return Parts(
            case=case,
            test=kept_labels(rest, case),
            retain_test=kept_labels(rest if chosen is None else rest.take(~chosen), case),
            forget_test=None if chosen is None else rest.take(chosen),
            validation=(
                kept_labels(aside if inside is None else aside.take(~inside), case)
                if separate
                else None
            ),
            labels=dataset.labels,
        )


def _forgotten_kind(case: Case, dataset: Dataset, rows: Rows) -> np.ndarray | None:
    """Say of each row whether it is of what is forgotten, if that is a class or sub-class."""
    if case.scope == "class":
        return np.isin(rows.y, case.classes)
    if case.scope != "subclass" or dataset.subclasses is None:
        return None
    finer = dict(zip(dataset.rows.ids.tolist(), dataset.subclasses.tolist(), strict=True))
    return np.isin([finer[name] for name in rows.ids.tolist()], case.classes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measuring:
    """Measures models of one seed, all in the same way.

    Args:
        parts: The rows.
        parent: The original of this seed.
        seed: Draws folds, and the rows of relearning.
        quick: Whether to measure only that it can be measured: one fold drawing, one epoch.
    """

    parts: Parts
    parent: Target
    seed: int
    quick: bool = False

    def __call__(self, name: str, target: Target) -> float:
        """Return a metric of a model, in the unit of the papers.

        Raises:
            NotApplicable: If the request has no rows of that kind.
            UnknownName: If there is no such metric.
        """
        figure(name)
        found = FORMS.fullmatch(name)
        if found and found[1]:
            rows = self.parts.test.take(self.parts.test.y == int(found[2]))
            return 100 * target.accuracy(_some(rows, name))
        if found:
            return 100 * self._label(found[3], found[4], target)
        if name == "mia_entropy":
            return 100 * self._entropy_members(target)
        if name == "mia_loss":
            return self._loss_accuracy(target)
        if name == "relearn_epochs":
            return self._relearn(target)
        return 100 * target.accuracy(self._rows(name))

    def _rows(self, name: str) -> Rows:
        parts, case = self.parts, self.parts.case
        kinds = {
            "retain_accuracy": case.retain,
            "forget_accuracy": case.forget,
            "retain_test_accuracy": parts.retain_test,
            "forget_test_accuracy": parts.forget_test,
            "test_accuracy": parts.test,
            "retain_validation_accuracy": parts.validation,
        }
        return _some(kinds[name], name)

    def _label(self, part: str, label: str, target: Target) -> float:
        case = self.parts.case
        if label not in self.parts.labels:
            raise NotApplicable(unknown("label", label, self.parts.labels))
        column = self.parts.labels.index(label)
        rows = {"train": case.forget, "validation": case.auxiliary, "test": case.never_trained}
        known = labelled(_some(rows[part], part), column)
        return float(np.mean((target.logits(known)[:, column] > 0) == (known.y == 1)))

    def _entropy_members(self, target: Target) -> float:
        case = self.parts.case
        known = [_entropies(target, rows) for rows in (case.retain, self.parts.test)]
        member = np.repeat([1, 0], [len(part) for part in known])
        judge = LogisticRegression(class_weight="balanced")
        judge.fit(np.concatenate(known)[:, None], member)
        return float(np.mean(judge.predict(_entropies(target, case.forget)[:, None])))

    def _loss_accuracy(self, target: Target) -> float:
        samplings = 1 if self.quick else LossCrossValidation.samplings
        attack = LossCrossValidation(samplings=samplings, svm_samplings=1, svm_rows=2)
        rng = generator(self.seed, "mia_loss")
        fitted = attack.fit(Pool(), self.parts.controlled, rng)
        return fitted.score(target, rng).scalars["accuracy"]

    def _relearn(self, target: Target) -> float:
        attack = UnsirRelearn(epochs=1) if self.quick else UnsirRelearn()
        rng = generator(self.seed, "relearn_epochs")
        fitted = attack.fit(Pool(parent=self.parent), self.parts.case, rng)
        return fitted.score(target, rng).scalars["relearn_epochs"]


def _some(rows: Rows | None, name: str) -> Rows:
    if rows is None or not len(rows):
        raise NotApplicable(f"{name}: the request has no such rows")
    return rows


def _entropies(target: Target, rows: Rows) -> Floats:
    return stats.entropy(stats.probabilities(target.logits(rows)))
