"""Training in shards and slices: an ensemble that can be taken back to before any row."""

import copy
import dataclasses
import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from forget_audit.errors import NotApplicable
from forget_audit.methods._teaching import log_answers
from forget_audit.seeds import derive, generator
from forget_audit.training.loop import Index, fit
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Features, Labels

Partition = Literal["iid", "by_class"]
Aggregation = Literal["mean", "vote"]
Weighting = Literal["uniform", "size"]

# A shard of fewer rows is not trained and has no say; batch norm needs two rows in a step.
FEWEST = 2


@dataclass(frozen=True, kw_only=True)
class ShardedTrainer:
    """A recipe that trains one model a shard, slice by slice; see `Sisa` for its fields.

    Args:
        base: Architecture and recipe of each model.
        shards: Number of models.
        slices: Number of parts of a shard.
        partition: How rows come to shards.
        aggregation: How models answer together.
        weighting: How much each of them counts.
    """

    base: RecipeTrainer
    shards: int
    slices: int
    partition: Partition
    aggregation: Aggregation
    weighting: Weighting

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return an ensemble trained from scratch, in evaluation mode."""
        ensemble = self.fresh(seed)
        ensemble.learn(x, y)
        return ensemble

    def fresh(self, seed: int) -> "Ensemble":
        """Return the untrained ensemble from which training with `seed` starts."""
        return Ensemble(self, seed)

    def epochs(self, slice_: int) -> int:
        """Return the epochs that follow the arrival of a slice, from 0.

        Each slice has nearly the same; all of them together pass over as many rows as the epochs
        of the recipe would.
        """
        each = 2 * self.base.recipe.epochs / (self.slices + 1)
        return round(each * (slice_ + 1)) - round(each * slice_)

    def place(self, keys: list[bytes], y: Labels) -> tuple[Index, Index]:
        """Return shard and slice of each row, from its key alone or, by class, its label."""
        words = np.array([np.frombuffer(key, dtype=">u8", count=2) for key in keys])
        words = words.reshape(-1, 2)
        slices = (words[:, 1] % self.slices).astype(np.int64)
        if self.partition == "by_class":
            if y.ndim > 1:
                raise NotApplicable(
                    "sisa with partition by_class expected one class a row, found a matrix of "
                    "labels; choose partition iid"
                )
            return y % self.shards, slices
        return (words[:, 0] % self.shards).astype(np.int64), slices


class Ensemble(nn.Module):
    """Models of shards that answer together, with what is needed to unlearn.

    All of its state is in its state dict: models, their checkpoints after each slice but the
    last, a mark of what each checkpoint has seen, and the seed.

    Args:
        trainer: The recipe.
        seed: Of all randomness.
    """

    seed: torch.Tensor
    marks: torch.Tensor
    sizes: torch.Tensor
    several: torch.Tensor

    def __init__(self, trainer: ShardedTrainer, seed: int) -> None:
        super().__init__()
        shards, slices = trainer.shards, trainer.slices
        self.trainer = trainer
        self.register_buffer("seed", torch.tensor(seed))
        self.models = nn.ModuleList([self._fresh(s) for s in range(shards)])
        self.checkpoints = nn.ModuleList(
            nn.ModuleList([copy.deepcopy(m).requires_grad_(False) for _ in range(slices - 1)])
            for m in self.models
        )
        self.register_buffer("marks", torch.zeros(shards, slices, 32, dtype=torch.uint8))
        self.register_buffer("sizes", torch.zeros(shards, dtype=torch.int64))
        self.register_buffer("several", torch.tensor(data=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits `(n, outputs)`: logarithms of the joint probabilities, or log-odds."""
        able, several = self.able(), bool(self.several)
        logs = torch.stack([log_answers(self.models[s](x), several) for s in able])
        shares = self.sizes[able] if self.trainer.weighting == "size" else torch.ones(len(able))
        weights = (shares / shares.sum()).to(logs).view(-1, *[1] * (logs.ndim - 1))
        if self.trainer.aggregation == "mean":
            joint = torch.logsumexp(logs + weights.log(), dim=0)
        else:
            # Votes have no gradient; that of the probabilities stands in for it.
            soft = logs.exp()
            hard = functional.one_hot(logs.argmax(-1), logs.shape[-1]).to(logs)
            votes = len(able) * (weights * (hard + (soft - soft.detach()))).sum(0)
            joint = ((votes + 1) / (len(able) + logs.shape[-1])).log()
        return joint[..., 1] - joint[..., 0] if several else joint

    def able(self) -> list[int]:
        """Return the shards that have rows enough to be asked."""
        return [s for s, size in enumerate(self.sizes.tolist()) if size >= FEWEST]

    def learn(self, x: Features, y: Labels) -> list[tuple[int, int, int, int]]:
        """Make this the ensemble of the given rows and say what had to be trained.

        A shard is taken back to the checkpoint before the first slice whose rows are not those
        it has seen, and trained on from there. What was trained on other rows is overwritten.

        Returns:
            Shard, slice, steps and rows passed over, for each slice that was trained again.
        """
        x, y = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.int64)
        seed, trainer = int(self.seed), self.trainer
        keys = [_key(seed, row, label) for row, label in zip(x, y, strict=True)]
        shard_of, slice_of = trainer.place(keys, y)
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
        self.several.fill_(y.ndim > 1)
        done = []
        for shard in range(trainer.shards):
            mine = order[shard_of[order] == shard]
            unions = [mine[slice_of[mine] <= r] for r in range(trainer.slices)]
            marks = [hashlib.sha256(b"".join(keys[i] for i in rows)).digest() for rows in unions]
            seen = [bytes(mark.tolist()) for mark in self.marks[shard]]
            stale = [r for r in range(trainer.slices) if marks[r] != seen[r]]
            for r in range(min(stale, default=trainer.slices), trainer.slices):
                if r == min(stale):
                    self._restore(shard, r)
                rows = unions[r]
                done.append((shard, r, *self._train(shard, r, x[rows], y[rows])))
                self.marks[shard, r] = torch.tensor(list(marks[r]), dtype=torch.uint8)
            self.sizes[shard] = len(mine)
        if not self.able():
            raise NotApplicable(
                f"sisa expected at least {FEWEST} rows in some shard, found {len(x)} rows for "
                f"{trainer.shards} shards; take fewer shards"
            )
        self.eval()
        return done

    def _fresh(self, shard: int) -> nn.Module:
        return self.trainer.base.fresh(derive(int(self.seed), "shard", shard))

    def _restore(self, shard: int, slice_: int) -> None:
        """Take a model back to before a slice."""
        source = self.checkpoints[shard][slice_ - 1] if slice_ else self._fresh(shard)  # type: ignore[index]
        self.models[shard].load_state_dict(source.state_dict())

    def _train(self, shard: int, slice_: int, x: Features, y: Labels) -> tuple[int, int]:
        """Train a model on the rows of all slices so far, keep it, and return steps and rows."""
        model, base, epochs = self.models[shard], self.trainer.base.recipe, 0
        share = (slice_ + 1) / self.trainer.slices
        steps = max(1, min(math.ceil(base.steps_per_epoch * share), len(x) // FEWEST))
        if len(x) >= FEWEST:
            epochs = self.trainer.epochs(slice_)
            recipe = dataclasses.replace(base, epochs=epochs, steps_per_epoch=steps)
            fit(model, x, y, recipe, generator(int(self.seed), "order", shard, slice_))
            model.zero_grad(set_to_none=True)
        if slice_ + 1 < self.trainer.slices:
            self.checkpoints[shard][slice_].load_state_dict(model.state_dict())  # type: ignore[index]
        return epochs * steps, epochs * len(x)


def _key(seed: int, row: Features, label: Labels) -> bytes:
    """Return what decides the place of a row: a digest of its content, keyed by the seed."""
    return hashlib.sha256(f"{seed}\x1f".encode() + row.tobytes() + label.tobytes()).digest()
