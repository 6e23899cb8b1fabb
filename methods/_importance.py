"""How much each weight matters to some rows: the mean squared gradient of their loss.

The diagonal of the empirical Fisher information, over the parameters that require a gradient.
The model should be in evaluation mode.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from forget_audit.labels import label_loss
from forget_audit.methods._steps import n_steps
from forget_audit.training import Index, deal, rows_tensors
from forget_audit.types import Rows

Tensors = dict[str, torch.Tensor]
RowLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# How many numbers the gradients of single rows may take up at once.
ROOM = 2**25


def sample_importance(model: nn.Module, rows: Rows, loss: RowLoss = label_loss) -> Tensors:
    """Return the mean over rows of the squared gradient of the loss of one row, float64.

    Args:
        model: In evaluation mode.
        rows: The rows.
        loss: Of logits `(1, outputs)` and labels of one row.
    """
    x, y = rows_tensors(rows, model)
    weights = _changeable(model)

    def of_row(weights: Tensors, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss(functional_call(model, weights, (x.unsqueeze(0),)), y.unsqueeze(0))

    gradients = vmap(grad(of_row), in_dims=(None, 0, 0))
    total = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in weights.items()}
    chunk = max(1, ROOM // sum(w.numel() for w in weights.values()))
    for start in range(0, len(rows), chunk):
        part = slice(start, start + chunk)
        for name, gradient in gradients(weights, x[part], y[part]).items():
            total[name] += gradient.double().square().sum(dim=0)
    return {name: squares / len(rows) for name, squares in total.items()}


def batch_importance(
    model: nn.Module,
    rows: Rows,
    batch_size: int,
    rng: np.random.Generator,
    loss: RowLoss = label_loss,
) -> Tensors:
    """Return the mean over batches of the squared gradient of the mean loss, float64.

    Args:
        model: In evaluation mode.
        rows: The rows.
        batch_size: Most rows in a batch.
        rng: Deals the rows.
        loss: Of logits `(n, outputs)` and labels, averaged over rows.
    """
    x, y = rows_tensors(rows, model)
    weights = _changeable(model)

    def of_batch(weights: Tensors, index: Index) -> torch.Tensor:
        return loss(functional_call(model, weights, (x[index],)), y[index])

    batches = deal(len(rows), n_steps(len(rows), batch_size, least=1), rng)
    gradients = [grad(of_batch)(weights, batch) for batch in batches]
    return {
        name: torch.stack([g[name].double().square() for g in gradients]).mean(dim=0)
        for name in weights
    }


def _changeable(model: nn.Module) -> Tensors:
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
