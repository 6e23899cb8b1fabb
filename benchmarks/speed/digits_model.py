"""The race's model and training function, importable by name as SACRO-ML wants them.

SACRO-ML strips the letters of ".py" from the right of the file name, so that it must not end in
p or y.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.speed.protocol import CLASSES, HIDDEN, PIXELS


class Perceptron(nn.Module):
    """The model of all contestants, as a class."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.layers(x)
        return logits


def train(model: nn.Module, dataloader: Any, epochs: int, lr: float, momentum: float) -> None:
    """Train over the loader that SACRO-ML makes."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    model.train()
    for _ in range(epochs):
        for x, y in dataloader:
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    model.eval()
