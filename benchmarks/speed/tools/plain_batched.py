"""The floor of training many models at once: two batched matrix products, written out by hand.

Nothing here is general: one hidden layer, plain SGD with momentum, all models in every step.
"""

import numpy as np
import torch
from torch.nn import functional

from benchmarks.speed import clock, protocol
from benchmarks.speed.protocol import Ground, Protocol
from forget_audit.seeds import derive, generator


def run(ground: Ground, settings: Protocol) -> dict[str, float]:
    """Train the shadows and attack; return times and what must agree."""
    member = protocol.halves(len(ground.x), settings)
    start = clock.cpu_seconds()
    weights = initial(settings)
    fit(weights, ground, member, settings)
    trained = clock.cpu_seconds()
    with torch.no_grad():
        logits = forward(weights, torch.from_numpy(ground.x).expand(len(member), -1, -1))
    found = protocol.compared(ground, list(logits.double().numpy()), member)
    whole = clock.cpu_seconds()
    return {"training": trained - start, "whole": whole - start, **found}


def initial(settings: Protocol) -> list[torch.Tensor]:
    """Return stacked weights and biases of both layers, products on the right."""
    made = [
        protocol.perceptron(derive(settings.seed, "shadow", k)) for k in range(settings.shadows)
    ]
    parts = [[p.detach() for p in model.parameters()] for model in made]
    stacked = [torch.stack(list(each)) for each in zip(*parts, strict=True)]
    turned = [t.transpose(1, 2).contiguous() if t.ndim == 3 else t[:, None] for t in stacked]
    return [t.requires_grad_() for t in turned]


def forward(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return logits `(models, rows, classes)` of `(models, rows, 64)`."""
    first, bias, second, offset = weights
    return torch.baddbmm(offset, torch.baddbmm(bias, x, first).relu(), second)


def fit(
    weights: list[torch.Tensor], ground: Ground, member: protocol.Mask, settings: Protocol
) -> None:
    """Train all models in place, each on its own rows in its own order."""
    inputs, labels = torch.from_numpy(ground.x), torch.from_numpy(ground.y)
    orders = [generator(settings.seed, "order", k) for k in range(len(member))]
    subsets = [np.flatnonzero(mask) for mask in member]
    optimizer = torch.optim.SGD(weights, lr=settings.lr, momentum=settings.momentum)
    for _ in range(settings.epochs):
        dealt = np.stack([rng.permutation(s) for rng, s in zip(orders, subsets, strict=True)])
        for start in range(0, dealt.shape[1], settings.batch):
            rows = torch.from_numpy(dealt[:, start : start + settings.batch])
            optimizer.zero_grad()
            logits = forward(weights, inputs[rows])
            loss = functional.cross_entropy(
                logits.flatten(0, 1), labels[rows].flatten(), reduction="sum"
            )
            (loss / rows.shape[1]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()


if __name__ == "__main__":
    clock.tell(protocol.race(run, clock.asked()))
