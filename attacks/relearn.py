"""Relearn time: how fast the forget rows come back when the model is trained on them again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from forget_audit import stats
from forget_audit.attacks._crowds import Crowd, crowds
from forget_audit.attacks._together import together
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores, Series
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.seeds import derive, draw_seed, generator, seeded_torch
from forget_audit.targets import Target
from forget_audit.training.loop import Index, Recipe, deal, descend, tensors
from forget_audit.types import Case, Floats, Rows

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

        def score_many(targets: Sequence[Target], _fresh: FreshGenerator) -> list[Scores]:
            models = [target.model_copy() for target in targets]
            found: list[dict[str, Curve]] = [{} for _ in models]

            def take(name: str, places: Sequence[int], taught: Rows, watched: Rows) -> None:
                curves = self._curves([models[k] for k in places], taught, watched, seed)
                for k, curve in zip(places, curves, strict=True):
                    found[k][name] = curve

            everyone = range(len(models))
            take("relearn", everyone, rows, rows)
            if half:
                take("relearn_held_out", everyone, taught, held_out)
            if self.head_reset:
                able = [k for k in everyone if _reset_head(models[k], derive(seed, "head"))]
                take("relearn_head_reset", able, rows, rows)
            return [_scores(curves, goal) for curves in found]

        return together(score_many)

    def _curves(
        self, models: Sequence[nn.Module], taught: Rows, watched: Rows, seed: int
    ) -> list[Curve]:
        """Return loss and accuracy on `watched` of each model, before and after each step."""
        curves: dict[int, Curve] = {}
        for crowd in crowds(models):
            losses, accuracies = self._relearnt(crowd, taught, watched, seed)
            for k, place in enumerate(crowd.places):
                curves[place] = losses[:, k].tolist(), accuracies[:, k].tolist()
        return [curves[k] for k in range(len(models))]

    def _relearnt(
        self, crowd: Crowd, taught: Rows, watched: Rows, seed: int
    ) -> tuple[Floats, Floats]:
        """Return losses and accuracies `(1 + steps, models)` on `watched`."""
        x, y = tensors(taught.x, taught.y, crowd.device)
        watched_x, _ = tensors(watched.x, watched.y, crowd.device)
        optimizer = Recipe(lr=self.lr).make_optimizer(crowd.parameters)
        losses, accuracies = [], []

        def watch(_: Index | None = None) -> None:
            with torch.no_grad():
                logits = crowd.answer(watched_x.unsqueeze(0)).double().cpu().numpy()
            losses.append(stats.cross_entropy(logits, watched.y).mean(axis=1))
            accuracies.append((np.argmax(logits, axis=2) == watched.y).mean(axis=1))

        def loss(index: Index) -> torch.Tensor:
            batch = torch.from_numpy(index).to(crowd.device)
            return crowd.loss(x[batch].unsqueeze(0), y[batch].unsqueeze(0))

        watch()
        batches = self._batches(len(taught), generator(seed, "batches"))
        descend(loss, islice(batches, self.steps), optimizer, after=watch)
        return np.stack(losses), np.stack(accuracies)

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


def _scores(curves: Mapping[str, Curve], goal: Sequence[float]) -> Scores:
    """Return the curves of a model, and what they come to."""
    losses, accuracies = curves["relearn"]
    scalars = {"area_log_loss": _area(losses)}
    if goal:
        scalars |= _hitting_time(accuracies, float(np.mean(goal)))
    scalars |= {
        f"area_{name}": _area(curves[f"relearn_{name}"][0])
        for name in ("held_out", "head_reset")
        if f"relearn_{name}" in curves
    }
    return Scores(
        scalars=scalars, series={name: _series(curve) for name, (curve, _) in curves.items()}
    )


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
