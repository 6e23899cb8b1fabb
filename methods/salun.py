"""SalUn: random labels for the forget rows, taught to the weights that matter to them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.labels import to_forget
from forget_audit.methods._importance import Tensors, mean_gradient, top
from forget_audit.methods._relabel import Relabelling
from forget_audit.methods._settings import (
    number,
    refuse_unserved,
)
from forget_audit.methods._steps import Course, forget_then_retain
from forget_audit.registry import method
from forget_audit.targets import evaluating
from forget_audit.types import Case


@method
@dataclass(frozen=True, kw_only=True)
class SalUn(Relabelling):
    """Teach random labels to the weights with the greatest gradient on the forget rows.

    The gradient of the loss of all forget rows says which weights are salient for them. The
    greatest `share` of its entries, over all layers together, may change; every other weight
    stays bit for bit. The salient ones are then taught random labels for the forget rows and
    the right ones for the retained rows, by turns.

    Args:
        epochs: Passes over the rows; 0 leaves the model as it is.
        batch_size: Most rows in a step on retained rows.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        share: Part of the weights that may change, above 0 and at most 1.
        forget_batch_size: Most rows in a step on forget rows.
        exclude_true: Whether a row's own class is never drawn for it.
        exclude_classes: Classes that are never drawn; by default the forgotten classes of a
            class request, none of an instance request.
        per_epoch: Whether labels are drawn anew in each epoch, or once.
        forget_norms: Batch norm in steps on forget rows: `train`, `eval` or `frozen`.
        retain_norms: Batch norm in the other steps; `frozen` in either fixes scale and shift in
            both.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If some forget row is left without an allowed class.

    References:
        Fan, Liu, Zhang, Wong, Wei and Liu (2024), SalUn: Empowering Machine Unlearning via
        Gradient-Based Weight Saliency in Both Image Classification and Generation,
        https://arxiv.org/abs/2310.12508; code at
        https://github.com/OPTML-Group/Unlearn-Saliency.

    Departures:
        The gradient is that of the mean over all forget rows in evaluation mode, whatever the
        batches; ties go to the weight that comes first, so that the number of salient weights is
        exact. The release long multiplied gradients alone by the mask, which lets momentum and
        weight decay move the other weights; here these are put back after each step. It may draw
        the true label; `reference` has its settings, the default smaller batches and our rules
        of relabelling. Batch norm in forget passes is in evaluation mode; running statistics are
        no weights and follow the retained passes. An attribute request takes the gradient of the
        forgotten label alone and draws that column anew (our adaptation). Verification: equal to
        random relabelling at a share of 1, bit for bit; the mask against sorted gradients; the
        release's code was not compared; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="salun",
        title="SalUn: random labels for salient weights",
        card="M31",
        paper="arXiv:2310.12508",
        needs=frozenset({"forget", "retain", "labels"}),
        scopes=frozenset({"instance", "class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"attribute"}),
        guarantee="none",
        presets={
            "reference": {
                "lr": 0.013,
                "batch_size": 256,
                "forget_batch_size": 256,
                "least_steps": 1,
                "exclude_true": False,
                "exclude_classes": (),
            },
        },
        cost="a gradient pass over the forget rows, then passes over all rows",
        summary="Teaches wrong answers for the rows to forget, "
        "but only to the weights that matter most to them.",
    )
    lr: float = 0.013
    weight_decay: float = 5e-4
    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        number("share", self.share, above=0, at_most=1)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy whose salient weights were taught random labels."""
        refuse_unserved(self.info, case)
        x, y = forget_then_retain(case, model)
        n = len(case.forget)
        course = Course(model, rng, [self.forget_norms, self.retain_norms])
        masks = self.salient(course, x[:n], to_forget(case, y[:n]))
        course.rows_touched = n
        course.hold(masks)
        self.teach(course, case, (x, y), [self.forget_pass(case), self.retain_pass(case)], rng)
        chosen, total = (sum(int(f(m)) for m in masks.values()) for f in (torch.sum, torch.numel))
        note = f"{chosen} of {total} weights may change"
        return course.finish(f"all {self.epochs} epochs done", note)

    def salient(self, course: Course, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return masks of the weights that may change, by name.

        Args:
            course: Whose parameters are ranked.
            x: Features of the forget rows.
            y: The labels to forget, see `labels.to_forget`.
        """
        movable = {id(p) for p in course.parameters}
        names = [n for n, p in course.model.named_parameters() if id(p) in movable]
        with evaluating(course.model):
            gradient = mean_gradient(course.model, x, y)
        sizes = {name: gradient[name].abs() for name in names}
        return top(sizes, round(self.share * sum(g.numel() for g in sizes.values())))
