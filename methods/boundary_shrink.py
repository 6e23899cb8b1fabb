"""Boundary Shrink: each forget row is given to the class across its nearest boundary."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import NotApplicable
from forget_audit.methods._crossing import Attack, Bounds, likeliest, moved
from forget_audit.methods._settings import flag, number, one_of, refuse_unserved, whole
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping
from forget_audit.registry import method
from forget_audit.targets import evaluating
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import Case

RELEASED = {
    "least_steps": 1, "optimizer": "sgd", "lr": 1e-5, "bounds": (0.0, 1.0), "norms": "train",
    "exclude_true": False,
}  # fmt: skip
PRESETS = {
    "reference": RELEASED,
    "reference-weights": {**RELEASED, "reweigh": True},
    "reference-pgd": {**RELEASED, "attack": "pgd"},
    "reference-curvature": {**RELEASED, "curvature": 0.7},
}
SLOPE, BIAS, FACTOR = 5.0, -0.5, 3.0  # of the released weights
REACH = 0.9  # how far the released curvature looks


def row_weights(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the released weights: small where the model is sure of the adversarial label.

    `3 sigmoid(5 (q - p - .5))` with `p` the probability of the label and `q` that of the
    likeliest other class.

    Args:
        logits: Of the moved rows `(n, classes)`.
        labels: Their adversarial labels `(n,)`.
    """
    p = logits.softmax(1)
    own = p.gather(1, labels[:, None])[:, 0]
    other = p.scatter(1, labels[:, None], -1.0).amax(1)
    return FACTOR * torch.sigmoid(SLOPE * (other - own + BIAS))


def curvature(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return how much the slope of the mean loss changes a short way uphill from each row `(n,)`.

    Args:
        model: In whatever mode it is in; the result can be differentiated by its weights.
        x: Inputs `(n, ...)`.
        y: Classes `(n,)`.
    """
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(functional.cross_entropy(model(x), y), x)
    way = slope.sign()
    length = way.flatten(1).norm(dim=1).clamp(min=1e-7).reshape(-1, *[1] * (x.ndim - 1))
    far = functional.cross_entropy(model(x + REACH * way / length), y)
    near = functional.cross_entropy(model(x), y)
    (change,) = torch.autograd.grad(far - near, x, create_graph=True)
    sizes: torch.Tensor = change.flatten(1).norm(dim=1)
    return sizes


@method
@dataclass(frozen=True, kw_only=True)
class BoundaryShrink(Stepping):
    """Teach the model that each forget row is of the class to which it is closest.

    Each forget row is moved a little, uphill in the loss of its class, and the given model says
    what it takes the moved row for. The row itself is then trained with that label, so that the
    boundary of the forgotten class shrinks onto nothing. No retained row is read. Where the
    move was too short the model still names the row's own class; that answer would reinforce
    it, so the likeliest other class is taken. The report says how often the move succeeded.

    Args:
        epochs: Passes over the forget rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        epsilon: Largest change of each number of a row, in the space of the features.
        attack: `fgsm`, one step of that length, or `pgd`, several short ones.
        pgd_steps: Steps of `pgd`.
        pgd_step: Length of a step of `pgd`.
        bounds: Least and greatest number of a row, in the space of the features; none for no
            limits.
        exclude_true: Whether a row never gets its own class, nor a forgotten one of a class
            request.
        reweigh: Whether rows count less the surer the model is of their adversarial label.
        curvature: Weight of a penalty on changes of the loss's curvature around the rows.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If every class is excluded for some row.

    References:
        Chen, Gao, Liu, Peng and Wang (2023), Boundary Unlearning: Rapid Forgetting of Deep
        Networks via Shifting the Decision Boundary, https://arxiv.org/abs/2303.11570; code at
        https://github.com/TY-LEE-KR/Boundary-Unlearning-Code.

    Departures:
        The release keeps the row's own class where the move fails (`exclude_true=False`). It
        recomputes the labels at every step from the frozen model; without augmentation once is
        the same. It trains in training mode, so that batch statistics become those of the
        forgotten class; here they stay. It clamps to [0, 1] and rounds to 255 levels with a
        wrong mean of the blue channel; here `bounds` are in the space of the features, nothing
        is rounded, and by default nothing is clamped. Its SGD at 1e-5 does nothing to a small
        model; the default is Adam at 1e-3. Weights and curvature are options of the release and
        off by default there too. Verification: labels, weights and curvature compared with the
        closed form on softmax regression, settings with the public code; published figures not
        reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="boundary_shrink",
        title="Boundary Shrink",
        card="M13",
        paper="arXiv:2303.11570",
        needs=frozenset({"forget", "labels"}),
        scopes=frozenset({"instance", "class", "subclass"}),
        guarantee="none",
        presets=PRESETS,
        cost="a gradient of each forget row's features, then a pass over the forget rows per "
        "epoch; nothing is stored",
        summary="Teaches the model to take each row to forget for the class it is closest to.",
    )
    optimizer: Optimizer = "adam"
    lr: float = 1e-3
    epsilon: float = 0.1
    attack: Attack = "fgsm"
    pgd_steps: int = 5
    pgd_step: float = 8 / 255
    bounds: Bounds | None = None
    exclude_true: bool = True
    reweigh: bool = False
    curvature: float = 0.0
    norms: Norms = "eval"

    def __post_init__(self) -> None:
        super().__post_init__()
        number("epsilon", self.epsilon, above=0)
        one_of("attack", self.attack, get_args(Attack))
        whole("pgd_steps", self.pgd_steps, at_least=1)
        number("pgd_step", self.pgd_step, above=0)
        if self.bounds is not None:
            low, high = self.bounds
            number("bounds", low)
            number("bounds", high, above=low)
            object.__setattr__(self, "bounds", (low, high))
        flag("exclude_true", self.exclude_true)
        flag("reweigh", self.reweigh)
        number("curvature", self.curvature, at_least=0)
        one_of("norms", self.norms, get_args(Norms))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that takes the forget rows for their neighbours."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms])
        x, y = rows_tensors(case.forget, model)
        labels, logits = self.nearest(model, x, y, case)
        weights = row_weights(logits, labels) if self.reweigh else torch.ones_like(logits[:, 0])
        optimizer = self.make_optimizer(course)

        def loss(index: Index) -> torch.Tensor:
            each = functional.cross_entropy(course.model(x[index]), labels[index], reduction="none")
            total = (weights[index] * each).mean()
            if self.curvature:
                with evaluating(model):
                    before = curvature(model, x[index], y[index]).detach()
                apart = curvature(course.model, x[index], y[index]) - before
                total = total + self.curvature * apart.norm()
            return total

        for _ in range(self.epochs):
            course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)
        course.rows_touched += len(x)
        crossed = (logits.argmax(1) != y).double().mean()
        note = f"{crossed:.0%} of the moved rows were taken for another class"
        return course.finish(f"all {self.epochs} epochs done", note)

    def nearest(
        self, model: nn.Module, x: torch.Tensor, y: torch.Tensor, case: Case
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the adversarial label of each row `(n,)`, and the logits of the moved rows.

        Raises:
            NotApplicable: If every class is excluded for some row.
        """
        fine = self.attack == "pgd"
        steps, step = (self.pgd_steps, self.pgd_step) if fine else (1, self.epsilon)
        there = moved(model, x, y, epsilon=self.epsilon, steps=steps, step=step, bounds=self.bounds)
        with evaluating(model), torch.no_grad():
            logits = model(there)
        never = torch.zeros_like(logits, dtype=torch.bool)
        if self.exclude_true:
            never.scatter_(1, y[:, None], value=True)
            if case.scope == "class":
                never[:, list(case.classes)] = True
        if never.all(1).any():
            raise NotApplicable(
                f"boundary_shrink: expected another class for each forget row, found none of "
                f"{case.n_classes}; forget fewer classes or set exclude_true=False"
            )
        return likeliest(logits, never), logits
