"""Relearn time: how fast the forget rows come back when the model is trained on them again."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Fitted, Scores, Series
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.seeds import derive, draw_seed, generator, seeded_torch
from forget_audit.targets import Target
from forget_audit.training.loop import Index, Recipe, deal, descend, rows_tensors
from forget_audit.types import Case, Rows

Curve = tuple[list[float], list[float]]


@attack
@dataclass(frozen=True, kw_only=True)
class Relearn:
    """Fine-tune a copy on the forget rows and watch the loss come down.

    Traces that the outputs hide let a model relearn faster than one that never saw the rows.
    Optimiser, learning rate, initial head and batches are the same for every target. Three
    curves are taken: on the forget rows themselves; on one half of them while training on the
    other (does recovery spread?); and on the forget rows after the last linear layer was drawn
    anew, since a method that only edits the output layer deceives the first curve. `area_*` is
    the mean height of a curve in nats, by the trapezoid rule. `relearn_steps` is the first step
    at which the accuracy of the originals is regained up to `tolerance`, or `steps` with
    `censored` at 1 if that was not seen.

    Args:
        steps: Optimiser steps.
        lr: Learning rate of Adam.
        batch_size: Rows a step, at most.
        max_rows: Forget rows taken, at most; drawn once for all targets.
        tolerance: Share of the originals' accuracy that may be missing.
        head_reset: Whether to take the third curve.

    References:
        Golatkar et al. (2020), Eternal Sunshine of the Spotless Net, arXiv:1911.04933.
        Tarun et al. (2023), Fast Yet Effective Machine Unlearning, arXiv:2111.08947.
        Chundawat et al. (2023), Zero-Shot Machine Unlearning, arXiv:2201.05629.

    Departures:
        The papers report a hitting time, which is often censored and coarse; we show the area
        first. They train on retained rows too; we train on forget rows alone, in evaluation
        mode, so that dropout and batch statistics add no noise.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="relearn",
        title="Relearning speed",
        card="A19",
        paper="arXiv:1911.04933",
        access="weights",
        kind="model",
        question="Do the deleted records come back suspiciously fast when trained on again?",
        perfect="The value of models retrained without the records; slower is a deviation too.",
        headline="area_log_loss",
    )
    steps: int = 30
    lr: float = 3e-3
    batch_size: int = 64
    max_rows: int = 256
    tolerance: float = 0.05
    head_reset: bool = True

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "max_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, found {self.lr}")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance must lie in [0, 1), found {self.tolerance}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        """Draw rows, halves, batches and head once, so that all targets get the same."""
        seed = draw_seed(rng)
        order = generator(seed, "rows").permutation(len(case.forget))[: self.max_rows]
        rows = case.forget.take(order)
        half = len(rows) // 2
        taught, held_out = case.forget.take(order[:half]), case.forget.take(order[half:])
        known = pool.originals or (() if pool.parent is None else (pool.parent,))
        goal = [(1 - self.tolerance) * target.accuracy(rows) for target in known]

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            losses, accuracies = self._curve(target.model_copy(), rows, rows, seed)
            curves = {"relearn": losses}
            scalars = {"area_log_loss": _area(losses)}
            if goal:
                scalars |= _hitting_time(accuracies, float(np.mean(goal)))
            if half:
                curves["relearn_held_out"], _ = self._curve(
                    target.model_copy(), taught, held_out, seed
                )
                scalars["area_held_out"] = _area(curves["relearn_held_out"])
            fresh = target.model_copy()
            if self.head_reset and _reset_head(fresh, derive(seed, "head")):
                curves["relearn_head_reset"], _ = self._curve(fresh, rows, rows, seed)
                scalars["area_head_reset"] = _area(curves["relearn_head_reset"])
            return Scores(
                scalars=scalars, series={name: _series(curve) for name, curve in curves.items()}
            )

        return Fitted(score=score)

    def _curve(self, model: nn.Module, taught: Rows, watched: Rows, seed: int) -> Curve:
        """Return loss and accuracy on `watched`, before training and after each step."""
        model.eval().requires_grad_(True)
        x, y = rows_tensors(taught, model)
        watched_x, _ = rows_tensors(watched, model)
        optimizer = Recipe(lr=self.lr).make_optimizer(model.parameters())
        seen: list[torch.Tensor] = []

        def watch() -> None:
            with torch.no_grad():
                seen.append(model(watched_x))

        def loss(index: Index) -> torch.Tensor:
            batch = torch.from_numpy(index).to(x.device)
            return functional.cross_entropy(model(x[batch]), y[batch])

        watch()
        batches = self._batches(len(taught), generator(seed, "batches"))
        for batch in islice(batches, self.steps):
            descend(loss, [batch], optimizer)
            watch()
        logits = torch.stack(seen).double().cpu().numpy()
        losses = stats.cross_entropy(logits, watched.y).mean(axis=1)
        accuracies = (np.argmax(logits, axis=2) == watched.y).mean(axis=1)
        return losses.tolist(), accuracies.tolist()

    def _batches(self, n: int, rng: np.random.Generator) -> Iterator[Index]:
        while True:
            yield from deal(n, -(-n // self.batch_size), rng)


def _reset_head(model: nn.Module, seed: int) -> bool:
    """Draw the last linear layer anew, in place, and say whether there is one."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    with seeded_torch(seed):
        for module in linear[-1:]:
            module.reset_parameters()
    return bool(linear)


def _area(losses: list[float]) -> float:
    return float(np.trapezoid(losses)) / (len(losses) - 1)


def _hitting_time(accuracies: list[float], goal: float) -> dict[str, float]:
    reached = np.flatnonzero(np.asarray(accuracies) >= goal)
    steps = int(reached[0]) if len(reached) else len(accuracies) - 1
    return {"relearn_steps": float(steps), "censored": float(not len(reached))}


def _series(losses: list[float]) -> Series:
    return Series(
        x_label="steps",
        y_label="loss (nats)",
        x=tuple(float(step) for step in range(len(losses))),
        y=tuple(losses),
    )
