"""SCRUB: a student that disobeys its teacher on the forget rows only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.labels import label_loss
from forget_audit.methods._settings import number, one_of, refuse_unserved, whole, whole_numbers
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping
from forget_audit.methods._teaching import answers, distillation
from forget_audit.registry import method
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import Case

# The released notebooks; all use lr 5e-4 and momentum .9. Batch sizes stand where they are known.
COLUMNS = (
    "optimizer", "alpha", "gamma", "temperature", "msteps", "epochs", "lr_decay_epochs",
    "weight_decay", "batch_size", "forget_batch_size",
)  # fmt: skip
NOTEBOOKS: Mapping[str, tuple[Any, ...]] = {
    "small-unlearning": ("adam", 0.5, 1.0, 2.0, 3, 10, (5, 8, 9), 0.1),
    "small-confusion": ("adam", 0.01, 99.0, 2.0, 2, 10, (5, 6, 9), 0.1),
    "large-unlearning": ("sgd", 0.001, 0.99, 4.0, 2, 3, (3, 5, 9), 5e-4, 128, 32),
    "large-confusion": ("sgd", 0.01, 1.0, 2.0, 2, 10, (7, 10, 10), 5e-4),
    "mia": ("sgd", 0.5, 1.0, 4.0, 3, 5, (3, 5, 9), 5e-4, 32, 16),
    "vgg": ("sgd", 0.01, 0.99, 4.0, 2, 10, (3, 6, 9), 5e-4),
}
PRESETS = {
    name: {**dict(zip(COLUMNS, row, strict=False)), "least_steps": 1, "forget_norms": "train"}
    for name, row in NOTEBOOKS.items()
}


@method
@dataclass(frozen=True, kw_only=True)
class Scrub(Stepping):
    """Distil the model into itself, away from its own answers on the forget rows.

    The given model is the teacher. In each of the first `msteps` epochs a max pass over the
    forget rows climbs the distillation loss; then, in every epoch, a min pass over the retained
    rows descends `alpha` times the distillation loss plus `gamma` times the cross-entropy. The
    last epochs only repair.

    Args:
        epochs: Min passes; 0 leaves the model as it is.
        batch_size: Most rows in a min step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`; one for both kinds of steps.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        alpha: Weight of the distillation loss in a min step.
        gamma: Weight of the cross-entropy in a min step.
        temperature: Divides the logits before the softmax in the distillation loss.
        msteps: Epochs that begin with a max pass.
        forget_batch_size: Most rows in a max step; the method is sensitive to it.
        lr_decay_epochs: After each of these epochs, counted from 1, the rate is decayed.
        lr_decay: Factor of a decay.
        forget_norms: Batch norm in max steps: `train`, `eval` or `frozen`.
        retain_norms: Batch norm in min steps; `frozen` in either fixes scale and shift in both.
        kickstart: Standard deviation of noise added to the student before the first pass,
            as a share of each tensor's root mean square; 0 for none.

    Raises:
        ValueError: If a field is out of its range.

    References:
        Kurmanji et al. (2023), Towards Unbounded Machine Unlearning,
        https://arxiv.org/abs/2302.09880; code at https://github.com/meghdadk/SCRUB.

    Departures:
        The student starts as the teacher, where the divergence is smallest and its gradient
        zero. A first max step in evaluation mode therefore moves nothing by itself; what moves
        it is weight decay, dropout, batch statistics, or rounding magnified by Adam. We keep
        the published order; the presets take batch statistics in max passes, as released, our
        default does not, and `kickstart` breaks the tie openly. The small-scale presets' weight
        decay of .1 under Adam is a large part of their effect; our default is 5e-4. The
        teacher's answers are computed once, as there is no augmentation.
        SCRUB+R (rewinding to the epoch whose forget error matches that of held-out rows) is not
        offered: a case's test and auxiliary rows belong to the audit. Options that the release
        parses but never applies (averaging, clipping, smoothing) are left out.
        With several labels a row the divergences of the labels are summed; in an attribute
        request the student disobeys on that label alone (our adaptation).
        Verification: losses and decay compared with the public code; order and presets follow
        descriptions of its notebooks; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="scrub",
        title="SCRUB",
        card="M23",
        paper="arXiv:2302.09880",
        needs=frozenset({"forget", "retain", "labels"}),
        scopes=frozenset({"instance", "class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"attribute"}),
        guarantee="none",
        presets=PRESETS,
        cost="a forward pass of the teacher over all rows, then per epoch a pass over the "
        "retained rows and, at first, one over the forget rows",
        summary="Pushes the model away from its own answers on the rows to forget, "
        "and holds it to them on the rest.",
    )
    optimizer: Optimizer = "adam"
    lr: float = 5e-4
    weight_decay: float = 5e-4
    alpha: float = 0.5
    gamma: float = 1.0
    temperature: float = 2.0
    msteps: int = 3
    forget_batch_size: int = 32
    lr_decay_epochs: tuple[int, ...] = (5, 8, 9)
    lr_decay: float = 0.1
    forget_norms: Norms = "eval"
    retain_norms: Norms = "train"
    kickstart: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "gamma", "kickstart"):
            number(name, getattr(self, name), at_least=0)
        for name in ("temperature", "lr_decay"):
            number(name, getattr(self, name), above=0)
        whole("msteps", self.msteps, at_least=0)
        whole("forget_batch_size", self.forget_batch_size, at_least=1)
        decays = whole_numbers("lr_decay_epochs", self.lr_decay_epochs)
        object.__setattr__(self, "lr_decay_epochs", decays)
        for name in ("forget_norms", "retain_norms"):
            one_of(name, getattr(self, name), get_args(Norms))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return the student."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.forget_norms, self.retain_norms])
        optimizer = self.make_optimizer(course)
        x_f, (x_r, y_r) = rows_tensors(case.forget, model)[0], rows_tensors(case.retain, model)
        teacher_f, teacher_r = answers(model, case.forget), answers(model, case.retain)

        several = case.multi_label
        gone, kept = _columns(case)

        def apart(teacher: torch.Tensor, student: torch.Tensor, columns: list[int]) -> torch.Tensor:
            pair = teacher[:, columns], student[:, columns]
            return distillation(*pair, self.temperature, several=several)

        def disobey(index: Index) -> torch.Tensor:
            return -apart(teacher_f[index], course.model(x_f[index]), gone)

        def obey(index: Index) -> torch.Tensor:
            logits = course.model(x_r[index])
            divergence = apart(teacher_r[index], logits, kept)
            return self.gamma * label_loss(logits, y_r[index]) + self.alpha * divergence

        if self.kickstart and self.epochs and self.msteps:
            _disturb(course.parameters, self.kickstart, rng)
        for epoch in range(1, self.epochs + 1):
            decays = sum(epoch > last for last in self.lr_decay_epochs)
            for group in optimizer.param_groups:
                group["lr"] = self.lr * self.lr_decay**decays
            if epoch <= self.msteps:
                batches = self.batches(len(x_f), rng, self.forget_batch_size)
                course.run(disobey, batches, optimizer, norms=self.forget_norms)
            course.run(obey, self.batches(len(x_r), rng), optimizer, norms=self.retain_norms)
        return course.finish(f"all {self.epochs} epochs done")


def _columns(case: Case) -> tuple[list[int], list[int]]:
    """Return the outputs on which the student disobeys, and those on which it obeys."""
    every = [*range(case.n_classes)]
    if case.attribute is None:
        return every, every
    return [case.attribute], [k for k in every if k != case.attribute]


def _disturb(parameters: Iterable[torch.Tensor], share: float, rng: np.random.Generator) -> None:
    """Add Gaussian noise of `share` of each tensor's root mean square, in place."""
    with torch.no_grad():
        for weight in parameters:
            noise = torch.from_numpy(rng.standard_normal(weight.shape)).to(weight)
            weight += share * weight.square().mean().sqrt() * noise
