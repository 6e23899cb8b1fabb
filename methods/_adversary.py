"""Adversarial examples: rows changed a little until a model takes them for another class."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

# How many rows are changed at once.
CHUNK = 1024
TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Projected gradient descent with a target, in Euclidean distance.

    Args:
        radius: Most that a row is changed.
        step_size: Length of a step.
        steps: Number of steps.
        low: Least value of a changed row.
        high: Greatest value.
    """

    radius: float
    step_size: float
    steps: int
    low: float
    high: float

    def start(self, x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Return a random change of each row, uniform in the ball of the radius."""
        towards = torch.from_numpy(rng.standard_normal(x.shape)).to(x)
        lengths = torch.from_numpy(rng.random(len(x)) ** (1 / x[0].numel())).to(x)
        return self.radius * _per_row(lengths / _length(towards).clamp(min=TINY), x) * towards

    def run(
        self, model: nn.Module, x: torch.Tensor, labels: torch.Tensor, start: torch.Tensor
    ) -> torch.Tensor:
        """Return the rows after steps that make `model` take them for `labels`.

        Args:
            model: Asked in evaluation mode; stays as it is.
            x: The rows.
            labels: Classes `(n,)`.
            start: By how much the rows are changed before the first step.
        """
        judge = copy.deepcopy(model).eval().requires_grad_(False)
        parts = [slice(at, at + CHUNK) for at in range(0, len(x), CHUNK)]
        return torch.cat([self._descend(judge, x[p], labels[p], start[p]) for p in parts])

    def _descend(
        self, judge: nn.Module, x: torch.Tensor, labels: torch.Tensor, change: torch.Tensor
    ) -> torch.Tensor:
        change = self._within(x, change)
        for _ in range(self.steps):
            at = (x + change).requires_grad_()
            error = functional.cross_entropy(judge(at), labels, reduction="sum")
            (uphill,) = torch.autograd.grad(error, at)
            step = self.step_size / _length(uphill).clamp(min=TINY)
            change = self._within(x, change - _per_row(step, x) * uphill)
        return x + change

    def _within(self, x: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        shrink = (self.radius / _length(change).clamp(min=TINY)).clamp(max=1)
        return (x + _per_row(shrink, x) * change).clamp(self.low, self.high) - x


def _length(rows: torch.Tensor) -> torch.Tensor:
    return rows.flatten(1).square().sum(1).sqrt()


def _per_row(factors: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return factors.view(-1, *[1] * (rows.ndim - 1))
