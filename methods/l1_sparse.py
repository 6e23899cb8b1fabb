"""l1-sparse: fine-tuning on the retained rows with a fading penalty on the size of the weights."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.labels import label_loss
from forget_audit.methods._settings import number, one_of, refuse_unserved, whole
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping
from forget_audit.registry import method
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import Case

PRESETS = {
    "reference": {
        "batch_size": 256, "least_steps": 1, "optimizer": "sgd", "lr": 0.01, "weight_decay": 5e-4,
        "alpha": 5e-4,
    },
}  # fmt: skip


@method
@dataclass(frozen=True, kw_only=True)
class L1Sparse(Stepping):
    """Go on training on the retained rows, drawing all weights towards zero at first.

    The mean cross-entropy of the retained rows plus a penalty, the sum of the absolute weights,
    is minimised from the given weights. The penalty is strongest in the first epoch and fades
    linearly. A sparser model has less room for what the retained rows do not need; the forget
    rows are never read.

    Args:
        epochs: Passes over the retained rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        alpha: Weight of the penalty in the first epoch.
        plain_epochs: Epochs at the end without penalty; it fades over the others.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`.

    Raises:
        ValueError: If a field is out of its range.

    References:
        Jia et al. (2023), Model Sparsity Can Simplify Machine Unlearning,
        https://arxiv.org/abs/2304.04934; code at
        https://github.com/OPTML-Group/Unlearn-Sparse.

    Departures:
        The penalty covers every weight that may change, biases and batch norm included, as in
        the public code. Steps follow its slope, so weights come close to zero but rarely equal
        it. The published rates belong to image networks; the default here is Adam, as for plain
        fine-tuning. Verification: without penalty equal to fine-tuning bit for bit; the steps
        with it equal the closed form on softmax regression; penalty and schedule compared with
        the public code; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="l1_sparse",
        title="l1-sparse fine-tuning",
        card="M42",
        paper="arXiv:2304.04934",
        needs=frozenset({"retain", "labels"}),
        scopes=frozenset({"instance", "class", "subclass"}),
        heads=frozenset({"single", "multi"}),
        guarantee="none",
        presets=PRESETS,
        cost="a pass over the retained rows per epoch; nothing is stored",
        summary="Trains on with the remaining rows while shrinking all weights, "
        "so that what is not needed fades.",
    )
    epochs: int = 10
    optimizer: Optimizer = "adam"
    lr: float = 6e-3
    alpha: float = 5e-4
    plain_epochs: int = 0
    norms: Norms = "train"

    def __post_init__(self) -> None:
        super().__post_init__()
        number("alpha", self.alpha, at_least=0)
        whole("plain_epochs", self.plain_epochs, at_least=0)
        one_of("norms", self.norms, get_args(Norms))

    def penalty(self, epoch: int) -> float:
        """Return the weight of the penalty in an epoch, counted from 0."""
        fading = self.epochs - self.plain_epochs
        return self.alpha * (1 - epoch / fading) if epoch < fading else 0.0

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy trained on with the retained rows, its weights held small."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms])
        x, y = rows_tensors(case.retain, model)
        optimizer = self.make_optimizer(course)
        alpha = self.alpha

        def loss(index: Index) -> torch.Tensor:
            size = torch.stack([p.abs().sum() for p in course.parameters]).sum()
            return label_loss(course.model(x[index]), y[index]) + alpha * size

        for epoch in range(self.epochs):
            alpha = self.penalty(epoch)
            course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)
        return course.finish(f"all {self.epochs} epochs done")
