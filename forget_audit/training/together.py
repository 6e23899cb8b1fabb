"""Many same-shaped models trained at once, with the results of the one training loop."""

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from forget_audit.labels import label_loss
from forget_audit.targets import device_of
from forget_audit.training.loop import Index, Loss, Precision, Recipe, deal, descend, narrowed
from forget_audit.training.perceptrons import Perceptrons, is_perceptron
from forget_audit.training.stacks import Stack

Learner = Callable[[torch.Tensor, torch.Tensor], Loss]


def batchable(model: nn.Module) -> bool:
    """Say whether many copies of `model` can be trained at once with the loop's results.

    Dropout draws from one generator, so that models would share its masks; a running mean over
    all batches needs their number, which `torch.func` cannot look up; and weights of one stack
    have one type.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            return False
        if getattr(module, "track_running_stats", False) and getattr(module, "momentum", 0) is None:
            return False
    return len({p.dtype for p in model.parameters() if p.requires_grad}) == 1


def fit_together(
    models: Sequence[nn.Module],
    inputs: torch.Tensor,
    labels: torch.Tensor,
    subsets: Sequence[Index],
    recipe: Recipe,
    orders: Sequence[np.random.Generator],
    precision: Precision = "fp32",
    *,
    written_out: bool = True,
) -> None:
    """Train same-shaped models in place, all in each step, each on its own rows and order.

    The losses are added up, so each model gets its own gradient, and the optimisers act on each
    weight alone: the result is that of `fit` up to rounding. Running statistics of batch
    normalisation are stacked like the weights.

    Args:
        models: Freshly initialised, of one architecture that is `batchable`, on one device.
        inputs: Features of all rows, on that device.
        labels: Labels of all rows, there too.
        subsets: Positions of the rows of each model, the same number for each.
        recipe: How they are trained.
        orders: Generator of the row order of each model.
        precision: As for `fit`.
        written_out: Whether perceptrons take the written-out gradients, and not `torch.func`.
    """
    for model in models:
        model.train()
    stack = Stack(models)
    learner = learner_of(models[0], stack, precision, written_out=written_out)
    optimizer = recipe.make_optimizer([stack.flat])
    for rng in orders:
        rng.bit_generator.random_raw()  # the loop draws its dropout seed here

    def loss(index: torch.Tensor) -> Loss:
        flat = index.reshape(-1)
        return learner(
            inputs.index_select(0, flat).view(*index.shape, *inputs.shape[1:]),
            labels.index_select(0, flat).view(*index.shape, *labels.shape[1:]),
        )

    for _ in range(recipe.epochs):
        batches = _deal_together(subsets, recipe.steps_per_epoch, orders, device_of(models[0]))
        descend(loss, batches, optimizer)
    stack.write_back(models)


def learner_of(
    model: nn.Module,
    stack: Stack,
    precision: Precision,
    *,
    written_out: bool,
) -> Learner:
    """Return what gives the loss of a batch `(models, rows, ...)` with its labels.

    Args:
        model: One of the models, in training mode.
        stack: All of them; batch normalisation changes its buffers in place.
        precision: As for `fit`.
        written_out: Whether perceptrons take the written-out gradients, and not `torch.func`.
    """
    if (
        written_out
        and precision == "fp32"
        and isinstance(model, nn.Sequential)
        and is_perceptron(model)
    ):
        return Perceptrons(model, stack).answer

    skeleton = copy.deepcopy(model)
    for module in skeleton.modules():
        if type(module) is nn.BatchNorm1d:
            module.__class__ = _EvenNorm

    def one(
        weights: dict[str, torch.Tensor], state: dict[str, torch.Tensor], x: torch.Tensor
    ) -> torch.Tensor:
        logits: torch.Tensor = torch.func.functional_call(skeleton, (weights, state), (x,))
        return logits

    every = torch.func.vmap(one)
    learning = [stack.weights[name].detach().requires_grad_() for name in stack.gradients]
    weights = stack.weights | dict(zip(stack.gradients, learning, strict=True))

    def loss(x: torch.Tensor, y: torch.Tensor) -> Loss:
        with narrowed(x.device, precision):
            logits = every(weights, stack.buffers, x).float()
        each = label_loss(logits.flatten(0, 1), y.flatten(0, 1), "none")
        return _Total(each.view(y.shape[:2]).mean(dim=1).sum(), learning, stack)

    return loss


class _EvenNorm(nn.BatchNorm1d):
    """Batch normalisation of rows of numbers, written out.

    Torch's own lays the columns of all models side by side, and rounds them by where they stand.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rows normalised by their own moments; running statistics follow these."""
        if x.ndim != 2 or len(x) < 2:
            return super().forward(x)
        mean = x.mean(dim=0)
        centred = x - mean
        variance = centred.square().mean(dim=0)
        if self.running_mean is not None and self.running_var is not None:
            share, n = self.momentum or 0.0, len(x)
            with torch.no_grad():
                self.running_mean.mul_(1 - share).add_(share * mean)
                self.running_var.mul_(1 - share).add_(share * n / (n - 1) * variance)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        normed = centred * (variance + self.eps).rsqrt()
        return normed * self.weight + self.bias if self.affine else normed


class _Total:
    """The sum of the losses of all models."""

    def __init__(self, total: torch.Tensor, learning: Sequence[torch.Tensor], stack: Stack) -> None:
        self._total, self._learning, self._stack = total, learning, stack

    def backward(self) -> None:
        """Hand the gradients to the optimiser."""
        self._stack.learn(torch.autograd.grad(self._total, self._learning, allow_unused=True))


def _deal_together(
    subsets: Sequence[Index],
    steps: int,
    orders: Sequence[np.random.Generator],
    device: torch.device,
) -> Iterator[torch.Tensor]:
    """Yield the positions of the rows of each step of a pass `(models, rows)`."""
    deals = [
        list(deal(len(subset), steps, rng)) for subset, rng in zip(subsets, orders, strict=True)
    ]
    table = np.stack(
        [subset[np.concatenate(parts)] for subset, parts in zip(subsets, deals, strict=True)]
    )
    sizes = [len(part) for part in deals[0]]
    yield from torch.split(torch.from_numpy(table).to(device), sizes, dim=1)
