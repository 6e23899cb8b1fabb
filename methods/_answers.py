"""How much each weight matters for the answers to some rows, whatever is right."""

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from forget_audit.methods._importance import ROOM, Tensors
from forget_audit.targets import evaluating


def answer_importance(model: nn.Module, x: torch.Tensor) -> Tensors:
    """Return the mean absolute gradient of the squared norm of the logits, scaled by tensor.

    In each tensor the least is 0 and the greatest 1; where all are equal, all are 1, or 0.

    Args:
        model: Asked in evaluation mode.
        x: The rows.
    """
    changeable = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    def size(weights: Tensors, row: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = functional_call(model, weights, (row.unsqueeze(0),))
        return answer.square().sum()

    gradients = vmap(grad(size), in_dims=(None, 0))
    chunk = max(1, ROOM // sum(p.numel() for p in changeable.values()))
    total = {name: torch.zeros_like(p) for name, p in changeable.items()}
    with evaluating(model):
        for start in range(0, len(x), chunk):
            for name, gradient in gradients(changeable, x[start : start + chunk]).items():
                total[name] += gradient.abs().sum(0) / len(x)
    return {name: _spread(matters) for name, matters in total.items()}


def _spread(matters: torch.Tensor) -> torch.Tensor:
    """Return the entries moved and scaled to reach from 0 to 1; where all are equal, 1 or 0."""
    low, high = matters.min(), matters.max()
    return (matters - low) / (high - low) if high > low else (matters > 0).to(matters.dtype)
