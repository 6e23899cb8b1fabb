"""The one training loop, and its twin that trains many same-shaped models at once.

Methods bring a loss or an edit; the step itself (zero, backward, clip, step) stands here once.
Steps per epoch are fixed by the recipe and rows are dealt evenly, so that models trained with
and without the forget rows take the same number of steps and no batch is odd.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from forget_audit.architectures import Architecture
from forget_audit.seeds import derive, generator, seeded_torch
from forget_audit.targets import device_of
from forget_audit.types import Features, Labels, Rows

log = logging.getLogger(__name__)

Index = npt.NDArray[np.int64]
Progress = Callable[[int], None]
BATCH_OF_MODELS = 32
SMALL_MODEL = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How models of this case are trained.

    Args:
        epochs: Passes over the rows.
        steps_per_epoch: Optimiser steps in a pass, the same for any number of rows.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
    """

    epochs: int = 150
    steps_per_epoch: int = 6
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 3e-3
    momentum: float = 0.0
    weight_decay: float = 0.0

    def make_optimizer(self, parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        """Return the optimiser of the recipe over `parameters`."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(
                parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
            )
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(parameters, lr=self.lr, weight_decay=self.weight_decay, fused=True)


@dataclass(frozen=True, kw_only=True)
class RecipeTrainer:
    """A `Trainer` made of an architecture and a recipe.

    Args:
        architecture: What is built.
        recipe: How it is trained.
    """

    architecture: Architecture
    recipe: Recipe

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return a model trained from scratch, in evaluation mode."""
        model = self.fresh(seed)
        fit(model, x, y, self.recipe, generator(seed, "order"))
        return model.eval()

    def fresh(self, seed: int) -> nn.Module:
        """Return the untrained model from which training with `seed` starts."""
        with seeded_torch(derive(seed, "init")):
            return self.architecture.build()

    def many(
        self,
        x: Features,
        y: Labels,
        subsets: Sequence[Index],
        seeds: Sequence[int],
        progress: Progress = lambda _: None,
    ) -> list[nn.Module]:
        """Return one model a subset, equal to calling the trainer on each, but faster.

        Args:
            x: Features of all rows.
            y: Labels of all rows.
            subsets: Positions of the rows of each model.
            seeds: Seed of each model.
            progress: Called with the number of models finished since the last call.
        """
        models: list[nn.Module | None] = [None] * len(subsets)
        for chunk in _chunks([len(subset) for subset in subsets]):
            group = [self.fresh(seeds[i]) for i in chunk]
            orders = [generator(seeds[i], "order") for i in chunk]
            rows = [subsets[i] for i in chunk]
            if batchable(group[0]):
                with fitting_threads(group[0]):
                    fit_together(group, x, y, rows, self.recipe, orders)
                progress(len(chunk))
            else:
                for model, subset, rng in zip(group, rows, orders, strict=True):
                    fit(model, x[subset], y[subset], self.recipe, rng)
                    progress(1)
            for i, model in zip(chunk, group, strict=True):
                models[i] = model.eval()
        return [model for model in models if model is not None]


def fit(model: nn.Module, x: Features, y: Labels, recipe: Recipe, rng: np.random.Generator) -> None:
    """Train `model` in place by the recipe with cross-entropy, in training mode."""
    inputs, labels = tensors(x, y, device_of(model))
    optimizer = recipe.make_optimizer(model.parameters())
    model.train()

    def loss(index: Index) -> torch.Tensor:
        batch = torch.from_numpy(index).to(inputs.device)
        return functional.cross_entropy(model(inputs[batch]), labels[batch])

    with seeded_torch(derive(int(rng.bit_generator.random_raw()), "dropout")):
        for _ in range(recipe.epochs):
            descend(loss, deal(len(x), recipe.steps_per_epoch, rng), optimizer)


def descend(
    loss: Callable[[Index], torch.Tensor],
    batches: Iterable[Index],
    optimizer: torch.optim.Optimizer,
    *,
    clip_norm: float | None = None,
) -> int:
    """Take one optimiser step a batch and return the number of steps.

    Args:
        loss: Scalar loss of the rows at the given positions.
        batches: Positions of the rows of each step.
        optimizer: Steps over the parameters that the loss depends on.
        clip_norm: Largest norm of the gradient over all parameters; unlimited if left out.
    """
    steps = 0
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        loss(batch).backward()  # type: ignore[no-untyped-call]
        if clip_norm is not None:
            owned = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(owned, clip_norm)
        optimizer.step()
        steps += 1
    return steps


def deal(n: int, steps: int, rng: np.random.Generator) -> Iterator[Index]:
    """Yield a random partition of `range(n)` into `steps` parts whose sizes differ by at most one.

    Fewer rows than steps give one row a step.
    """
    yield from np.array_split(rng.permutation(n), min(steps, n))


@contextmanager
def fitting_threads(model: nn.Module) -> Iterator[None]:
    """Run the body on one thread if `model` is small: waiting for others would cost more."""
    before = torch.get_num_threads()
    if sum(p.numel() for p in model.parameters()) < SMALL_MODEL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tensors(x: Features, y: Labels, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and labels as tensors on `device`; the arrays are copied."""
    return torch.tensor(x, device=device), torch.tensor(y, device=device)


def rows_tensors(rows: Rows, model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and labels of `rows` as tensors on the device of `model`."""
    return tensors(rows.x, rows.y, device_of(model))


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
    stacked = {
        name: torch.stack([dict(model.named_parameters())[name].detach() for model in models])
        for name, _ in models[0].named_parameters()
    }
    parameters = {name: tensor.requires_grad_() for name, tensor in stacked.items()}
    forward = _batched_perceptron(models[0], parameters) or _vectorised(models, parameters)
    optimizer = recipe.make_optimizer(parameters.values())
    for rng in orders:
        rng.bit_generator.random_raw()  # the loop draws its dropout seed here

    def loss(index: Index) -> torch.Tensor:
        batch = torch.from_numpy(index).to(device)
        logits = forward(inputs[batch])
        each = functional.cross_entropy(
            logits.flatten(0, 1), labels[batch].flatten(), reduction="none"
        )
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
    models: Sequence[nn.Module], parameters: dict[str, torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the forward pass of any module by `torch.func`, with its buffers held fixed."""
    skeleton = models[0]
    skeleton.train()
    buffers = {
        name: torch.stack([dict(model.named_buffers())[name] for model in models])
        for name, _ in skeleton.named_buffers()
    }

    def one(weights: dict[str, torch.Tensor], fixed: dict[str, torch.Tensor], x: torch.Tensor):  # type: ignore[no-untyped-def]
        return torch.func.functional_call(skeleton, (weights, fixed), (x,))

    every = torch.func.vmap(one)
    return lambda x: every(parameters, buffers, x)


def _chunks(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield positions of models with equally many rows, at most `BATCH_OF_MODELS` at a time."""
    for size in sorted(set(sizes)):
        same = [i for i, n in enumerate(sizes) if n == size]
        for start in range(0, len(same), BATCH_OF_MODELS):
            yield same[start : start + BATCH_OF_MODELS]
