"""Gradient ascent on the forget rows."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.labels import label_loss, to_forget
from forget_audit.methods._settings import flag, number, one_of, refuse_unserved
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping, n_steps
from forget_audit.registry import method
from forget_audit.targets import evaluating
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import Case

PRESETS = {
    "salun": {
        "batch_size": 256, "least_steps": 1, "optimizer": "sgd", "lr": 1e-4, "weight_decay": 5e-4,
        "norms": "train", "clip_norm": None, "stop_at_chance": False,
    },
}  # fmt: skip


@method
@dataclass(frozen=True, kw_only=True)
class NegGrad(Stepping):
    """Climb the loss of the forget rows instead of descending it.

    The loss is the negated mean cross-entropy of the forget rows; the retained rows are never
    read. Ascent has no floor and ruins a model when it goes on, so the gradient norm is
    limited and the climb ends once the forget rows are classified no better than by guessing:
    when their mean loss, in evaluation mode, reaches `log(classes)`. It is looked at before
    each step; no held-out row takes part in the decision.

    Args:
        epochs: Most passes over the forget rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them; during ascent it shrinks all weights, so it is 0 here.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`; on forget rows alone
            `train` would spoil the statistics.
        clip_norm: Largest norm of the gradient over all parameters; none for no limit.
        stop_at_chance: Whether to end when the forget loss reaches `log(classes)`, in nats.
        bound: Rows whose loss exceeds it, in nats, are pushed no further; none for no bound.

    Raises:
        ValueError: If a field is out of its range.

    References:
        Golatkar, Achille and Soatto (2020), Eternal Sunshine of the Spotless Net,
        https://arxiv.org/abs/1911.04933.
        Graves, Nagisetty and Ganesh (2021), Amnesiac Machine Learning,
        https://arxiv.org/abs/2010.10981.
        Thudi et al. (2022), Unrolling SGD: Understanding Factors Influencing Machine
        Unlearning, https://arxiv.org/abs/2109.13398.
        As a baseline in public code: https://github.com/OPTML-Group/Unlearn-Saliency, the
        preset of its name.

    Departures:
        Clipping, the end at chance and batch norm in evaluation mode are ours: public code
        climbs a fixed number of epochs in training mode. Public code steps by SGD at 1e-4 in
        batches of 256, which does nothing to a small model that is sure of its rows, their
        gradients being all but zero; the default here is Adam, under which clipping matters
        little. An attribute request climbs the loss of that label alone, up to `log(2)` (our
        adaptation). Verification: one step equals the closed form on softmax regression; published
        figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="neggrad",
        title="Gradient ascent on the forget rows",
        card="M06",
        paper="arXiv:1911.04933",
        needs=frozenset({"forget", "labels"}),
        scopes=frozenset({"instance", "class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"attribute"}),
        guarantee="none",
        presets=PRESETS,
        cost="a pass over the forget rows per epoch, and a forward pass over them before each "
        "step to see whether to go on; nothing is stored",
        errata=("E46",),
        summary="Trains backwards on the rows to forget until the model is lost on them.",
    )
    epochs: int = 5
    batch_size: int = 32
    optimizer: Optimizer = "adam"
    lr: float = 2e-4
    norms: Norms = "eval"
    clip_norm: float | None = 1.0
    stop_at_chance: bool = True
    bound: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("norms", self.norms, get_args(Norms))
        flag("stop_at_chance", self.stop_at_chance)
        for name in ("clip_norm", "bound"):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), above=0)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that has climbed the loss of the forget rows."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms])
        x, y = rows_tensors(case.forget, model)
        optimizer = self.make_optimizer(course)
        ceiling = math.inf if self.bound is None else self.bound
        n_outcomes = 2 if case.multi_label else case.n_classes
        chance = math.log(n_outcomes)
        y = to_forget(case, y)

        def loss(index: Index) -> torch.Tensor:
            each = label_loss(course.model(x[index]), y[index], "none")
            return -each.clamp(max=ceiling).mean()

        def below_chance(_: Index) -> bool:
            with evaluating(course.model), torch.no_grad():
                return float(label_loss(course.model(x), y)) < chance

        batches: Iterator[Index] = (
            b for _ in range(self.epochs) for b in self.batches(len(x), rng)
        )
        if self.stop_at_chance:
            batches = takewhile(below_chance, batches)
        course.run(loss, batches, optimizer, norms=self.norms, clip_norm=self.clip_norm)
        if course.steps < self.epochs * n_steps(len(x), self.batch_size, self.least_steps):
            return course.finish(f"forget loss reached log({n_outcomes})")
        return course.finish(f"all {self.epochs} epochs done")
