"""What attacks and methods are: their identity cards, their verbs, and what they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from forget_audit.errors import LeakageError
from forget_audit.pools import Pool
from forget_audit.types import (
    Access,
    Case,
    Floats,
    Guarantee,
    Head,
    Ids,
    Need,
    Scope,
    read_only,
)

if TYPE_CHECKING:
    from torch import nn

    from forget_audit.targets import Target


@dataclass(frozen=True, kw_only=True)
class AttackInfo:
    """The identity card of an attack; docs, tests and reports read it.

    Args:
        name: Registry name, equal to the module's.
        title: For headings.
        card: Number in the catalogue, such as `A06`.
        paper: arXiv id, DOI or absolute link.
        access: The most it asks of a target.
        kind: `membership` (a score a row), `model` (scalars about the whole model) or `method`
            (an experiment with models of its own, about the unlearning method).
        question: What it asks, in plain words for a non-engineer.
        perfect: What a perfectly unlearned model gets.
        headline: Name of the metric that reports show first.
        leave_one_out: Whether it is fitted on retrained models, so that a retrained model is
            scored by a fit on the others.
        statistics: Names of the verdict's statistics that rest on it; empty if none.
        scopes: Requests it can be carried out on.
        practises: Whether it learns from shadows that went through the audited method.
        heads: Outputs it understands: `single`, one class a row; `multi`, several labels a row.
    """

    name: str
    title: str
    card: str
    paper: str
    access: Access
    kind: Literal["membership", "model", "method"]
    question: str
    perfect: str
    headline: str
    leave_one_out: bool = False
    statistics: tuple[str, ...] = ()
    scopes: frozenset[Scope] = frozenset({"instance", "class", "subclass"})
    practises: bool = False
    heads: frozenset[Head] = frozenset({"single"})


@dataclass(frozen=True, kw_only=True)
class MethodInfo:
    """The identity card of an unlearning method.

    Args:
        name: Registry name, equal to the module's.
        title: For headings.
        card: Number in the catalogue, such as `M23`.
        paper: arXiv id, DOI or absolute link.
        needs: What it cannot run without.
        scopes: Requests it can serve.
        guarantee: What it promises by construction.
        summary: What it does, in plain words for a non-engineer.
        heads: Outputs it can serve: `single`, one class a row; `multi`, several labels a row.
        adapted: Those of the scopes that no publication defines: our extension.
        presets: Settings by name, such as `paper` or `reference`, its released code.
        assumptions: What a certified guarantee rests on.
        reconstructed: What had to be reconstructed because neither full text nor code was
            available; empty if nothing.
        cost: What a run costs, in passes over rows and in storage.
        errata: Numbers of the entries on the page of errata that concern it.
        floor: Least share of the retained accuracy that it keeps on a small problem.
        black_box: Whether it serves models of other libraries, which only answer.
    """

    name: str
    title: str
    card: str
    paper: str
    needs: frozenset[Need]
    scopes: frozenset[Scope]
    guarantee: Guarantee
    summary: str
    heads: frozenset[Head] = frozenset({"single"})
    adapted: frozenset[Scope] = frozenset()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    assumptions: str = ""
    reconstructed: str = ""
    cost: str = ""
    errata: tuple[str, ...] = ()
    floor: float = 0.8
    black_box: bool = False


@dataclass(frozen=True, kw_only=True)
class Series:
    """A curve of an attack, for plots.

    Args:
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        x: Positions, numbers or names.
        y: Values, one a position.
    """

    x_label: str
    y_label: str
    x: tuple[float, ...] | tuple[str, ...]
    y: tuple[float, ...]


def _no_scores() -> Floats:
    return np.zeros(0)


def _no_ids() -> Ids:
    return np.zeros(0, dtype=np.str_)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What an attack says of one target; attacks end here, statistics go on.

    Args:
        forget: One score a forget row, higher means more like a trained-on row; empty for
            attacks on the whole model.
        control: One score a never-trained row.
        forget_ids: Ids of the forget rows.
        control_ids: Ids of the never-trained rows.
        fitted_on: Ids that the attack learnt from.
        threshold: Scores at or above it are called members; set on calibration rows only.
        scalars: Measurements of the whole model by name.
        series: Curves by name.

    Raises:
        LeakageError: If a scored row is among those the attack was fitted on.
        ValueError: If lengths differ or a number is not finite.
    """

    forget: Floats = field(default_factory=_no_scores)
    control: Floats = field(default_factory=_no_scores)
    forget_ids: Ids = field(default_factory=_no_ids)
    control_ids: Ids = field(default_factory=_no_ids)
    fitted_on: frozenset[str] = frozenset()
    threshold: float | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in ("forget", "control"):
            values, ids = getattr(self, part), getattr(self, f"{part}_ids")
            if len(values) != len(ids):
                raise ValueError(f"{part}: expected {len(ids)} scores, found {len(values)}")
            if not np.all(np.isfinite(values)):
                raise ValueError(f"{part}: scores must be finite")
            object.__setattr__(self, part, read_only(np.asarray(values, dtype=np.float64)))
        for name, value in self.scalars.items():
            if not np.isfinite(value):
                raise ValueError(f"{name}: expected a finite number, found {value}")
        scored = {*self.forget_ids.tolist(), *self.control_ids.tolist()}
        leaked = sorted(scored & self.fitted_on)
        if leaked:
            raise LeakageError(
                f"{len(leaked)} scored rows were also used to fit the attack "
                f"(first: {leaked[0]}); score only rows the attack has not seen"
            )
        object.__setattr__(self, "scalars", MappingProxyType(dict(self.scalars)))
        object.__setattr__(self, "series", MappingProxyType(dict(self.series)))


FreshGenerator = Callable[[], np.random.Generator]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """An attack that has learnt what it may learn and can score any target.

    Args:
        score: Scores a target; a pure function of target and generator.
        fitted_on: Ids of the rows it learnt from.
        score_many: Scores many targets at once, each as `score` would with a fresh generator;
            left out where that saves nothing.
    """

    score: Callable[[Target, np.random.Generator], Scores]
    fitted_on: frozenset[str] = frozenset()
    score_many: Callable[[Sequence[Target], FreshGenerator], list[Scores]] | None = None


@runtime_checkable
class Attack(Protocol):
    """An attack: fitted on reference material, then scores any target."""

    info: ClassVar[AttackInfo]

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        """Learn from the pool and the auxiliary rows; never sees the audited model.

        Raises:
            NotApplicable: If the case or the pool lacks what the attack needs.
        """
        ...


@runtime_checkable
class FitsEach(Attack, Protocol):
    """An attack that learns from retrained models, and from all but one of them at once."""

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:
        """Return for each retrained model of the pool what `fit` learns without it.

        Args:
            pool: All reference models.
            case: The rows.
            fresh: Makes the generator that each fit would be given.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class UnlearnReport:
    """What a method did, for the auditor.

    Args:
        steps: Optimiser steps taken.
        rows_touched: Rows that went through a gradient or importance pass, with repetition.
        seconds: Wall time.
        stop_reason: Why it ended.
        notes: Departures and choices of this run.
        changed: Share of the entries of each parameter and buffer that differ from before.
    """

    steps: int
    rows_touched: int
    seconds: float
    stop_reason: str
    notes: tuple[str, ...] = ()
    changed: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Unlearned:
    """A new model and how it was made.

    Args:
        model: In evaluation mode; the given model is untouched.
        report: What was done.
    """

    model: nn.Module
    report: UnlearnReport

    def __repr__(self) -> str:
        told = self.report
        return (
            f"Unlearned({type(self.model).__name__}: {told.steps} steps, {told.rows_touched} rows, "
            f"{told.seconds:.2f} s, {told.stop_reason})"
        )


@runtime_checkable
class Method(Protocol):
    """An unlearning method: model in, new model out."""

    info: ClassVar[MethodInfo]

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a new model; the given one is untouched, also on error.

        Raises:
            NotApplicable: If the scope is not served or a needed input is missing.
        """
        ...
