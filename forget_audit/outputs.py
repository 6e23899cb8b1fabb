"""What models answer, and the scores that follow from it: one a row, or one a person."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from forget_audit import stats
from forget_audit.types import UNKNOWN, Floats, Labels, Rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """What a group of models says of the forget and the never-trained rows.

    Args:
        logits_f: Logits `(models, n_f, classes)` on the forget rows; log-probabilities do too.
        logits_t: Logits `(models, n_t, classes)` on the control rows.
        y_f: Labels `(n_f,)`, or a label matrix `(n_f, labels)`.
        y_t: Labels of the control rows, of the same kind.
        retain_accuracy: Accuracy on retained rows `(models,)`.
        test_accuracy: Accuracy on all never-trained test rows `(models,)`.
        traces: What the weights of each model betray `(models,)`, by name; empty without access
            to them.
        units_f: Number of the person behind each forget row `(n_f,)`, counted from 0; every row
            is a unit of its own if left out.
        units_t: The same of the control rows `(n_t,)`.
    """

    logits_f: Floats
    logits_t: Floats
    y_f: Labels
    y_t: Labels
    retain_accuracy: Floats
    test_accuracy: Floats
    traces: Mapping[str, Floats] = field(default_factory=dict)
    units_f: Labels | None = None
    units_t: Labels | None = None

    def __len__(self) -> int:
        return len(self.logits_f)

    @property
    def n_f(self) -> int:
        """Number of forget rows, or of the people they belong to."""
        return len(self.y_f) if self.units_f is None else int(self.units_f.max()) + 1

    @property
    def n_t(self) -> int:
        """Number of control rows, or of the people they belong to."""
        return len(self.y_t) if self.units_t is None else int(self.units_t.max()) + 1

    def take(self, index: npt.NDArray[np.int64]) -> "Outputs":
        """Return the models at `index`."""
        return replace(
            self,
            logits_f=self.logits_f[index],
            logits_t=self.logits_t[index],
            retain_accuracy=self.retain_accuracy[index],
            test_accuracy=self.test_accuracy[index],
            traces={name: values[index] for name, values in self.traces.items()},
        )

    @staticmethod
    def concat(*groups: "Outputs") -> "Outputs":
        """Return the models of all groups, which must be on the same rows."""
        first = groups[0]
        return replace(
            first,
            logits_f=np.concatenate([group.logits_f for group in groups]),
            logits_t=np.concatenate([group.logits_t for group in groups]),
            retain_accuracy=np.concatenate([group.retain_accuracy for group in groups]),
            test_accuracy=np.concatenate([group.test_accuracy for group in groups]),
            traces={
                name: np.concatenate([group.traces[name] for group in groups])
                for name in first.traces
            },
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Answers to single questions, several of which may be about one unit.

    Args:
        logits: `(models, n, classes)`.
        y: Right answer to each question `(n,)`.
        unit: Number of the unit that each question is about `(n,)`; one question a unit if none.
    """

    logits: Floats
    y: Labels
    unit: Labels | None

    @staticmethod
    def of(logits: Floats, y: Labels, units: Labels | None) -> "Answers":
        """Take each known label of a label matrix as a question of its own, no or yes."""
        if y.ndim == 1:
            return Answers(logits=logits, y=y, unit=units)
        known = y != UNKNOWN
        number = np.arange(len(y)) if units is None else units
        return Answers(
            logits=stats.yes_or_no(logits)[:, known],
            y=y[known],
            unit=np.broadcast_to(number[:, None], y.shape)[known],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Derived:
    """Scores computed once from `Outputs`; forget units first, control units after.

    A unit is a row, or all rows of a person, or all labels of a row; its score is the mean over
    what it holds.

    Args:
        phi: Log-odds of the label `(models, n)`.
        p: Probability of the label `(models, n)`.
        loss: Cross-entropy `(models, n)`.
        entropy: Of the prediction `(models, n)`.
        predictions: Softmax of single answers `(models, answers, classes)`.
        label_shares: Share of forget rows given each class or label `(models, classes)`.
        retain_accuracy: As in `Outputs`.
        test_accuracy: As in `Outputs`.
        traces: As in `Outputs`.
        n_f: Number of forget units.
        unit: Number of the unit of each answer `(answers,)`; one answer a unit if none.
    """

    phi: Floats
    p: Floats
    loss: Floats
    entropy: Floats
    predictions: Floats
    label_shares: Floats
    retain_accuracy: Floats
    test_accuracy: Floats
    traces: Mapping[str, Floats]
    n_f: int
    unit: Labels | None = None

    def __len__(self) -> int:
        return len(self.phi)

    def take(self, index: npt.NDArray[np.int64]) -> "Derived":
        """Return the models at `index`."""
        return replace(
            self,
            phi=self.phi[index],
            p=self.p[index],
            loss=self.loss[index],
            entropy=self.entropy[index],
            predictions=self.predictions[index],
            label_shares=self.label_shares[index],
            retain_accuracy=self.retain_accuracy[index],
            test_accuracy=self.test_accuracy[index],
            traces={name: values[index] for name, values in self.traces.items()},
        )

    def of_units(self, values: Floats) -> Floats:
        """Return the mean of `values` `(models, answers)` over the answers of each unit."""
        return unit_means(values, self.unit)

    @staticmethod
    def of(outputs: Outputs) -> "Derived":
        """Derive all scores of `outputs`."""
        forget = Answers.of(outputs.logits_f, outputs.y_f, outputs.units_f)
        control = Answers.of(outputs.logits_t, outputs.y_t, outputs.units_t)
        logits = np.concatenate([forget.logits, control.logits], axis=1)
        labels = np.concatenate([forget.y, control.y])
        unit = None
        if forget.unit is not None and control.unit is not None:
            unit = np.concatenate([forget.unit, outputs.n_f + control.unit])
        predictions = stats.probabilities(logits)
        phi = stats.log_odds(logits, labels)
        return Derived(
            phi=unit_means(phi, unit),
            p=unit_means(stats.label_probability(phi), unit),
            loss=unit_means(stats.cross_entropy(logits, labels), unit),
            entropy=unit_means(stats.entropy(predictions), unit),
            predictions=predictions,
            label_shares=_label_shares(outputs),
            retain_accuracy=outputs.retain_accuracy,
            test_accuracy=outputs.test_accuracy,
            traces=outputs.traces,
            n_f=outputs.n_f,
            unit=unit,
        )


def units_of(rows: Rows) -> Labels | None:
    """Return the number of the person behind each row, if rows have people behind them."""
    return None if rows.units is None else rows.numbered()[1]


def unit_means(values: Floats, unit: Labels | None) -> Floats:
    """Return the mean of `values` `(..., n)` over the entries of each unit `(..., units)`.

    Args:
        values: One an entry.
        unit: Number of the unit of each entry `(n,)`, all from 0 on taken; if none, every entry
            is a unit.
    """
    if unit is None:
        return values
    order = np.argsort(unit, kind="stable")
    starts = np.searchsorted(unit[order], np.arange(int(unit.max()) + 1))
    sums = np.add.reduceat(values[..., order], starts, axis=-1)
    return np.asarray(sums / np.bincount(unit))


def _label_shares(outputs: Outputs) -> Floats:
    """Return the share of forget units given each class, or said to bear each label."""
    logits = outputs.logits_f
    if outputs.y_f.ndim == 2:
        given = logits > 0
    else:
        given = np.argmax(logits, axis=-1)[..., None] == np.arange(logits.shape[-1])
    if outputs.units_f is None:
        return np.asarray(given.mean(axis=1))
    shares = unit_means(np.moveaxis(given, 1, -1).astype(np.float64), outputs.units_f)
    return np.asarray(shares.mean(axis=-1))
