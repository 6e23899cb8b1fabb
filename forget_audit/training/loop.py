"""The one training loop, and its twin that trains many same-shaped models at once.

Methods bring a loss or an edit; the step itself (zero, backward, clip, step) stands here once.
Steps per epoch are fixed by the recipe and rows are dealt evenly, so that models trained with
and without the forget rows take the same number of steps and no batch is odd.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from forget_audit.labels import label_loss
from forget_audit.seeds import derive, seeded_torch
from forget_audit.streaming import as_stream
from forget_audit.targets import device_of
from forget_audit.types import Features, Labels, Rows

Index = npt.NDArray[np.int64]
Batch = TypeVar("Batch")
Precision = Literal["fp32", "bf16"]
Dealer = Callable[[int, int, np.random.Generator], Iterable[Index]]
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
                parameters,
                lr=self.lr,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                fused=True,
            )
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(parameters, lr=self.lr, weight_decay=self.weight_decay, fused=True)


class Loss(Protocol):
    """What a step goes down: a scalar tensor, or anything else that can fill in gradients."""

    def backward(self) -> object:
        """Put the gradients on the parameters."""
        ...


def fit(
    model: nn.Module,
    x: Features,
    y: Labels,
    recipe: Recipe,
    rng: np.random.Generator,
    watch: Callable[[Index], None] | None = None,
    dealer: Dealer | None = None,
    *,
    precision: Precision = "fp32",
    seeded: bool = True,
) -> None:
    """Train `model` in place, where it is, by the recipe with `label_loss`, in training mode.

    Args:
        model: Freshly initialised.
        x: Features; streamed ones are read batch by batch, anew in each pass.
        y: Labels.
        recipe: How.
        rng: Seeds dropout by its first draw, then deals the rows.
        watch: Called after each step with the positions of its rows.
        dealer: Composes the batches of a pass; `deal` if left out.
        precision: `bf16` computes products in bfloat16, and keeps weights and loss in float32.
        seeded: Whether torch's generator is seeded, for dropout. Threads share it: models that
            train side by side in threads must draw nothing from it.
    """
    device, stream = device_of(model), as_stream(x)
    inputs, labels = tensors(x if stream is None else x[:0], y, device)
    optimizer = recipe.make_optimizer(model.parameters())
    model.train()

    def loss(index: Index) -> torch.Tensor:
        batch = torch.from_numpy(index).to(device)
        rows = inputs[batch] if stream is None else torch.tensor(stream[index], device=device)
        with narrowed(device, precision):
            logits = model(rows)
        return label_loss(logits.float() if precision == "bf16" else logits, labels[batch])

    drawn = derive(int(rng.bit_generator.random_raw()), "dropout")
    with seeded_torch(drawn) if seeded else nullcontext():
        for _ in range(recipe.epochs):
            batches = (dealer or deal)(len(x), recipe.steps_per_epoch, rng)
            descend(loss, batches, optimizer, after=watch)
    optimizer.zero_grad(set_to_none=True)  # as large as the model, and the models stay in memory


def descend(
    loss: Callable[[Batch], Loss],
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    clip_norm: float | None = None,
    after: Callable[[Batch], None] | None = None,
) -> int:
    """Take one optimiser step a batch and return the number of steps.

    Args:
        loss: Scalar loss of the rows at the given positions.
        batches: Positions of the rows of each step.
        optimizer: Steps over the parameters that the loss depends on.
        clip_norm: Largest norm of the gradient over all parameters; unlimited if left out.
        after: Called after each step with the positions of its rows.
    """
    steps = 0
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        loss(batch).backward()
        if clip_norm is not None:
            owned = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(owned, clip_norm)
        optimizer.step()
        steps += 1
        if after is not None:
            after(batch)
    return steps


def deal(n: int, steps: int, rng: np.random.Generator) -> Iterator[Index]:
    """Yield a random partition of `range(n)` into `steps` parts whose sizes differ by at most one.

    Fewer rows than steps give one row a step.
    """
    yield from np.array_split(rng.permutation(n), min(steps, n))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run the body with torch on `count` threads.

    Part of the setting belongs to the thread and part to the process. So threads that train side
    by side only ever set it, and the one that started them puts it back, by this.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def fitting_threads(model: nn.Module) -> Iterator[None]:
    """Run the body on one thread if `model` is small: waiting for others would cost more."""
    with torch_threads(1 if is_small(model) else torch.get_num_threads()):
        yield


def is_small(model: nn.Module) -> bool:
    """Say whether one thread trains `model` about as fast as many."""
    return sum(p.numel() for p in model.parameters()) < SMALL_MODEL


def narrowed(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Return a context in which products are computed in the given precision."""
    narrow: AbstractContextManager[None] = torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision == "bf16"
    )
    return narrow


def tensors(x: Features, y: Labels, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and labels as tensors on `device`; the arrays are copied."""
    return torch.tensor(np.asarray(x), device=device), torch.tensor(y, device=device)


def rows_tensors(rows: Rows, model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and labels of `rows` as tensors on the device of `model`."""
    return tensors(rows.x, rows.y, device_of(model))
