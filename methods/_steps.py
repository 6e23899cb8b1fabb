"""What stepping methods share: a private copy, layer modes, counted steps, the report."""

import copy
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.hooks import RemovableHandle

from forget_audit.contracts import Unlearned, UnlearnReport
from forget_audit.errors import ModelError
from forget_audit.methods._settings import Presets, number, one_of, whole
from forget_audit.seeds import derive, draw_seed, seeded_torch
from forget_audit.training.loop import Index, Recipe, deal, descend, rows_tensors
from forget_audit.types import Case

Norms = Literal["train", "eval", "frozen"]
Optimizer = Literal["adam", "adamw", "sgd"]


@dataclass(frozen=True, kw_only=True)
class Stepping(Presets):
    """The fields of every method that takes optimiser steps.

    Args:
        epochs: Passes over the rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
    """

    epochs: int = 10
    batch_size: int = 64
    least_steps: int = 6
    optimizer: Optimizer = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        whole("epochs", self.epochs, at_least=0)
        whole("batch_size", self.batch_size, at_least=1)
        whole("least_steps", self.least_steps, at_least=1)
        one_of("optimizer", self.optimizer, get_args(Optimizer))
        number("lr", self.lr, above=0)
        number("momentum", self.momentum, at_least=0, below=1)
        number("weight_decay", self.weight_decay, at_least=0)

    def batches(
        self, n: int, rng: np.random.Generator, batch_size: int | None = None
    ) -> Iterator[Index]:
        """Yield a pass over `range(n)` in random order, in batches of (nearly) equal size."""
        return deal(n, n_steps(n, batch_size or self.batch_size, self.least_steps), rng)

    def make_optimizer(self, course: "Course") -> torch.optim.Optimizer:
        """Return a fresh optimiser over what `course` may change."""
        recipe = Recipe(
            optimizer=self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        return recipe.make_optimizer(course.parameters)


class Course:
    """A private copy of a model while it is changed, and the count of what was done to it.

    Only parameters that require a gradient are changed, so that layers the user froze stay bit
    for bit. Each pass runs with its own seed for dropout; global generators are left alone.

    Args:
        model: Copied at once and never touched.
        rng: Seeds dropout; one draw.
        norms: Modes of the batch-norm layers that will be used; if one of them is `frozen`,
            their scale and shift are left out of the parameters.
        only: Names of the parameters that may change; all if left out. Batch-norm layers with
            none of them keep their statistics too.

    Raises:
        ModelError: If nothing is left to change.
    """

    def __init__(
        self,
        model: nn.Module,
        rng: np.random.Generator,
        norms: Sequence[Norms] = (),
        *,
        only: Collection[str] | None = None,
    ) -> None:
        self._started = time.perf_counter()
        self._seed = draw_seed(rng)
        self._passes = 0
        self._given = model
        self.model = copy.deepcopy(model)
        self._only = only
        self._held: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._hooks: list[RemovableHandle] = []
        self._norms = " then ".join(dict.fromkeys(norms))
        self.steps = 0
        self.rows_touched = 0
        fixed = {id(p) for layer in _norm_layers(self.model) for p in layer.parameters()}
        self.parameters = [
            p
            for name, p in self.model.named_parameters()
            if p.requires_grad
            and (only is None or name in only)
            and not ("frozen" in norms and id(p) in fixed)
        ]
        if not self.parameters:
            raise ModelError(
                "expected parameters that require a gradient, found none; "
                "call model.requires_grad_(True) on the layers that may change"
            )

    def run(
        self,
        loss: Callable[[Index], torch.Tensor],
        batches: Iterable[Index],
        optimizer: torch.optim.Optimizer,
        *,
        norms: Norms,
        clip_norm: float | None = None,
        after: Callable[[Index], None] | None = None,
    ) -> None:
        """Take one step a batch in training mode, with batch-norm layers as `norms` says.

        Args:
            loss: Scalar loss of the rows at the given positions.
            batches: Positions of the rows of each step.
            optimizer: Over `parameters`.
            norms: Mode of the batch-norm layers.
            clip_norm: Largest norm of the gradient; unlimited if left out.
            after: Called after each step, once held entries are back in place.
        """
        self._passes += 1

        def settle(batch: Index) -> None:
            self._put_back()
            if after is not None:
                after(batch)

        with training(self.model, norms), seeded_torch(derive(self._seed, self._passes)):
            for layer in _norm_layers(self.model):
                if not self._may_move(layer):
                    layer.eval()
            self.steps += descend(
                loss, self._counted(batches), optimizer, clip_norm=clip_norm, after=settle
            )

    def hold(self, free: Mapping[str, torch.Tensor]) -> None:
        """Let steps change only the entries of parameters where `free` is true.

        The others get no gradient, and are put back after each step, so that neither momentum
        nor weight decay moves them. A new call replaces the last one.

        Args:
            free: Masks by parameter name, shaped like the parameters; parameters without a mask
                are free.
        """
        self._release()
        weights = dict(self.model.named_parameters())
        for name, mask in free.items():
            kept = weights[name].detach().clone()
            self._held[name] = (mask, kept)
            factor = mask.to(kept.dtype)
            self._hooks.append(weights[name].register_hook(factor.mul))  # type: ignore[no-untyped-call]

    def _put_back(self) -> None:
        with torch.no_grad():
            weights = dict(self.model.named_parameters())
            for name, (mask, kept) in self._held.items():
                weights[name].copy_(torch.where(mask, weights[name], kept))

    def _release(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._held.clear()

    def _may_move(self, layer: nn.Module) -> bool:
        if self._only is None:
            return True
        prefix = next(name for name, module in self.model.named_modules() if module is layer)
        own = [f"{prefix}.{name}" if prefix else name for name, _ in layer.named_parameters()]
        return any(name in self._only for name in own)

    def finish(self, stop_reason: str, *notes: str) -> Unlearned:
        """Return the copy in evaluation mode, without gradients, and the report.

        Raises:
            ModelError: If a weight is not finite.
        """
        self._release()
        self.model.eval()
        self.model.zero_grad(set_to_none=True)
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise ModelError(
                    f"expected finite weights, found {name} not finite after {self.steps} steps; "
                    "lower lr or epochs"
                )
        if self._norms and any(_norm_layers(self.model)):
            notes = (*notes, f"batch norm: {self._norms}")
        report = UnlearnReport(
            steps=self.steps,
            rows_touched=self.rows_touched,
            seconds=time.perf_counter() - self._started,
            stop_reason=stop_reason,
            notes=notes,
            changed=changed(self._given, self.model),
        )
        return Unlearned(model=self.model, report=report)

    def _counted(self, batches: Iterable[Index]) -> Iterator[Index]:
        for batch in batches:
            self.rows_touched += len(batch)
            yield batch


def changed(before: nn.Module, after: nn.Module) -> dict[str, float]:
    """Return the share of entries that differ, by parameter and buffer."""
    old = before.state_dict()
    return {
        name: float((tensor != old[name].to(tensor.device)).double().mean())
        for name, tensor in after.state_dict().items()
        if name in old and tensor.shape == old[name].shape and tensor.numel()
    }


def n_steps(n: int, batch_size: int, least: int) -> int:
    """Return the steps of a pass over `n` rows: at least `least`, with `batch_size` rows at most.

    A request of a few rows thus gets as many steps as one of some hundred, but `least` never
    leads to steps of one row, on which batch norm cannot be trained.
    """
    return max(math.ceil(n / batch_size), min(least, n // 2))


def forget_then_retain(case: Case, model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and labels of the forget rows and then the retained ones, as tensors.

    In an attribute request these are the same rows twice, with different labels.
    """
    pairs = [rows_tensors(rows, model) for rows in (case.forget, case.retain)]
    x, y = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return x, y


@contextmanager
def training(model: nn.Module, norms: Norms) -> Iterator[None]:
    """Put `model` into training mode for the body, batch norm as `norms` says; then evaluation.

    `train` normalises by the batch and moves the running statistics, `eval` and `frozen` use
    them as they are.
    """
    model.train()
    if norms != "train":
        for layer in _norm_layers(model):
            layer.eval()
    try:
        yield
    finally:
        model.eval()


def _norm_layers(model: nn.Module) -> Iterator[nn.Module]:
    return (layer for layer in model.modules() if isinstance(layer, _NormBase))
