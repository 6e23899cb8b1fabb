"""Shrink and perturb, an unlearning method in one file."""

import copy
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned, UnlearnReport
from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss
from forget_audit.registry import method
from forget_audit.seeds import draw_seed, seeded_torch
from forget_audit.training.loop import Recipe, deal, descend, rows_tensors
from forget_audit.types import Case


@method
@dataclass(frozen=True, kw_only=True)
class ShrinkPerturb:
    """Pull all weights towards zero, add noise, and train on with the retained rows.

    What a weight has learnt of single rows sits in small differences, which shrinking and noise
    drown; what all rows have in common is learnt again quickly. The forget rows are never read.

    Args:
        epochs: Passes over the retained rows; 0 leaves the model as it is.
        batch_size: Most rows in a step.
        lr: Learning rate of Adam.
        shrink: Factor of every weight.
        noise: Standard deviation of the noise, as a share of the weights' root mean square.

    Raises:
        ValueError: If a setting is out of its range.

    References:
        Ash and Adams (2020), On Warm-Starting Neural Network Training, arXiv:1910.08475.

    Departures:
        The paper warms up the training on new data with it and does not unlearn. Buffers, such as
        running statistics of batch norm, are left to the training that follows.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="shrink_perturb",
        title="Shrink and perturb",
        card="X1",
        paper="arXiv:1910.08475",
        needs=frozenset({"retain", "labels"}),
        scopes=frozenset({"instance", "class", "subclass"}),
        heads=frozenset({"single", "multi"}),
        guarantee="none",
        cost="a pass over the retained rows per epoch; nothing is stored",
        summary="Blurs everything the model knows and teaches it the remaining rows again.",
    )
    epochs: int = 10
    batch_size: int = 32
    lr: float = 3e-3
    shrink: float = 0.6
    noise: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name, least in (("epochs", 0), ("batch_size", 1), ("shrink", 0), ("noise", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected {least} or more, found {getattr(self, name)}")
        if self.lr <= 0:
            raise ValueError(f"lr: expected more than 0, found {self.lr}")

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a changed copy; the given model stays as it is."""
        head = "multi" if case.multi_label else "single"
        if case.scope not in self.info.scopes or head not in self.info.heads:
            raise NotApplicable(
                f"{self.info.name} serves requests for rows and classes, "
                f"found a {case.scope} request; choose another method"
            )
        start, new = time.perf_counter(), copy.deepcopy(model)
        new.zero_grad(set_to_none=True)
        x, y = rows_tensors(case.retain, new)
        weights = [p for p in new.parameters() if p.requires_grad]
        optimizer = Recipe(lr=self.lr).make_optimizer(weights)
        n_batches = -(-len(x) // self.batch_size)
        steps = 0
        with seeded_torch(draw_seed(rng)):  # noise and dropout; global generators stay as found
            if self.epochs:
                with torch.no_grad():
                    for p in weights:
                        spread = self.noise * p.square().mean().sqrt()
                        p.mul_(self.shrink).add_(spread * torch.randn_like(p))
            new.train()
            for _ in range(self.epochs):
                batches = deal(len(x), n_batches, rng)
                steps += descend(lambda i: label_loss(new(x[i]), y[i]), batches, optimizer)
        new.zero_grad(set_to_none=True)  # gradients would hold rows
        new.eval()
        return Unlearned(
            model=new,
            report=UnlearnReport(
                steps=steps,
                rows_touched=self.epochs * len(x),
                seconds=time.perf_counter() - start,
                stop_reason=f"all {self.epochs} epochs done",
                changed=changed(model, new),
            ),
        )


def changed(old: nn.Module, new: nn.Module) -> dict[str, float]:
    """Return the share of entries of each tensor that differ."""
    before = old.state_dict()
    return {
        name: float((tensor != before[name]).double().mean())
        for name, tensor in new.state_dict().items()
    }
