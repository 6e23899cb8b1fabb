"""Perceptrons: for rows without an order, such as tables."""

import math

from torch import nn


def mlp(
    shape: tuple[int, ...], n_classes: int, hidden: list[int] | None = None, norm: bool = False
) -> nn.Module:
    """Multilayer perceptron with ReLU, two hidden layers of 64 unless told.

    `norm` puts batch normalisation before each ReLU.
    """
    width = math.prod(shape)
    layers: list[nn.Module] = [nn.Flatten()]
    for size in hidden or [64, 64]:
        layers += [nn.Linear(width, size), *([nn.BatchNorm1d(size)] if norm else []), nn.ReLU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, n_classes))


def linear(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Softmax regression."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), n_classes))
