"""Steps that change a part of each layer, another part in each epoch."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.methods._layers import weight_layers
from forget_audit.methods._settings import flag, number, one_of
from forget_audit.methods._steps import Norms, Stepping
from forget_audit.targets import device_of
from forget_audit.training.loop import Index
from forget_audit.types import Features

Shift = Literal["block", "one"]


@dataclass(frozen=True, kw_only=True)
class Partial(Stepping):
    """The fields of methods that step over a selection of the weights.

    Args:
        density_first: Share of the weights of the first layer that an epoch may change; layers
            between the first and the last follow linearly.
        density_last: Share in the last layer.
        shift: How far the selection moves on after an epoch: by its own size (`block`) or by
            `one` weight.
        prune_bias: Whether biases are selected from like weights, or all may change.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`.
    """

    density_first: float = 1.0
    density_last: float = 1.0
    shift: Shift = "block"
    prune_bias: bool = False
    norms: Norms = "eval"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("density_first", "density_last"):
            number(name, getattr(self, name), at_least=0, at_most=1)
        one_of("shift", self.shift, get_args(Shift))
        flag("prune_bias", self.prune_bias)
        one_of("norms", self.norms, get_args(Norms))

    def wheel(self, model: nn.Module, x: Features, rng: np.random.Generator) -> "Wheel":
        """Return the selections of all epochs, layers counted in the order in which they run.

        Args:
            model: Its parameters that require a gradient are selected from.
            x: Features of at least one row, to see the order.
            rng: A child of it draws, so that batches are those of unselected steps.
        """
        own = rng.spawn(1)[0]
        layers = weight_layers(model, x)
        shares = np.linspace(self.density_first, self.density_last, len(layers)).tolist()
        weights = dict(model.named_parameters())
        densities = {
            name: share
            for layer, share in zip(layers, shares, strict=True)
            for name in layer.parameters
            if name in weights
            and weights[name].requires_grad
            and (self.prune_bias or weights[name].ndim > 1)
        }
        return Wheel(
            order={name: own.permutation(weights[name].numel()) for name in densities},
            shapes={name: weights[name].shape for name in densities},
            densities=densities,
            shift=self.shift,
            device=device_of(model),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Wheel:
    """Selections of weights that move on in a circle.

    The weights of a tensor are put into a random order once. The first selection is the first
    share of that order; each later one starts where the last began, plus the shift, and goes on
    at the start after the end.

    Args:
        order: A random order of the weights of each tensor.
        shapes: Shape of each tensor.
        densities: Share that is selected.
        shift: `block` or `one`.
        device: Of the selections.
    """

    order: dict[str, Index]
    shapes: dict[str, torch.Size]
    densities: dict[str, float]
    shift: Shift
    device: torch.device

    def free(self, epoch: int) -> dict[str, torch.Tensor]:
        """Return which entries of each tensor the epoch may change, epochs from 0."""
        masks = {}
        for name, order in self.order.items():
            n = len(order)
            size = round(self.densities[name] * n)
            start = epoch * (size if self.shift == "block" else 1)
            mask = torch.zeros(n, dtype=torch.bool)
            mask[order[(start + np.arange(size)) % n]] = True
            masks[name] = mask.view(self.shapes[name]).to(self.device)
        return masks
