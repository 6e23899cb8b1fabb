"""UGradSL: ascent on smoothed labels, as long as the forget rows last."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.methods._settings import whole
from forget_audit.methods._smoothing import Smoothing
from forget_audit.methods._steps import Optimizer
from forget_audit.registry import method
from forget_audit.types import Case


@method
@dataclass(frozen=True, kw_only=True)
class UGradSl(Smoothing):
    """Climb the loss of over-sharp labels of the forget rows while descending on retained ones.

    A label is smoothed at a negative rate: its own class counts more than once and the others
    less than not at all. Climbing the cross-entropy with such labels lowers the own class harder
    than plain ascent does, and raises the others. Each step adds the cross-entropy of a batch
    of retained rows, to be descended. An epoch is a pass over the forget rows, so that it is
    short; most retained rows may never be seen.

    Args:
        epochs: Passes over the forget rows; 0 leaves the model as it is.
        batch_size: Most forget rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        p: Weight of the retained rows in a step, from 0 to 1.
        alpha: Smoothing rate; 0 is plain ascent, none gives each forget row its own: minus the
            share of retained rows of the step that are close to it.
        beta: Distance below which rows are close, of directions in the input of the last layer,
            from 0 (same) to 1 (opposite).
        norms: Batch norm in the steps: `train`, `eval` or `frozen`; each of the two batches is
            normalised on its own.
        retain_batch_size: Most retained rows in a step.

    Raises:
        ValueError: If a field is out of its range.

    References:
        Di et al. (2024), Label Smoothing Improves Machine Unlearning,
        https://arxiv.org/abs/2406.07698.

    Departures:
        Reconstructed, see the card: rates, `p` and the number of epochs are ours. The sign of
        the adaptive rate and the distance are our choice, and closeness is counted as a share of
        the retained batch. The paper's level of differential privacy rests on constants that
        cannot be observed and is not reported. Several labels are each smoothed towards one
        half; in an attribute request only that label is climbed (our adaptation).
        Verification: labels and steps equal the closed form, and at rate 0 those of NegGrad+;
        code not compared; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="ugradsl",
        title="UGradSL: ascent on smoothed labels",
        card="M11",
        paper="arXiv:2406.07698",
        needs=frozenset({"forget", "retain", "labels"}),
        scopes=frozenset({"instance", "class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"subclass", "attribute"}),
        guarantee="none",
        presets={"adaptive": {"alpha": None}},
        reconstructed="the formulas of loss and labels are known from descriptions of the paper; "
        "settings, distance and sign of the adaptive rate are ours",
        cost="per epoch a pass over the forget rows and a batch of retained rows a step; "
        "nothing is stored",
        summary="Trains backwards on exaggerated labels of the rows to forget, "
        "with some remaining rows to hold the rest.",
    )
    epochs: int = 5
    batch_size: int = 32
    optimizer: Optimizer = "adam"
    lr: float = 1e-3
    p: float = 0.7
    retain_batch_size: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("retain_batch_size", self.retain_batch_size, at_least=1)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that has climbed smoothed labels in passes over the forget rows."""
        return self.mix(model, case, rng, lead="forget", follow_size=self.retain_batch_size)
