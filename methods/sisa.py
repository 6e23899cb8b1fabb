"""SISA: training in shards and slices, so that a deletion retrains a small part."""

import copy
import time
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned, UnlearnReport
from forget_audit.errors import NotApplicable
from forget_audit.methods._settings import Presets, one_of, refuse_unserved, whole
from forget_audit.methods._shards import (
    Aggregation,
    Ensemble,
    Partition,
    ShardedTrainer,
    Weighting,
)
from forget_audit.methods._steps import changed
from forget_audit.registry import method
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Trainer


@method
@dataclass(frozen=True, kw_only=True)
class Sisa(Presets):
    """Train one model a shard, slice by slice, and retrain only what has seen a forget row.

    The training rows are dealt into shards and each shard into slices. The model of a shard
    is trained on its first slice, then on the first two, and so on; a checkpoint is kept after
    each slice. Models answer together. To forget, each shard whose rows have changed is taken
    back to the checkpoint before the first changed slice and trained on from there without the
    forget rows; stale checkpoints are overwritten. A row's place follows from a digest of its
    content keyed by the seed, so that others stay where they are when it goes; the ensemble
    keeps a digest of the rows of each checkpoint, by which changed slices are found. The result
    is, bit for bit, the ensemble trained from scratch with the same seed without the forget
    rows. The original must be trained by `Sisa().trainer(recipe)`.

    Args:
        shards: Number of shards, each with a model.
        slices: Number of slices of a shard; checkpoints are kept after all but the last.
        partition: `iid` deals rows at random, `by_class` keeps a class in one shard, which
            makes deleting a class cheap and models poor.
        aggregation: `mean` averages the probabilities of the models, `vote` counts the classes
            that they name, on a tie the lowest; with several labels, each label by itself.
        weighting: Whether models count alike (`uniform`) or by the `size` of their shard.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the model was not trained by the recipe of the method with the same
            settings, or there are too few rows.

    References:
        Bourtoule et al. (2021), Machine Unlearning, https://arxiv.org/abs/1912.03817; code at
        https://github.com/cleverhans-lab/machine-unlearning.
        Gupta et al. (2021), Adaptive Machine Unlearning, https://arxiv.org/abs/2106.04378, on
        requests that depend on published models, which the guarantee does not cover.

    Departures:
        The release uses 20 epochs of SGD at .001 in batches of 16 and asks models with dropout
        on; here recipe and architecture are those of the case and models are asked in evaluation
        mode. Each slice gets `2 e / (slices + 1)` of the recipe's `e` epochs, and steps in
        proportion to the slices so far, two rows a step at least; a shard of less than two rows
        is not trained and has no say. Shards and slices are drawn row by row, so that their
        sizes vary. A published comparison took 8 shards of 4 slices, `preset("8x4")`, too many
        for a small case, and says that models are averaged: answers are. Logits are logarithms
        of the joint probabilities; of votes, with one vote added to each class. The ensemble
        holds its seed and checkpoints, which tell of rows as models do. Verification: equal to
        training from scratch without the forget rows, bit for bit; shards without a forget row
        unchanged; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="sisa",
        title="SISA: sharded, isolated, sliced, aggregated training",
        card="M02",
        paper="arXiv:1912.03817",
        needs=frozenset({"retain", "labels", "training"}),
        scopes=frozenset({"instance", "class", "subclass"}),
        heads=frozenset({"single", "multi"}),
        guarantee="exact",
        assumptions="requests that do not depend on published models; the original was trained "
        "by this recipe",
        presets={"8x4": {"shards": 8, "slices": 4}},
        cost="retraining of the slices from the first changed one on, of changed shards; storage "
        "of a model a slice",
        errata=("E45",),
        summary="Trains several models on parts of the rows and retrains only those that have "
        "seen a row to forget.",
    )
    shards: int = 3
    slices: int = 2
    partition: Partition = "iid"
    aggregation: Aggregation = "mean"
    weighting: Weighting = "uniform"

    def __post_init__(self) -> None:
        whole("shards", self.shards, at_least=1)
        whole("slices", self.slices, at_least=1)
        one_of("partition", self.partition, get_args(Partition))
        one_of("aggregation", self.aggregation, get_args(Aggregation))
        one_of("weighting", self.weighting, get_args(Weighting))

    def trainer(self, base: Trainer) -> ShardedTrainer:
        """Return the recipe of the originals, and of the references, made from `base`.

        Raises:
            NotApplicable: If `base` is a function that cannot say how it trains.
        """
        if not isinstance(base, RecipeTrainer):
            raise NotApplicable(
                f"sisa expected a recipe with an architecture, found {type(base).__name__}; "
                "give a forget_audit.training.trainers.RecipeTrainer"
            )
        return ShardedTrainer(
            base=base,
            shards=self.shards,
            slices=self.slices,
            partition=self.partition,
            aggregation=self.aggregation,
            weighting=self.weighting,
        )

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:  # noqa: ARG002 all randomness is that of the original
        """Return a copy in which the shards that have seen a forget row are retrained."""
        refuse_unserved(self.info, case)
        if not isinstance(model, Ensemble):
            raise NotApplicable(
                f"sisa expected a model of its own training, found {type(model).__name__}; "
                "train the original with Sisa().trainer(recipe)"
            )
        if self.trainer(model.trainer.base) != model.trainer:
            raise NotApplicable(
                f"sisa expected a model trained with {self}, found {model.trainer}; "
                "unlearn with the settings of the training"
            )
        started = time.perf_counter()
        new = copy.deepcopy(model)
        retrained = new.learn(case.retain.x, case.retain.y)
        new.zero_grad(set_to_none=True)
        shards = {shard for shard, *_ in retrained}
        report = UnlearnReport(
            steps=sum(steps for *_, steps, _ in retrained),
            rows_touched=sum(rows for *_, rows in retrained),
            seconds=time.perf_counter() - started,
            stop_reason="all changed shards retrained",
            notes=(
                f"{len(shards)} of {self.shards} shards and {len(retrained)} of "
                f"{self.shards * self.slices} slices retrained",
                f"seed {int(new.seed)} of the original",
            ),
            changed=changed(model, new),
        )
        return Unlearned(model=new, report=report)
