"""The weights of many models of one shape, side by side.

All that learn lie in one piece of memory with room to spare at its end, so that one call of the
optimiser steps them all. A processor treats the few last numbers of an array otherwise than the
rest, and rounds them otherwise: here these are nobody's weights.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import nn

ROOM = 64  # numbers, a multiple of what processors treat at once


class Stack:
    """Stacked weights, gradients and buffers, by name, each `(models, ...)`.

    Args:
        models: Of one architecture, on one device; they are copied.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        learning = [(name, p) for name, p in models[0].named_parameters() if p.requires_grad]
        counts = [len(models) * p.numel() for _, p in learning]
        starts = [0]
        for count in counts:
            starts.append(starts[-1] + -(-count // ROOM) * ROOM)
        like = learning[0][1] if learning else torch.zeros(0)
        self.flat = like.detach().new_zeros(starts[-1])
        self._slopes = torch.zeros_like(self.flat)
        self.weights: dict[str, torch.Tensor] = {}
        self.gradients: dict[str, torch.Tensor] = {}
        for (name, p), start, count in zip(learning, starts, counts, strict=False):
            shape = (len(models), *p.shape)
            self.weights[name] = self.flat[start : start + count].view(shape)
            self.gradients[name] = self._slopes[start : start + count].view(shape)
        with torch.no_grad():
            for name, stacked in self.weights.items():
                for place, model in zip(stacked, models, strict=True):
                    place.copy_(model.get_parameter(name))
            for name, p in models[0].named_parameters():
                if not p.requires_grad:
                    self.weights[name] = torch.stack([m.get_parameter(name).data for m in models])
            self.buffers = {
                name: torch.stack([model.get_buffer(name) for model in models])
                for name, _ in models[0].named_buffers()
            }

    def learn(self, gradients: Iterable[torch.Tensor | None] | None = None) -> None:
        """Hand the gradients to the optimiser.

        Args:
            gradients: Of the weights that learn, in their order; what stands in `gradients`
                already if left out.
        """
        if gradients is not None:
            for place, found in zip(self.gradients.values(), gradients, strict=True):
                place.zero_() if found is None else place.copy_(found)
        self.flat.grad = self._slopes

    def write_back(self, models: Sequence[nn.Module]) -> None:
        """Give the models their weights and buffers."""
        with torch.no_grad():
            for k, model in enumerate(models):
                for name in self.gradients:
                    model.get_parameter(name).copy_(self.weights[name][k])
                for name, stacked in self.buffers.items():
                    model.get_buffer(name).copy_(stacked[k])
