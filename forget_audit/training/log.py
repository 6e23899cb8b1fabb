"""What was recorded while a model was trained: who was in which step, and what the step changed.

A log is about as sensitive as the rows themselves: it holds what each batch taught the model.
"""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import nn

from forget_audit.seeds import generator
from forget_audit.training.loop import Dealer, Index, fit
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Ids, Rows

Tensors = Mapping[str, torch.Tensor]


class Storage(Protocol):
    """How the update of a step is kept: as it is, or a part of it."""

    def pack(self, step: int, updates: Tensors) -> Tensors:
        """Return what is kept of the updates of a step, by any names.

        Args:
            step: Number of the step, from 0.
            updates: Weights after minus weights before, by parameter or buffer, in the order
                of the model.
        """
        ...

    def unpack(self, step: int, packed: Tensors, like: Tensors) -> Tensors:
        """Return the kept updates, zero where nothing was kept, with shapes as in `like`."""
        ...


@dataclass(frozen=True)
class Whole:
    """Keeps updates as they are."""

    def pack(self, step: int, updates: Tensors) -> Tensors:  # noqa: ARG002 a protocol's
        """Return the updates."""
        return updates

    def unpack(self, step: int, packed: Tensors, like: Tensors) -> Tensors:  # noqa: ARG002
        """Return the updates."""
        return packed


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One step of the optimiser.

    Args:
        number: From 0, over all epochs.
        epoch: From 0.
        ids: Of the rows of its batch.
        packed: What is stored of its update.
        lr: Learning rate.
    """

    number: int
    epoch: int
    ids: Ids
    packed: Tensors = field(repr=False)
    lr: float


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingLog:
    """The record of a training.

    Args:
        initial: Parameters and buffers before the first step.
        steps: The recorded steps in order: all, or those with a watched row.
        taken: Number of steps taken, recorded or not.
        watched: Ids whose steps are recorded; all rows if none.
        storage: How updates are stored.
    """

    initial: Tensors = field(repr=False)
    steps: tuple[Step, ...] = field(default=(), repr=False)
    taken: int = 0
    watched: frozenset[str] | None = None
    storage: Storage = field(default_factory=Whole)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored updates."""
        return sum(t.numel() * t.element_size() for s in self.steps for t in s.packed.values())

    def affected(self, ids: Collection[str]) -> list[Step]:
        """Return the steps whose batch held one of `ids`, in order.

        Raises:
            KeyError: If an id was not watched, so that its steps may be missing.
        """
        wanted = set(ids)
        if self.watched is not None and not wanted <= self.watched:
            missing = sorted(wanted - self.watched)
            raise KeyError(
                f"{len(missing)} ids were not watched while training (first: {missing[0]}); "
                "their steps were not recorded"
            )
        return [step for step in self.steps if not wanted.isdisjoint(step.ids.tolist())]

    def updates(self, step: Step) -> Tensors:
        """Return what is known of the update of a step, by parameter or buffer."""
        return self.storage.unpack(step.number, step.packed, self.initial)


def record(
    trainer: RecipeTrainer,
    rows: Rows,
    seed: int,
    *,
    watched: Collection[str] | None = None,
    storage: Storage | None = None,
    buffers: bool = False,
    dealer: Dealer | None = None,
) -> tuple[nn.Module, TrainingLog]:
    """Train a model as `trainer` would, and keep a log.

    Args:
        trainer: The recipe; without a `dealer` the model equals `trainer(rows.x, rows.y, seed)`.
        rows: To train on.
        seed: Of all randomness.
        watched: Ids whose steps are recorded; all if left out, none if empty.
        storage: How updates are stored; whole if left out.
        buffers: Whether changes of floating-point buffers, such as batch-norm statistics, are
            recorded too.
        dealer: Composes the batches of each pass; at random if left out.
    """
    model = trainer.fresh(seed)
    keep = storage or Whole()
    wanted = None if watched is None else frozenset(watched)
    initial = {name: t.detach().clone() for name, t in model.state_dict().items()}
    names = {name for name, _ in model.named_parameters()}
    if buffers:
        names |= {name for name, b in model.named_buffers() if b.is_floating_point()}
    before = {name: initial[name].clone() for name in initial if name in names}
    steps: list[Step] = []
    taken = 0
    per_epoch = min(trainer.recipe.steps_per_epoch, len(rows))

    def watch(batch: Index) -> None:
        nonlocal taken
        ids, state = rows.ids[batch], model.state_dict()
        if wanted is None or not wanted.isdisjoint(ids.tolist()):
            updates = {name: state[name].detach() - old for name, old in before.items()}
            packed = {name: t.clone() for name, t in keep.pack(taken, updates).items()}
            lr, epoch = trainer.recipe.lr, taken // per_epoch
            steps.append(Step(number=taken, epoch=epoch, ids=ids, packed=packed, lr=lr))
        for name, old in before.items():
            old.copy_(state[name])
        taken += 1

    order, precision = generator(seed, "order"), trainer.precision
    fit(model, rows.x, rows.y, trainer.recipe, order, watch, dealer, precision=precision)
    log = TrainingLog(
        initial=initial, steps=tuple(steps), taken=taken, watched=wanted, storage=keep
    )
    return model.eval(), log


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """A dealer that puts designated rows together, so that they touch few steps.

    Args:
        positions: Of the designated rows.
        share: Share of the steps of a pass that they are dealt into, at least one step.
    """

    positions: tuple[int, ...]
    share: float = 0.1

    def __call__(self, n: int, steps: int, rng: np.random.Generator) -> list[Index]:
        """Return the batches of a pass, the designated rows in the first of them, then shuffled."""
        steps = min(steps, n)
        first = max(1, round(self.share * steps))
        together = rng.permutation(np.asarray(self.positions, dtype=np.int64))
        others = rng.permutation(np.setdiff1d(np.arange(n), together))
        sizes = [len(part) for part in np.array_split(np.arange(n), steps)]
        room = sum(sizes[:first])
        if len(together) > room:
            raise ValueError(
                f"{len(together)} designated rows do not fit into {first} of {steps} steps of "
                f"{sizes[0]} rows; expected at most {room}"
            )
        head = rng.permutation(np.concatenate([together, others[: room - len(together)]]))
        order = np.concatenate([head, others[room - len(together) :]])
        batches = np.split(order, np.cumsum(sizes)[:-1])
        return [batches[k] for k in rng.permutation(steps)]


def initial_only(trainer: RecipeTrainer, seed: int) -> TrainingLog:
    """Return a log that holds nothing but the initial weights of the training with `seed`."""
    state = copy.deepcopy(trainer.fresh(seed).state_dict())
    return TrainingLog(initial=state, watched=frozenset())
