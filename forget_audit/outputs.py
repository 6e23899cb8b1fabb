"""What models answer, and the scores that follow from it: one a row, or one a person."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

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
        second: Log-odds of the label on forget and control rows `(models, rows)` when asked again,
            by the way of asking; empty if nobody was.
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
    second: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)

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
            second={way: (pair[0][index], pair[1][index]) for way, pair in self.second.items()},
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
            second={
                way: (
                    np.concatenate([group.second[way][0] for group in groups]),
                    np.concatenate([group.second[way][1] for group in groups]),
                )
                for way in first.second
            },
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Questions:
    """Single questions about rows, several of which may be about one unit.

    Args:
        y: Right answer to each question `(n,)`.
        unit: Number of the unit that each question is about `(n,)`; one question a unit if none.
        known: Where a label matrix `(rows, labels)` is known: each such label is a question of
            its own, no or yes; none if rows have one class each.
    """

    y: Labels
    unit: Labels | None
    known: npt.NDArray[np.bool_] | None = None

    @staticmethod
    def of(y: Labels, units: Labels | None) -> "Questions":
        """Take each known label of a label matrix as a question of its own, no or yes."""
        if y.ndim == 1:
            return Questions(y=y, unit=units)
        known = y != UNKNOWN
        number = np.arange(len(y)) if units is None else units
        unit = np.broadcast_to(number[:, None], y.shape)[known]
        return Questions(y=y[known], unit=unit, known=known)

    def answered(self, logits: Floats) -> Floats:
        """Return the answers `(n, classes)` of one model with logits `(rows, classes)`."""
        wide = logits.astype(np.float64, copy=False)
        return wide if self.known is None else stats.yes_or_no(wide)[self.known]


@dataclass(frozen=True, kw_only=True, eq=False)
class Derived:
    """Scores of models that follow from `Outputs`; forget units first, control units after.

    A unit is a row, or all rows of a person, or all labels of a row; its score is the mean over
    what it holds. Only the log-odds are kept. All else is computed when it is asked for, of as
    many models as are asked about: a million rows of sixty models would not fit otherwise.

    Args:
        logits: On forget and control rows `(rows, classes)`, of each model.
        log_odds: Of each answer `(answers,)`, of each model.
        asked: What forget and control rows were asked.
        label_shares: Share of forget rows given each class or label `(models, classes)`.
        retain_accuracy: As in `Outputs`.
        test_accuracy: As in `Outputs`.
        traces: As in `Outputs`.
        n_f: Number of forget units.
        unit: Number of the unit of each answer `(answers,)`; one answer a unit if none.
    """

    logits: tuple[tuple[Floats, Floats], ...]
    log_odds: tuple[Floats, ...]
    asked: tuple[Questions, Questions]
    label_shares: Floats
    retain_accuracy: Floats
    test_accuracy: Floats
    traces: Mapping[str, Floats]
    n_f: int
    unit: Labels | None = None

    def __len__(self) -> int:
        return len(self.log_odds)

    def take(self, index: npt.NDArray[np.int64]) -> "Derived":
        """Return the models at `index`; row scores are shared, not copied."""
        return replace(
            self,
            logits=tuple(self.logits[i] for i in index),
            log_odds=tuple(self.log_odds[i] for i in index),
            retain_accuracy=self.retain_accuracy[index],
            test_accuracy=self.test_accuracy[index],
            label_shares=self.label_shares[index],
            traces={name: values[index] for name, values in self.traces.items()},
        )

    def of_units(self, values: Floats) -> Floats:
        """Return the mean of `values` `(models, answers)` over the answers of each unit."""
        return unit_means(values, self.unit)

    @cached_property
    def phi(self) -> Floats:
        """Log-odds of the label `(models, units)`."""
        return self.of_units(np.stack(self.log_odds))

    @cached_property
    def p(self) -> Floats:
        """Probability of the label `(models, units)`."""
        return self.of_units(stats.label_probability(np.stack(self.log_odds)))

    @property
    def loss(self) -> Floats:
        """Cross-entropy `(models, units)`."""
        return self.of_units(stats.cross_entropy(self.answers(), self.labels))

    @property
    def predictions(self) -> Floats:
        """Softmax of single answers `(models, answers, classes)`."""
        return stats.probabilities(self.answers())

    @property
    def labels(self) -> Labels:
        """Right answer to each question `(answers,)`."""
        return np.concatenate([questions.y for questions in self.asked])

    def answers(self) -> Floats:
        """Return the logits of all answers `(models, answers, classes)`."""
        asked = self.asked
        each = [[q.answered(x) for q, x in zip(asked, p, strict=True)] for p in self.logits]
        return np.stack([np.concatenate(parts) for parts in each])

    def each_p(self) -> Iterator[Floats]:
        """Yield the probability of the label `(units,)` of one model after the other."""
        return (self.of_units(stats.label_probability(row)) for row in self.log_odds)

    def each_phi(self) -> Iterator[Floats]:
        """Yield the log-odds of the label `(units,)` of one model after the other."""
        return (self.of_units(row) for row in self.log_odds)

    @staticmethod
    def of(*groups: Outputs) -> "Derived":
        """Derive the scores of all models of `groups`, which must be on the same rows."""
        first = groups[0]
        forget = Questions.of(first.y_f, first.units_f)
        control = Questions.of(first.y_t, first.units_t)
        unit = None
        if forget.unit is not None and control.unit is not None:
            unit = np.concatenate([forget.unit, first.n_f + control.unit])
        logits = [pair for g in groups for pair in zip(g.logits_f, g.logits_t, strict=True)]
        return Derived(
            logits=tuple(logits),
            log_odds=tuple(_log_odds(pair, forget, control) for pair in logits),
            asked=(forget, control),
            label_shares=np.concatenate([_label_shares(group) for group in groups]),
            retain_accuracy=np.concatenate([group.retain_accuracy for group in groups]),
            test_accuracy=np.concatenate([group.test_accuracy for group in groups]),
            traces={
                name: np.concatenate([group.traces[name] for group in groups])
                for name in first.traces
            },
            n_f=first.n_f,
            unit=unit,
        )


def _log_odds(pair: tuple[Floats, Floats], *asked: Questions) -> Floats:
    parts = zip(asked, pair, strict=True)
    return np.concatenate([stats.log_odds(q.answered(logits), q.y) for q, logits in parts])


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
    shares = [_shares_of(logits, outputs) for logits in outputs.logits_f]
    return np.array(shares).reshape(len(outputs), outputs.logits_f.shape[-1])


def _shares_of(logits: Floats, outputs: Outputs) -> Floats:
    """Return the same of one model `(classes,)`, from its logits on the forget rows."""
    if outputs.y_f.ndim == 2:
        given = logits > 0
    else:
        given = np.argmax(logits, axis=-1)[:, None] == np.arange(logits.shape[-1])
    if outputs.units_f is None:
        return np.asarray(given.mean(axis=0))
    return np.asarray(unit_means(given.T.astype(np.float64), outputs.units_f).mean(axis=-1))
