"""Experiments on an unlearning method: what they are, and the laboratory they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from forget_audit.contracts import AttackInfo, Scores
from forget_audit.types import Case, Rows

if TYPE_CHECKING:
    from forget_audit.targets import Target


class Lab(Protocol):
    """Trains models by the recipe and makes them forget.

    An experiment is run in three laboratories that differ only in `forget`: the audited method,
    retraining without the rows (what a perfect method gets) and doing nothing (the other end).
    """

    def train(
        self, rows: Rows, subsets: Sequence[npt.NDArray[np.int64]], seeds: Sequence[int]
    ) -> list[Target]:
        """Return one model a subset of `rows` (positions), trained from scratch by the recipe."""
        ...

    def forget(
        self, originals: Sequence[Target], cases: Sequence[Case], seeds: Sequence[int]
    ) -> list[Target]:
        """Make each original forget the forget rows of its case."""
        ...

    def retrain(self, case: Case, seeds: Sequence[int]) -> list[Target]:
        """Return models trained from scratch without the forget rows, in any laboratory."""
        ...


@dataclass(frozen=True, kw_only=True)
class Labs:
    """The laboratories of an experiment.

    Args:
        method: Where models forget by the audited method.
        retraining: Where they are trained again.
        nothing: Where they stay as they are.
    """

    method: Lab
    retraining: Lab
    nothing: Lab


@runtime_checkable
class Experiment(Protocol):
    """An experiment: trains, unlearns and measures models of its own; sees no audited model."""

    info: ClassVar[AttackInfo]

    def run(self, lab: Lab, case: Case, rng: np.random.Generator) -> Scores:
        """Carry out the experiment and return scalars (and curves) about the method of `lab`.

        Raises:
            NotApplicable: If the case lacks what the experiment needs.
        """
        ...
