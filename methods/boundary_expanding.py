"""Boundary Expanding: the forget rows are given to a class that is then removed."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import ModelError, NotApplicable
from forget_audit.methods._layers import head, watching_input
from forget_audit.methods._settings import number, one_of, refuse_unserved
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping
from forget_audit.registry import method
from forget_audit.seeds import draw_seed, seeded_torch
from forget_audit.training.loop import Index
from forget_audit.types import Case

PRESETS = {
    "reference": {"least_steps": 1, "optimizer": "sgd", "lr": 1e-5, "norms": "train"},
}


@method
@dataclass(frozen=True, kw_only=True)
class BoundaryExpanding(Stepping):
    """Teach the model that the forget rows are of a class of their own, and remove that class.

    The output layer gets one more output, the shadow class, next to the old ones, which stay as
    they are. The forget rows are trained with it as their label, so that room is made for it at
    the cost of their old class. Then the output is dropped and the rows fall to whatever class
    is left. Neither labels nor retained rows are read. It forgets less than Boundary Shrink.

    Args:
        epochs: Passes over the forget rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate; one so small that the shadow class never gets ahead forgets little.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        init_scale: Factor of the usual initial weights of the shadow class.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the output layer is not linear.

    References:
        Chen, Gao, Liu, Peng and Wang (2023), Boundary Unlearning: Rapid Forgetting of Deep
        Networks via Shifting the Decision Boundary, https://arxiv.org/abs/2303.11570; code at
        https://github.com/TY-LEE-KR/Boundary-Unlearning-Code.

    Departures:
        The shadow class is an output beside the model instead of a wider last layer; the
        gradients are the same, and heads of any name, tied or shared, are left in place. It is
        always removed: a port that keeps it has no accuracy on the forget rows by construction.
        The release trains in training mode, so that batch statistics become those of the
        forgotten class; here they stay. Its SGD at 1e-5 does nothing to a small model; the
        default is Adam at 1e-3. Requests of single rows are our adaptation. Verification: one
        step equals that of a model with a wider last layer; settings and order compared with the
        public code; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="boundary_expanding",
        title="Boundary Expanding",
        card="M14",
        paper="arXiv:2303.11570",
        needs=frozenset({"forget", "architecture"}),
        scopes=frozenset({"instance", "class"}),
        adapted=frozenset({"instance"}),
        guarantee="none",
        presets=PRESETS,
        cost="a pass over the forget rows per epoch; nothing is stored",
        summary="Teaches the model to take the rows to forget for a new class, "
        "and then removes that class.",
    )
    optimizer: Optimizer = "adam"
    lr: float = 1e-3
    init_scale: float = 1.0
    norms: Norms = "eval"

    def __post_init__(self) -> None:
        super().__post_init__()
        number("init_scale", self.init_scale, at_least=0)
        one_of("norms", self.norms, get_args(Norms))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that was taught the shadow class, without it."""
        refuse_unserved(self.info, case)
        try:
            name, last = head(model, case.forget.x)
        except ModelError as error:
            raise NotApplicable(
                f"boundary_expanding adds an output to the head: {error}"
            ) from error
        course = Course(model, rng, [self.norms])
        x = torch.tensor(np.asarray(case.forget.x), device=last.weight.device)
        shadow = self.shadow(last, rng)
        course.parameters += shadow.parameters()
        optimizer = self.make_optimizer(course)

        def loss(index: Index) -> torch.Tensor:
            old = course.model(x[index])
            wide = torch.cat([old, shadow(features())], dim=1)
            target = torch.full_like(wide[:, 0], old.shape[1], dtype=torch.int64)
            return functional.cross_entropy(wide, target)

        with watching_input(course.model.get_submodule(name)) as features:
            for _ in range(self.epochs):
                course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)
        return course.finish(f"all {self.epochs} epochs done")

    def shadow(self, last: nn.Linear, rng: np.random.Generator) -> nn.Linear:
        """Return the new output, beside the output layer `last`."""
        with seeded_torch(draw_seed(rng)):
            shadow = nn.Linear(last.in_features, 1, bias=last.bias is not None).to(last.weight)
        with torch.no_grad():
            for weight in shadow.parameters():
                weight.mul_(self.init_scale)
        return shadow
