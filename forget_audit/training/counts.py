"""How many models an audit trains for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from forget_audit.errors import PlanError, Problem

FEWEST: Mapping[str, int] = {"retrained": 3, "originals": 1, "copies": 1}
MOST_MODELS = 100_000


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many models of each group an audit trains.

    Args:
        retrained: Without the forget rows: the yardstick; at least 3.
        originals: With them: what remembering looks like; at least 1.
        identity: Retrained too, to be found indistinguishable: the check of the harness.
        shadows: On halves of the auxiliary rows, for attacks that learn.
        candidate_shadows: On the retained rows and thirds of forget and control rows, then
            unlearned, for attacks on single records; needs a method.
        copies: Independent originals and unlearned models, if the audit makes them.

    Raises:
        PlanError: If they are no whole numbers within bounds; with every problem.
    """

    retrained: int = 39
    originals: int = 8
    identity: int = 2
    shadows: int = 8
    candidate_shadows: int = 0
    copies: int = 1

    def __post_init__(self) -> None:
        problems = []
        for name in (field.name for field in fields(self)):
            given, fewest = getattr(self, name), FEWEST.get(name, 0)
            whole = isinstance(given, (int, np.integer)) and not isinstance(given, bool)
            if whole and fewest <= given <= MOST_MODELS:
                object.__setattr__(self, name, int(given))
                continue
            expected = f"expected a whole number from {fewest} to {MOST_MODELS:,}"
            problems.append(Problem(f"counts.{name}", f"{expected}, found {given!r:.40}"))
        if problems:
            raise PlanError(problems)

    @property
    def total(self) -> int:
        """Number of trainings besides the audited model's own and candidate shadows."""
        return self.retrained + self.originals + self.identity + self.shadows
