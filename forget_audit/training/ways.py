"""In which way many models of an architecture are trained, by the time that a few steps take.

* Perceptrons always take the written-out form, whose numbers do not depend on the size of the
  batch. Measured is the size alone.
* Everything else takes the loop, or batches by `torch.func` if these are faster by `MARGIN`.
  `torch.func` computes the convolutions of all models in one go, and how it rounds depends on
  their number. On a processor its batches therefore all have the measured size: the last one is
  filled up with copies. A group too small for that to pay takes the loop as a whole.
* A batch that fails, that learns otherwise than a model alone, or in which equal models do not stay
  equal, is not taken. Neither is one of models that draw random numbers, such as by dropout.

Times are those of one thread.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from forget_audit.errors import ForgetAuditError
from forget_audit.faults import gpu_lost
from forget_audit.labels import label_loss
from forget_audit.training.loop import Loss, Precision, Recipe, narrowed, torch_threads
from forget_audit.training.memory import fitting_models, training_bytes
from forget_audit.training.perceptrons import is_perceptron
from forget_audit.training.stacks import Stack
from forget_audit.training.together import batchable, learner_of

log = logging.getLogger(__name__)

MARGIN = 0.8
WORTH_IT = 0.75  # share of the time of the first size that another size may take
STEPS = 3
LONG = 0.005  # seconds of a step from which threads do not wait for Python
FIRST = 2.0  # seconds that the first batch may take longer, for libraries are loaded
OTHERWISE = {"fp32": 0.01, "bf16": 0.2}  # relative distance of gradients
CANNOT = (
    RuntimeError, ValueError, TypeError, NotImplementedError, MemoryError, ForgetAuditError,
)  # fmt: skip

How = Literal["loop", "written out", "torch.func"]


@dataclass(frozen=True, kw_only=True)
class Way:
    """How models of one architecture are trained.

    Args:
        how: One by one in the loop, or in batches: perceptrons with gradients written out,
            others by `torch.func`.
        models: In a batch.
        side_by_side: Whether single models may be trained in threads: they draw nothing from
            torch's generator, which threads share, and their steps are long.
        bytes_each: Memory that a model takes in training; 0 if not known.
        share: Time of a model in a full batch, as a share of its time alone; 0 if not known.
    """

    how: How = "loop"
    models: int = 1
    side_by_side: bool = False
    bytes_each: int = 0
    share: float = 0.0

    def pays(self, count: int) -> bool:
        """Say whether batches, the last one filled up, are faster than `count` single models."""
        return -(-count // self.models) * self.models * self.share <= count

    def alone(self) -> Way:
        """Return the way of models that are trained one by one."""
        return dataclasses.replace(self, how="loop", models=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What the way depends on.

    Args:
        build: Makes an untrained model; only its shape and speed matter.
        rows: Of one step, on the processor.
        recipe: How models are trained.
        device: Where.
        precision: Of products.
    """

    build: Callable[[], nn.Module]
    rows: torch.Tensor
    recipe: Recipe
    device: torch.device
    precision: Precision

    def written_out(self, model: nn.Module) -> bool:
        """Say whether `model` is trained in batches with gradients written out."""
        return self.precision == "fp32" and is_perceptron(model)


def measure(question: Question) -> Way:
    """Return the fastest way, after a few steps in each that fits into memory."""
    model = question.build().train()
    draws = draws_randomly(model, question.rows)
    if draws is None:
        return Way()
    each = training_bytes(model, question.rows, question.recipe)
    model.to(question.device)
    processor = question.device.type == "cpu"
    with torch_threads(1):
        alone = _Trial(question, [model], "loop")
        slowest = alone.seconds()
        threads = processor and not draws and slowest >= LONG
        way, best = Way(side_by_side=threads, bytes_each=each), slowest
        if draws or not batchable(model):
            return way
        how: How = "written out" if question.written_out(model) else "torch.func"
        needed = MARGIN if how == "torch.func" else float("inf")
        for count in _sizes(how, processor=processor):
            if count > fitting_models(each, question.device):
                continue
            trial = _Trial(question, [model] * count, how)
            took = trial.seconds(limit=3 * count * slowest + FIRST) / count
            sound = _alike(trial.taught, alone.taught, question.precision)
            if took < needed * best and sound and (trial.even() or not processor):
                share = took / slowest
                way, best = dataclasses.replace(way, how=how, models=count, share=share), took
                needed = WORTH_IT
    log.info("a step of one model takes %.5f s, in batches %.5f s: %s", slowest, best, way)
    return way


def _sizes(how: How, *, processor: bool) -> tuple[int, ...]:
    if how == "written out":
        return (32, 8, 1)
    return (8,) if processor else (8, 32)


def draws_randomly(model: nn.Module, rows: torch.Tensor) -> bool | None:
    """Say whether training draws from torch's generator; nothing if the model cannot answer.

    Args:
        model: In training mode, on the processor.
        rows: Of one step.
    """
    with torch.random.fork_rng(devices=[]):
        before = torch.random.get_rng_state()
        try:
            with torch.no_grad():
                model(rows)
        except CANNOT:  # training will say what is wrong
            return None
        return not torch.equal(before, torch.random.get_rng_state())


def _alike(
    found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], precision: Precision
) -> bool:
    """Say whether a model learnt in a batch what it learns alone."""
    return len(found) == len(expected) and all(
        float((a - b).norm()) <= OTHERWISE[precision] * float(b.norm()) + 1e-6
        for a, b in zip(found, expected, strict=True)
    )


class _Trial:
    """A few steps in one way; `taught` is what the first step taught the first model."""

    def __init__(self, question: Question, models: Sequence[nn.Module], how: How) -> None:
        self.taught: list[torch.Tensor] = []
        self._device, rows = question.device, question.rows.to(question.device)
        y = torch.zeros(len(rows), dtype=torch.int64, device=question.device)
        copies = [copy.deepcopy(model) for model in models]
        first, count = copies[0], len(copies)
        self._step: Callable[[], Loss]
        self._gradients: Callable[[], list[torch.Tensor]]
        self._stood: list[torch.Tensor] = []
        if how == "loop":

            def alone() -> Loss:
                with narrowed(question.device, question.precision):
                    logits: torch.Tensor = first(rows)
                return label_loss(logits.float(), y)

            self._step, self._stacked = alone, False
            learning = [p for p in first.parameters() if p.requires_grad]
            self._gradients = lambda: [
                torch.zeros_like(p) if p.grad is None else p.grad for p in learning
            ]
            self._state = list(first.buffers())
            self._optimizer = question.recipe.make_optimizer(learning)
        else:
            stack, written = Stack(copies), how == "written out"
            learner = learner_of(first, stack, question.precision, written_out=written)
            stacked = rows.expand(count, *rows.shape).contiguous()
            labels = y.expand(count, -1).contiguous()
            self._step, self._stacked = lambda: learner(stacked, labels), True
            self._gradients = lambda: list(stack.gradients.values())
            self._state = list(stack.buffers.values())
            self._stood = [*stack.weights.values(), *self._state]
            self._optimizer = question.recipe.make_optimizer([stack.flat])

    def seconds(self, limit: float = float("inf")) -> float:
        """Return the time of a step, endless if it fails or the first one exceeds `limit`."""
        try:
            if self._take(first=True) > limit:
                return float("inf")
            return min(self._take() for _ in range(STEPS))
        except CANNOT as error:
            if gpu_lost(error):
                raise
            log.info("models cannot be trained in batches: %s", error)
            return float("inf")

    def even(self) -> bool:
        """Say whether all models, which began alike, are still equal wherever they stand."""
        return all(torch.equal(t, t[:1].expand_as(t)) for t in self._stood)

    def _take(self, *, first: bool = False) -> float:
        start = self._now()
        self._optimizer.zero_grad(set_to_none=True)
        self._step().backward()
        if first:
            learnt = [*self._gradients(), *(b for b in self._state if b.is_floating_point())]
            self.taught = [(t[0] if self._stacked else t).detach().clone() for t in learnt]
        self._optimizer.step()
        return self._now() - start

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return time.perf_counter()
        return time.thread_time()
