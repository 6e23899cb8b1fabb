"""Layer-wise partial updates up the loss of the forget rows."""

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.labels import label_loss, to_forget
from forget_audit.methods._partial import Partial
from forget_audit.methods._settings import number, refuse_unserved
from forget_audit.methods._steps import Course
from forget_audit.registry import method
from forget_audit.targets import evaluating
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import Case


@method
@dataclass(frozen=True, kw_only=True)
class LpuAscent(Partial):
    """Climb the loss of the forget rows, changing a part of each layer at a time.

    The mean cross-entropy of the forget rows is maximised, but in an epoch only a share of the
    weights of a layer may change: fewest in the first layer, all in the last, for ascent does
    most harm to the general features of the first layers. After each epoch the selection moves
    on in a circle. The climb ends once the forget rows are classified as wrongly as wanted,
    which is looked at before each step; no held-out row takes part in the decision.

    Args:
        epochs: Most passes over the forget rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`. Weights out of selection never move, but momentum
            and adaptive rates remember what their gradients were when they were in it.
        lr: Learning rate.
        momentum: Of `sgd`; none by default.
        weight_decay: Of any of them; none by default.
        density_first: Share of the weights of the first layer that an epoch may change; layers
            between the first and the last follow linearly.
        density_last: Share in the last layer.
        shift: How far the selection moves on after an epoch: by its own size (`block`) or by
            `one` weight.
        prune_bias: Whether biases are selected from like weights, or all may change.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`; on forget rows alone
            `train` would spoil the statistics.
        target: Share of forget rows classified as labelled at which the climb ends; none for no
            end before the last epoch. With several labels a row it ends at chance instead, when
            the loss of the forgotten labels reaches `log(2)`.
        clip_norm: Largest norm of the gradient of the selected weights; unlimited if none.

    Raises:
        ValueError: If a field is out of its range.

    References:
        Gogineni and Nadimi (2025), Efficient Knowledge Deletion from Trained Models through
        Layer-wise Partial Machine Unlearning, https://arxiv.org/abs/2403.07611, Algorithm 3;
        no public code found.

    Departures:
        The paper gives neither rate, epochs, shares nor the size of the shift, and takes one
        step an epoch on all forget rows at once: `preset("full_batch")`. Its shares grow with
        depth here and shrink in its method of flipped labels; both are argued for, neither is
        compared, so set them as you like. Ours are shares from .3 to 1, a shift by the size of
        the selection, biases and normalisations free, batch norm in evaluation mode, and a rate
        that moves a small model that is sure of its rows, with clipped gradients, since ascent has
        no bottom. The plain form is `preset("naive")`.
        The paper credits it to a paper on influence functions, wrongly. Where several labels
        are at stake, being wrong on all of them would tell as much as being right, so the climb
        ends at chance (our adaptation). Verification: all weights free equals plain ascent bit
        for bit; sign, circles, shares and untouched layers checked; published figures not
        reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="lpu_ascent",
        title="Layer-wise partial updates by gradient ascent",
        card="M22",
        paper="arXiv:2403.07611",
        needs=frozenset({"forget", "labels"}),
        scopes=frozenset({"instance", "class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"attribute"}),
        guarantee="none",
        presets={
            "full_batch": {"batch_size": 2**31, "least_steps": 1},
            "naive": {"density_first": 1.0, "density_last": 1.0},
        },
        cost="a pass over the forget rows an epoch, and a look at all of them before each step",
        reconstructed="rate, epochs, shares by layer, size and axis of the shift",
        errata=("E42", "E43", "E46", "E48"),
        summary="Trains backwards on the rows to forget, changing only a part of each layer at "
        "a time.",
    )
    batch_size: int = 32
    lr: float = 0.02
    momentum: float = 0.0
    density_first: float = 0.3
    target: float | None = 0.0
    clip_norm: float | None = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target is not None:
            number("target", self.target, at_least=0)
        if self.clip_norm is not None:
            number("clip_norm", self.clip_norm, above=0)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that has climbed the loss of the forget rows."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms])
        x, y = rows_tensors(case.forget, model)
        y = to_forget(case, y)
        optimizer = self.make_optimizer(course)
        wheel = self.wheel(course.model, case.forget.x, rng)

        def loss(index: Index) -> torch.Tensor:
            return -label_loss(course.model(x[index]), y[index])

        def go_on(_: Index) -> bool:
            return self.target is None or not reached(course.model, x, y, self.target)

        for epoch in range(self.epochs):
            course.hold(wheel.free(epoch))
            batches = takewhile(go_on, self.batches(len(x), rng))
            course.run(loss, batches, optimizer, norms=self.norms, clip_norm=self.clip_norm)
            if not go_on(np.arange(0)):
                goal = "loss at log(2)" if case.multi_label else f"accuracy at {self.target:g}"
                return course.finish(f"forget {goal} in epoch {epoch + 1}")
        return course.finish(f"all {self.epochs} epochs done")


def reached(model: nn.Module, x: torch.Tensor, y: torch.Tensor, target: float) -> bool:
    """Return whether rows are classified as wrongly as wanted, or several labels at chance."""
    with evaluating(model), torch.no_grad():
        logits = model(x)
    if y.ndim > 1:
        return bool(label_loss(logits, y) >= math.log(2))
    return bool((logits.argmax(1) == y).double().mean() <= target)
