"""Fine-tuning on the retained rows: forgetting by neglect."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.labels import label_loss
from forget_audit.methods._settings import one_of, refuse_unserved
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping
from forget_audit.registry import method
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import Case

PRESETS = {
    "salun": {
        "batch_size": 256, "least_steps": 1, "optimizer": "sgd", "lr": 0.01, "weight_decay": 5e-4,
    },
    "scrub": {"least_steps": 1, "optimizer": "sgd", "lr": 0.01, "norms": "eval"},
    "ssd": {"epochs": 5, "least_steps": 1, "optimizer": "sgd", "lr": 0.02, "weight_decay": 5e-4},
}  # fmt: skip


@method
@dataclass(frozen=True, kw_only=True)
class Finetune(Stepping):
    """Go on training on the retained rows alone.

    The mean cross-entropy of the retained rows is minimised from the given weights. The forget
    rows are never read: what the model knows of them fades only as far as the retained rows
    overwrite it. The learning rate is the one knob; too small a rate changes nothing and looks
    perfect on the retained rows, so compare the forget loss with that of a retrained model.

    Args:
        epochs: Passes over the retained rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate; twice to ten times the last one of training is usual.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        norms: Batch norm in the steps: `train` (statistics move), `eval` (statistics fixed) or
            `frozen` (scale and shift fixed as well).

    Raises:
        ValueError: If a field is out of its range.

    References:
        Golatkar, Achille and Soatto (2020), Eternal Sunshine of the Spotless Net,
        https://arxiv.org/abs/1911.04933.
        Kurmanji et al. (2023), Towards Unbounded Machine Unlearning,
        https://arxiv.org/abs/2302.09880.
        As a baseline in public code: https://github.com/OPTML-Group/Unlearn-Saliency,
        https://github.com/meghdadk/SCRUB and
        https://github.com/if-loops/selective-synaptic-dampening, the presets of their names.

    Departures:
        Published settings (SGD at .01 to .02, 5 to 10 epochs) belong to image networks; the
        default here is Adam at twice the rate of a small model's training. Schedules of the rate
        are left out, and batch sizes stand in the presets where they are known.
        Batches are of equal size instead of a ragged last one. The penalty on the distance to
        the initial weights that some notebooks add is left out: it draws the model towards
        random ones. An attribute request trains on the other labels (our adaptation).
        Verification: steps checked against plain gradient descent; published
        figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="finetune",
        title="Fine-tuning on the retained rows",
        card="M03",
        paper="arXiv:1911.04933",
        needs=frozenset({"retain", "labels"}),
        scopes=frozenset({"instance", "class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"attribute"}),
        guarantee="none",
        presets=PRESETS,
        cost="a pass over the retained rows per epoch; nothing is stored",
        summary="Trains on with the remaining rows and hopes that the others fade.",
    )
    epochs: int = 10
    optimizer: Optimizer = "adam"
    lr: float = 6e-3
    norms: Norms = "train"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("norms", self.norms, get_args(Norms))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy trained on with the retained rows."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms])
        x, y = rows_tensors(case.retain, model)
        optimizer = self.make_optimizer(course)

        def loss(index: Index) -> torch.Tensor:
            return label_loss(course.model(x[index]), y[index])

        for _ in range(self.epochs):
            course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)
        return course.finish(f"all {self.epochs} epochs done")
