"""Amnesiac unlearning by relabelling: train on with wrong labels for the forget rows."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.labels import label_loss
from forget_audit.methods._relabel import random_labels
from forget_audit.methods._settings import one_of, refuse_unserved
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping, forget_then_retain
from forget_audit.registry import method
from forget_audit.training.loop import Index
from forget_audit.types import Case

PUBLISHED = {"lr": 1e-4, "batch_size": 128, "least_steps": 1}


@method
@dataclass(frozen=True, kw_only=True)
class AmnesiacRelabel(Stepping):
    """Train on with all rows, the forget rows bearing wrong labels drawn once.

    Each forget row gets a label drawn uniformly from the classes that are neither its own nor
    forgotten ones. Then the cross-entropy of these rows and the retained ones is minimised in
    one shuffled pass after the other. Benchmarks call this half of a paper `Amnesiac`; the
    other half, which subtracts recorded updates, is `amnesiac`. For single rows it forgets too
    much: a retrained model classifies many of them right, this one few, which an attack can
    tell.

    Args:
        epochs: Passes over all rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If some forget row is left without a wrong class.

    References:
        Graves, Nagisetty and Ganesh (2021), Amnesiac Machine Learning,
        https://arxiv.org/abs/2010.10981.
        Chundawat et al. (2023), Can Bad Teaching Induce Forgetting?,
        https://arxiv.org/abs/2205.08096; code at
        https://github.com/vikram2000b/bad-teaching-unlearning.
        Foster, Schoepf and Brintrup (2024), Fast Machine Unlearning Without Retraining Through
        Selective Synaptic Dampening, https://arxiv.org/abs/2308.07707; code at
        https://github.com/if-loops/selective-synaptic-dampening.

    Departures:
        Benchmarks train for 3 epochs by Adam at 1e-4 in batches of 128, `preset("benchmark")`,
        or 256, `preset("bad_teaching")`: too little for a small model that is sure of its rows,
        so the default is a higher rate, smaller batches and more epochs. Labels of a matrix are
        drawn with their own prevalence and may come out as they were: the opposite label would
        tell as much (our adaptation). Verification: a step equals the closed form on softmax
        regression; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="amnesiac_relabel",
        title="Amnesiac unlearning by relabelling",
        card="M10",
        paper="arXiv:2010.10981",
        needs=frozenset({"forget", "retain", "labels"}),
        scopes=frozenset({"instance", "class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"attribute"}),
        guarantee="none",
        presets={
            "benchmark": {"epochs": 3, **PUBLISHED},
            "bad_teaching": {"epochs": 3, **PUBLISHED, "batch_size": 256},
        },
        cost="a pass over all rows an epoch",
        summary="Goes on training with all rows, giving wrong answers for the rows to forget.",
    )
    optimizer: Optimizer = "adam"
    lr: float = 5e-3
    norms: Norms = "train"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("norms", self.norms, get_args(Norms))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy trained on with wrong labels for the forget rows."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms])
        x, y = forget_then_retain(case, model)
        wrong = random_labels(case, rng, exclude_true=True)
        y[: len(wrong)] = torch.from_numpy(wrong).to(y.device)
        optimizer = self.make_optimizer(course)

        def loss(index: Index) -> torch.Tensor:
            return label_loss(course.model(x[index]), y[index])

        for _ in range(self.epochs):
            course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)
        return course.finish(f"all {self.epochs} epochs done")
