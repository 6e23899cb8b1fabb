"""Inputs moved uphill, number by number, so far that a model takes them for another class."""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from forget_audit.targets import evaluating

Attack = Literal["fgsm", "pgd"]
Bounds = tuple[float, float]
AT_ONCE = 256


def moved(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    epsilon: float,
    steps: int = 1,
    step: float | None = None,
    bounds: Bounds | None = None,
) -> torch.Tensor:
    """Return inputs at most `epsilon` away, in every number, that the model likes less as `y`.

    Each step goes by the sign of the loss's gradient, the model in evaluation mode.

    Args:
        model: Asked only.
        x: Inputs `(n, ...)`.
        y: Their classes `(n,)`.
        epsilon: Largest change of a number.
        steps: How many.
        step: Length of a step; `epsilon` if left out.
        bounds: No number is moved out of this interval; those that lie outside do not move
            further out.
    """
    length = epsilon if step is None else step
    low, high = bounds or (-torch.inf, torch.inf)

    def uphill(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        least = torch.maximum(x - epsilon, x.clamp(max=low))
        most = torch.minimum(x + epsilon, x.clamp(min=high))
        found = x
        for _ in range(steps):
            found = found.detach().requires_grad_()
            loss = functional.cross_entropy(model(found), y, reduction="sum")
            (slope,) = torch.autograd.grad(loss, found)
            found = torch.clamp(found.detach() + length * slope.sign(), least, most)
        return found.detach()

    with evaluating(model):
        chunks = zip(*(torch.split(part, AT_ONCE) for part in (x, y)), strict=True)
        return torch.cat([uphill(*chunk) for chunk in chunks])


def likeliest(logits: torch.Tensor, never: torch.Tensor) -> torch.Tensor:
    """Return the likeliest class of each row among those not excluded for it.

    Args:
        logits: `(n, classes)`.
        never: Mask of excluded classes `(n, classes)`.
    """
    return logits.masked_fill(never, -torch.inf).argmax(1)
