"""How much each weight matters to some rows: powers of the gradients of their losses.

The mean squared gradient is the diagonal of the empirical Fisher information. All is over the
parameters that require a gradient; the model should be in evaluation mode.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from forget_audit.labels import label_loss
from forget_audit.methods._layer_gradients import (
    Call,
    Factors,
    Power,
    has_formula,
    power_sum,
    row_gradients,
    watching_calls,
)
from forget_audit.methods._steps import n_steps
from forget_audit.training.loop import Index, deal, rows_tensors
from forget_audit.types import Rows

Tensors = dict[str, torch.Tensor]
RowLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# How many numbers the gradients of single rows may take up at once, and rows in a pass.
ROOM = 2**25
ROWS = 64


def sample_importance(model: nn.Module, rows: Rows, loss: RowLoss = label_loss) -> Tensors:
    """Return the mean over rows of the squared gradient of the loss of one row, float64.

    Args:
        model: In evaluation mode.
        rows: The rows.
        loss: Of logits `(1, outputs)` and labels of one row.
    """
    sums = power_sums(model, *rows_tensors(rows, model), loss)
    return {name: squares / len(rows) for name, squares in sums.items()}


def power_sums(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    loss: RowLoss = label_loss,
    power: Power = 2,
) -> Tensors:
    """Return the sum over rows of the absolute gradient of a row's loss to a power, float64.

    Layers of common kinds take one backward pass for a whole batch; their gradients are compared
    with autograd's on one row first. The others are left to `vmap`.

    Args:
        model: In evaluation mode; its rows must not depend on one another.
        x: Features.
        y: Labels, or whatever `loss` takes for them, one entry a row.
        loss: Of logits `(1, outputs)` and labels of one row.
        power: 1 or 2.
    """
    weights = changeable(model)
    layers = _layers_by_hand(model, x, y, loss)
    sums: Tensors = {}
    for start in range(0, len(x), ROWS) if layers else ():
        part = slice(start, start + ROWS)
        for call, gradient in _backward(model, layers, x[part], y[part], loss)[0]:
            for name, each in row_gradients(call, gradient).items():
                _add(sums, layers[call.layer] + name, power_sum(each, power))
    for _, gradients in each_gradient(model, x, y, loss, only=weights.keys() - sums.keys()):
        for name, gradient in gradients.items():
            _add(sums, name, power_sum(gradient, power))
    return {name: sums[name].view_as(w) for name, w in weights.items()}


def each_gradient(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    loss: RowLoss = label_loss,
    only: Collection[str] | None = None,
) -> Iterator[tuple[slice, Tensors]]:
    """Yield some rows at a time and the gradients of their losses, one more axis in front.

    Args:
        model: In evaluation mode.
        x: Features.
        y: Labels, or whatever `loss` takes for them, one entry a row.
        loss: Of logits `(1, outputs)` and labels of one row.
        only: Names of the parameters; all if left out.
    """
    every = {name: p.detach() for name, p in model.named_parameters()}
    weights = {name: w for name, w in changeable(model).items() if only is None or name in only}
    if not weights:
        return

    def of_row(weights: Tensors, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        answer = functional_call(model, {**every, **weights}, (x.unsqueeze(0),))
        return loss(answer, y.unsqueeze(0))

    gradients = vmap(grad(of_row), in_dims=(None, 0, 0))
    chunk = max(1, ROOM // sum(w.numel() for w in weights.values()))
    for start in range(0, len(x), chunk):
        part = slice(start, start + chunk)
        yield part, gradients(weights, x[part], y[part])


def mean_gradient(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, loss: RowLoss = label_loss
) -> Tensors:
    """Return the gradient of the mean of the rows' losses, float64; arguments as above."""
    sums = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in changeable(model).items()}
    parameters = dict(model.named_parameters())
    for start in range(0, len(x), ROWS):
        part = slice(start, start + ROWS)
        _, found = _backward(model, (), x[part], y[part], loss, [parameters[n] for n in sums])
        for name, gradient in zip(sums, found, strict=True):
            sums[name] += gradient
    return {name: total / len(x) for name, total in sums.items()}


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
    weights = changeable(model)

    def of_batch(weights: Tensors, index: Index) -> torch.Tensor:
        return loss(functional_call(model, weights, (x[index],)), y[index])

    batches = deal(len(rows), n_steps(len(rows), batch_size, least=1), rng)
    gradients = [grad(of_batch)(weights, batch) for batch in batches]
    return {
        name: torch.stack([g[name].double().square() for g in gradients]).mean(dim=0)
        for name in weights
    }


def changeable(model: nn.Module) -> Tensors:
    """Return the parameters that require a gradient by name, detached."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def top(scores: Tensors, count: int) -> Tensors:
    """Return masks of the `count` greatest scores over all tensors; the first of equals win."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    chosen = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
    chosen[flat.argsort(descending=True, stable=True)[:count]] = True
    sizes = [score.numel() for score in scores.values()]
    parts = torch.split(chosen, sizes)
    return {name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)}


def _layers_by_hand(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, loss: RowLoss
) -> dict[nn.Module, str]:
    """Return the layers whose gradients by hand are right, with the prefix of their names.

    Layers that run once, see one entry a row, and agree with autograd on the first row: weights
    that are tied or used in other ways do not.
    """
    named = {
        module: f"{name}." if name else ""
        for name, module in model.named_modules()
        if has_formula(module) and any(p.requires_grad for p in module.parameters())
    }
    with torch.no_grad(), watching_calls(named) as calls:
        model(x[:2])
    count = Counter(call.layer for call in calls)
    named = {
        call.layer: named[call.layer]
        for call in calls
        if count[call.layer] == 1 and len(call.given) == len(x[:2])
    }
    owned = [p for module in named for p in module.parameters() if p.requires_grad]
    pairs, found = _backward(model, named, x[:1], y[:1], loss, owned)
    right = {id(p): gradient for p, gradient in zip(owned, found, strict=True)}

    def agrees(call: Call, gradient: torch.Tensor) -> bool:
        if len(call.given) != 1:
            return False
        for name, each in row_gradients(call, gradient).items():
            truth = right.get(id(call.layer.get_parameter(name)))
            ours = each.each() if isinstance(each, Factors) else each
            if truth is not None and torch.dist(ours.view_as(truth), truth) > 1e-3 * truth.norm():
                return False
        return True

    return {call.layer: named[call.layer] for call, g in pairs if agrees(call, g)}


def _backward(
    model: nn.Module,
    layers: Collection[nn.Module],
    x: torch.Tensor,
    y: torch.Tensor,
    loss: RowLoss,
    weights: Sequence[torch.Tensor] = (),
) -> tuple[list[tuple[Call, torch.Tensor]], Sequence[torch.Tensor]]:
    """Return gradients of the sum of the rows' losses: by the answers of layers, by weights."""

    def of_row(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss(logits.unsqueeze(0), y.unsqueeze(0))

    with torch.enable_grad(), watching_calls(layers) as calls:
        total = vmap(of_row)(model(x), y).sum()
        wanted = [*(call.answer for call in calls), *weights]
        found = torch.autograd.grad(total, wanted, materialize_grads=True) if wanted else ()
    return list(zip(calls, found, strict=False)), found[len(calls) :]


def _add(sums: Tensors, name: str, values: torch.Tensor) -> None:
    sums[name] = sums[name] + values if name in sums else values
