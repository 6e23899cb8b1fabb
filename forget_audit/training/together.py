"""Many same-shaped models trained at once, with the results of the one training loop."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from forget_audit.labels import label_loss
from forget_audit.targets import device_of
from forget_audit.training.loop import Index, Recipe, deal, descend, tensors
from forget_audit.types import Features, Labels


def batchable(model: nn.Module) -> bool:
    """Say whether many copies of `model` can be trained at once with the loop's results.

    Running statistics and dropout draw on state that a batch of models cannot share.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            return False
        if getattr(module, "track_running_stats", False):
            return False
    return True


def fit_together(
    models: Sequence[nn.Module],
    x: Features,
    y: Labels,
    subsets: Sequence[Index],
    recipe: Recipe,
    orders: Sequence[np.random.Generator],
) -> None:
    """Train same-shaped models in place, all in each step, each on its own rows and order.

    The losses are added up, so each model gets its own gradient, and the optimisers act on each
    weight alone: the result is that of `fit` up to rounding. Plain perceptrons run as batched
    matrix products, anything else through `torch.func`.

    Args:
        models: Freshly initialised, of one architecture that is `batchable`.
        x: Features of all rows.
        y: Labels of all rows.
        subsets: Positions of the rows of each model, the same number for each.
        recipe: How they are trained.
        orders: Generator of the row order of each model.
    """
    device = device_of(models[0])
    inputs, labels = tensors(x, y, device)
    for model in models:
        model.train()
    parameters, buffers = torch.func.stack_module_state(models)
    perceptron = _batched_perceptron(models[0], parameters)
    forward = perceptron or _vectorised(models[0], parameters, buffers)
    optimizer = recipe.make_optimizer(parameters.values())
    for rng in orders:
        rng.bit_generator.random_raw()  # the loop draws its dropout seed here

    def loss(index: Index) -> torch.Tensor:
        batch = torch.from_numpy(index).to(device)
        logits = forward(inputs[batch])
        each = label_loss(logits.flatten(0, 1), labels[batch].flatten(0, 1), "none")
        return each.view(index.shape).mean(dim=1).sum()

    for _ in range(recipe.epochs):
        deals = [
            [subset[part] for part in deal(len(subset), recipe.steps_per_epoch, rng)]
            for subset, rng in zip(subsets, orders, strict=True)
        ]
        descend(loss, (np.stack(parts) for parts in zip(*deals, strict=True)), optimizer)
    with torch.no_grad():
        for i, model in enumerate(models):
            for name, parameter in model.named_parameters():
                parameter.copy_(parameters[name][i])


def _batched_perceptron(
    model: nn.Module, parameters: dict[str, torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return the forward pass `(models, rows, ...) -> (models, rows, classes)`, if it applies."""
    kinds = (nn.Flatten, nn.Linear, nn.ReLU)
    if not isinstance(model, nn.Sequential) or not all(type(m) in kinds for m in model):
        return None

    def forward(x: torch.Tensor) -> torch.Tensor:
        hidden = x.flatten(2)
        for name, module in model.named_children():
            if isinstance(module, nn.Linear):
                weight = parameters[f"{name}.weight"].transpose(1, 2)
                bias = parameters.get(f"{name}.bias")
                hidden = (
                    torch.bmm(hidden, weight)
                    if bias is None
                    else torch.baddbmm(bias.unsqueeze(1), hidden, weight)
                )
            elif isinstance(module, nn.ReLU):
                hidden = hidden.relu()
        return hidden

    return forward


def _vectorised(
    skeleton: nn.Module, parameters: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the forward pass of any module by `torch.func`, with its buffers held fixed."""

    def one(weights: dict[str, torch.Tensor], fixed: dict[str, torch.Tensor], x: torch.Tensor):  # type: ignore[no-untyped-def]
        return torch.func.functional_call(skeleton, (weights, fixed), (x,))

    every = torch.func.vmap(one)
    return lambda x: every(parameters, buffers, x)
