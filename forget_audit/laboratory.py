"""Where experiments train models and make them forget: by the method, by retraining, or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from torch import nn

from forget_audit.contracts import Method
from forget_audit.digests import arrays_digest
from forget_audit.errors import ModelError
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.training.loop import Index
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Features, Labels, Rows, Trainer

Procedure = Literal["method", "retraining", "nothing"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Laboratory:
    """A `Lab` for one way to forget.

    Args:
        trainer: The recipe.
        procedure: How models forget.
        method: The audited method; needed for the procedure `method`.
        memory: Models by content of their rows and seed; laboratories that share it train a
            model once.
    """

    trainer: Trainer
    procedure: Procedure
    method: Method | None = None
    memory: dict[str, nn.Module] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.procedure == "method" and self.method is None:
            raise ModelError("a laboratory for a method needs the method, found none")

    def train(self, rows: Rows, subsets: Sequence[Index], seeds: Sequence[int]) -> list[Target]:
        """Return one model a subset of `rows`, trained from scratch by the recipe."""
        keys = [
            f"{arrays_digest({'x': rows.contents[subset], 'y': rows.y[subset]})} {seed}"
            for subset, seed in zip(subsets, seeds, strict=True)
        ]
        missing = [k for k, key in enumerate(keys) if key not in self.memory]
        trained = self._fit(
            rows.x, rows.y, [subsets[k] for k in missing], [seeds[k] for k in missing]
        )
        self.memory.update(zip((keys[k] for k in missing), trained, strict=True))
        return [Target(self.memory[key]) for key in keys]

    def forget(
        self, originals: Sequence[Target], cases: Sequence[Case], seeds: Sequence[int]
    ) -> list[Target]:
        """Make each original forget the forget rows of its case."""
        if self.procedure == "nothing":
            return list(originals)
        if self.procedure == "retraining":
            return self._retrain_each(cases, seeds)
        assert self.method is not None
        return [
            Target(self.method.unlearn(original.own_copy(), case, generator(seed, "forget")).model)
            for original, case, seed in zip(originals, cases, seeds, strict=True)
        ]

    def retrain(self, case: Case, seeds: Sequence[int]) -> list[Target]:
        """Return models trained from scratch without the forget rows."""
        everyone = np.arange(len(case.retain))
        return self.train(case.retain, [everyone] * len(seeds), seeds)

    def _retrain_each(self, cases: Sequence[Case], seeds: Sequence[int]) -> list[Target]:
        """Retrain one model a case; cases with the very same retained rows train together."""
        together: dict[int, list[int]] = {}
        for k, case in enumerate(cases):
            together.setdefault(id(case.retain), []).append(k)
        found: dict[int, Target] = {}
        for part in together.values():
            models = self.retrain(cases[part[0]], [seeds[k] for k in part])
            found.update(zip(part, models, strict=True))
        return [found[k] for k in range(len(cases))]

    def _fit(
        self, x: Features, y: Labels, subsets: Sequence[Index], seeds: Sequence[int]
    ) -> list[nn.Module]:
        if isinstance(self.trainer, RecipeTrainer):
            return self.trainer.many(x, y, subsets, seeds)
        return [
            self.trainer(x[subset], y[subset], seed).eval()
            for subset, seed in zip(subsets, seeds, strict=True)
        ]
