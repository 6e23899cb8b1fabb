"""CF-k: fine-tuning of the last layers on the retained rows."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.labels import label_loss
from forget_audit.methods._settings import one_of, refuse_unserved
from forget_audit.methods._steps import Course, Norms, Optimizer
from forget_audit.methods._tail import Tail, parameter_names
from forget_audit.registry import method
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import Case

PRESETS = {
    "notebooks": {"optimizer": "sgd", "lr": 0.01, "least_steps": 1, "norms": "eval"},
    "reference": {"epochs": 62, "optimizer": "sgd", "lr": 0.01, "least_steps": 1},
}


@method
@dataclass(frozen=True, kw_only=True)
class CfK(Tail):
    """Go on training the last layers on the retained rows alone.

    CF stands for catastrophic forgetting. The mean cross-entropy of the retained rows is
    minimised, but only the last `k` weight layers may change, and the normalisations that run
    between or after them; all earlier layers stay bit for bit, batch statistics included. The
    forget rows are never read. What the earlier layers know of them remains.

    Args:
        epochs: Passes over the retained rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them, on the last layers.
        k: Number of weight layers, in the order in which they run, that may change; at least
            as many as there are gives plain fine-tuning.
        layers: Dotted paths of the modules that may change, in place of the last `k`.
        norms: Batch norm in the last layers: `train`, `eval` or `frozen`; earlier batch norm is
            always in evaluation mode.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If one of `layers` is not in the model.

    References:
        Goel, Prabhu, Sanyal, Lim, Torr and Kumaraguru (2022), Towards Adversarial Evaluations
        for Inexact Machine Unlearning, https://arxiv.org/abs/2201.06640; code at
        https://github.com/shash42/Evaluating-Inexact-Unlearning.
        Kurmanji et al. (2023), Towards Unbounded Machine Unlearning,
        https://arxiv.org/abs/2302.09880; code at https://github.com/meghdadk/SCRUB.

    Departures:
        Layers are counted in the order in which they run, the classifier included; the original
        counts them in the order of definition, and other public code unfreezes whole stages
        without the classifier, which `layers` can say. The original keeps earlier layers from
        gradients but lets their batch statistics move; here they stay. Its schedule of warm
        restarts and its choice of the best epoch by held-out rows are left out: the rate is
        constant and the last epoch counts. The published settings belong to image networks; the
        default here is Adam, as for plain fine-tuning. An attribute request trains on the other
        labels (our adaptation). Verification: the earlier layers are compared bit for bit, and
        with all layers the result equals plain fine-tuning; counting compared with the public
        code; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="cf_k",
        title="CF-k: fine-tuning of the last layers",
        card="M04",
        paper="arXiv:2201.06640",
        needs=frozenset({"retain", "labels", "architecture"}),
        scopes=frozenset({"instance", "class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"attribute"}),
        guarantee="none",
        presets=PRESETS,
        cost="a pass over the retained rows per epoch; nothing is stored",
        errata=("E14",),
        summary="Trains the last layers on with the remaining rows and hopes that the others fade.",
    )
    epochs: int = 10
    optimizer: Optimizer = "adam"
    lr: float = 6e-3
    norms: Norms = "train"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("norms", self.norms, get_args(Norms))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy whose last layers were trained on with the retained rows."""
        refuse_unserved(self.info, case)
        tail = self.tail(model, case.retain.x)
        course = Course(model, rng, [self.norms], only=parameter_names(tail))
        x, y = rows_tensors(case.retain, model)
        optimizer = self.make_optimizer(course)

        def loss(index: Index) -> torch.Tensor:
            return label_loss(course.model(x[index]), y[index])

        for _ in range(self.epochs):
            course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)
        changed = f"layers that may change: {', '.join(layer.name for layer in tail)}"
        return course.finish(f"all {self.epochs} epochs done", changed)
