"""DaRE: a random forest from which rows can be taken exactly."""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned, UnlearnReport
from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss
from forget_audit.methods._forest import Forest, Grower
from forget_audit.methods._settings import Presets, refuse_unserved, whole
from forget_audit.methods._steps import changed
from forget_audit.registry import method
from forget_audit.seeds import derive
from forget_audit.targets import evaluating
from forget_audit.training.loop import rows_tensors
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Features, Labels, Rows, Trainer


@dataclass(frozen=True, kw_only=True)
class ForestTrainer:
    """A `Trainer` of forests; rows with several labels are left to the base.

    Args:
        method: Settings of the forest.
        base: Gives the number of outputs.
    """

    method: "Dare"
    base: RecipeTrainer

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return a forest grown on the rows, in evaluation mode."""
        if y.ndim == 2:
            return self.base(x, y, seed)
        trees, depth, *others = self.method.settings()
        n_classes = self.base.architecture.n_classes
        forest = Forest(trees, depth, n_classes, seed, tuple(others))
        for grower in self.method.growers(forest, x, y):
            grower.grow(0, np.arange(len(x)))
        return forest.eval()


@method
@dataclass(frozen=True, kw_only=True)
class Dare(Presets):
    """Take rows out of a random forest, and grow anew only what they had shaped.

    The splits of the upper levels are random: a feature by lot and a threshold uniform between
    its least and greatest value, so that few rows can move them. Below, the best of some
    features and thresholds drawn by lot is taken, by Gini impurity. A deletion follows the
    rows down each tree, takes them off the class counts, and asks at each node on the way what
    split the remaining rows would get from the same lots. Where that parts them as before, it
    goes on; where it does not, the subtree is grown anew. The result is the forest that
    training without the rows gives from the same seed, bit for bit.

    Args:
        trees: Number of trees.
        depth: Greatest depth of a leaf.
        random_depth: Levels from the root whose splits are random.
        features: Features that compete in a split; the square root of their number if left
            out.
        thresholds: Most thresholds of each of them.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the original is no such forest, or has other settings.

    References:
        Brophy and Lowd (2021), Machine Unlearning for Random Forests,
        https://arxiv.org/abs/2009.05567; code at https://github.com/jjbrophy47/dare_rf.

    Departures:
        The paper stores the drawn thresholds and their counts in every node and draws a new one
        only in the place of one that has become invalid. A threshold that a deletion brings
        into being then competes less often than in a new forest. Here lots are tied to
        features and neighbouring values by a hash, new thresholds compete like all others, and
        the result equals retraining bit for bit; in return thresholds of visited nodes are
        drawn and counted again, and a random threshold follows its bounds. What is saved are
        subtrees that no deleted row reaches. Trees are stored as full arrays, which bounds
        their depth. Published forests have 100 trees and more. Answers are logarithms of mean
        class shares, smoothed by a thousandth of a row; they have no gradients. Verification:
        equal to retraining, bit for bit; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="dare",
        title="DaRE: data removal-enabled forest",
        card="M49",
        paper="arXiv:2009.05567",
        needs=frozenset({"forget", "retain", "labels", "training"}),
        scopes=frozenset({"instance", "class", "subclass"}),
        guarantee="exact",
        cost="per tree, the rows on the way of a deleted one at each split, and the subtrees "
        "that are grown anew",
        summary="Takes rows out of a forest of decision trees and regrows the branches that "
        "depended on them.",
    )
    trees: int = 10
    depth: int = 8
    random_depth: int = 1
    features: int | None = None
    thresholds: int = 5

    def __post_init__(self) -> None:
        for name in ("trees", "depth", "thresholds"):
            whole(name, getattr(self, name), at_least=1)
        whole("random_depth", self.random_depth, at_least=0)
        if self.features is not None:
            whole("features", self.features, at_least=1)
        if self.depth > 14:
            raise ValueError(f"depth: expected at most 14, found {self.depth}; take more trees")

    def trainer(self, base: Trainer) -> ForestTrainer:
        """Return the recipe of a forest with as many outputs as the models of `base`.

        Raises:
            NotApplicable: If `base` does not say how many.
        """
        if not isinstance(base, RecipeTrainer):
            raise NotApplicable(
                "dare needs a RecipeTrainer, whose architecture gives the number of outputs, "
                f"found {type(base).__name__}"
            )
        return ForestTrainer(method=self, base=base)

    def settings(self) -> tuple[int, ...]:
        """Return the settings that a forest remembers, 0 for a number left out."""
        numbers = self.trees, self.depth, self.random_depth, self.features, self.thresholds
        return tuple(number or 0 for number in numbers)

    def growers(self, forest: Forest, x: Features, y: Labels) -> Iterator[Grower]:
        """Yield what grows each tree of a forest, in place, on some rows."""
        flat, seed = x.reshape(len(x), -1), int(forest.seed)
        parts = zip(forest.feature, forest.threshold, forest.counts, strict=True)
        for k, (feature, threshold, counts) in enumerate(parts):
            yield Grower(
                feature=feature.numpy(),
                threshold=threshold.numpy(),
                counts=counts.numpy(),
                depth=self.depth,
                random_depth=self.random_depth,
                features=self.features or math.isqrt(flat.shape[1]),
                thresholds=self.thresholds,
                seed=derive(seed, "tree", k),
                x=flat,
                y=y,
            )

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:  # noqa: ARG002 the lots are those of training
        """Return a copy without the rows."""
        refuse_unserved(self.info, case)
        started = time.perf_counter()
        forest = self.forest(model)
        device = forest.feature.device
        new = copy.deepcopy(model).cpu().eval()
        forest = self.forest(new)
        losses = [mean_loss(model, rows) for rows in (case.forget, case.retain)]
        x = np.concatenate([case.retain.x, case.forget.x])
        y = np.concatenate([case.retain.y, case.forget.y])
        kept, gone = np.arange(len(case.retain)), np.arange(len(case.retain), len(x))
        growers = self.growers(forest, x, y)
        regrown = sum(grower.remove(0, kept, gone) for grower in growers)
        after = [mean_loss(forest, rows) for rows in (case.forget, case.retain)]
        report = UnlearnReport(
            steps=0,
            rows_touched=regrown + len(gone) * self.trees,
            seconds=time.perf_counter() - started,
            stop_reason="all trees are without the rows",
            notes=(
                f"rows met {regrown} splits in {self.trees} trees that were grown anew",
                f"mean loss of the forget rows {losses[0]:.3g} before and {after[0]:.3g} after, "
                f"of the retained rows {losses[1]:.3g} and {after[1]:.3g}",
            ),
            changed=changed(model, new),
        )
        return Unlearned(model=new.to(device), report=report)

    def forest(self, model: nn.Module) -> Forest:
        """Return the forest in a model.

        Raises:
            NotApplicable: If there is none, or one of other settings.
        """
        found = next((m for m in model.modules() if isinstance(m, Forest)), None)
        settings = tuple(found.settings.tolist()) if found else None
        if found is None or settings != self.settings():
            raise NotApplicable(
                "dare needs a forest with trees, depth, random depth, features and thresholds "
                f"{self.settings()}, found {settings}; train the original with "
                "Dare(...).trainer(base) and the same settings"
            )
        return found


def mean_loss(model: nn.Module, rows: Rows) -> float:
    """Return the mean loss of some rows."""
    x, y = rows_tensors(rows, model)
    with evaluating(model), torch.no_grad():
        return float(label_loss(model(x), y))
