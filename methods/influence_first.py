"""First-order influence unlearning: one gradient step that takes the rows out of the loss."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.methods._influence import Influence
from forget_audit.methods._settings import number, refuse_unserved
from forget_audit.methods._steps import Course
from forget_audit.registry import method
from forget_audit.types import Case


@method
@dataclass(frozen=True, kw_only=True)
class InfluenceFirst(Influence):
    """Take one step against what the forget rows, and for what their replacements, would teach.

    The weights move by `-tau` times the difference of two summed gradients: that of the
    replacements minus that of the forget rows. Without replacements this is one step of ascent
    on the forget rows; with other labels or with some features at 0 it corrects instead of
    deleting. In an attribute request the rows stay and their label becomes unknown, which is
    the exchange that the request asks for. Gradients are summed, so the step grows with the
    number of rows.

    Args:
        replacement: What stands in for the forget rows: `none`; `labels`, the same rows with
            random other labels; or `features`, the same rows with some features at 0.
        columns: Positions of those features in the flattened row.
        layers: Only so many last weight layers change; 0 for all.
        tau: Length of the step; 0 leaves the model as it is.

    Raises:
        ValueError: If a field is out of its range.

    References:
        Warnecke, Pirch, Wressnegger and Rieck (2023), Machine Unlearning of Features and
        Labels, https://arxiv.org/abs/2108.11577; code at
        https://github.com/alewarne/MachineUnlearning.

    Departures:
        The paper picks `tau` on validation rows; its CIFAR demo takes 2e-5 and changes the last
        six weight tensors, as preset `paper` does. A small model that is sure of its rows has
        tiny gradients, so that our default is much larger. The replacements are made here from
        the request and cannot be handed in. Batch norm is in evaluation mode. Verification:
        compared with the formula in the public code; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="influence_first",
        title="Influence unlearning, first order",
        card="M37",
        paper="arXiv:2108.11577",
        needs=frozenset({"forget", "labels"}),
        scopes=frozenset({"instance", "class", "attribute"}),
        heads=frozenset({"single", "multi"}),
        guarantee="none",
        presets={"paper": {"tau": 2e-5, "layers": 3}},
        cost="a gradient pass over the forget rows and one over their replacements",
        summary="Takes back, in one step, what the rows to forget would teach the model now.",
    )
    tau: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        number("tau", self.tau, at_least=0)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that took the step."""
        refuse_unserved(self.info, case)
        course = Course(model, rng)
        if not self.tau:
            return course.finish("a step of length 0")
        surface = self.surface(model, case)
        difference, course.rows_touched = self.difference(surface, model, case, rng)
        note = self.settle(surface, surface.start - self.tau * difference, course, case)
        return course.finish("one step", note)
