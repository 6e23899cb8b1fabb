"""Layer-wise partial updates towards wrong labels."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.labels import label_loss, to_forget
from forget_audit.methods._partial import Partial
from forget_audit.methods._relabel import random_labels
from forget_audit.methods._settings import refuse_unserved
from forget_audit.methods._steps import Course
from forget_audit.registry import method
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import UNKNOWN, Case


@method
@dataclass(frozen=True, kw_only=True)
class LpuFlip(Partial):
    """Teach wrong labels for the forget rows, changing a part of each layer at a time.

    Each forget row gets a wrong label, once and at random. The cross-entropy with these labels
    is minimised on the forget rows alone, but in an epoch only a share of the weights of a
    layer may change: all in the first layer, fewest in the last, for wrong labels do most harm
    where the classes are told apart. After each epoch the selection moves on in a circle, so
    that in time every weight has its turn.

    Args:
        epochs: Passes over the forget rows; 0 leaves the model as it is.
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

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If some forget row is left without a wrong class.

    References:
        Gogineni and Nadimi (2025), Efficient Knowledge Deletion from Trained Models through
        Layer-wise Partial Machine Unlearning, https://arxiv.org/abs/2403.07611, Algorithm 2;
        no public code found.
        Graves, Nagisetty and Ganesh (2021), Amnesiac Machine Learning,
        https://arxiv.org/abs/2010.10981, for the plain form.

    Departures:
        The paper gives neither rate, epochs, shares nor the size of the shift, and takes one
        step an epoch on all forget rows at once: `preset("full_batch")`. Ours are batches, a
        selection that holds for an epoch, shares from 1 to .3, a shift by the size of the
        selection, biases and normalisations free, batch norm in evaluation mode, and rate and
        epochs that suit a small model. The plain form is `preset("naive")`. Labels of a matrix
        are flipped, as the only wrong label of a bit is its opposite (our adaptation): an
        inverted answer tells as much as the right one. Verification: all weights free equals
        plain steps bit for bit; circles, shares and untouched layers checked; published figures
        not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="lpu_flip",
        title="Layer-wise partial updates with flipped labels",
        card="M21",
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
        cost="a pass over the forget rows an epoch",
        reconstructed="rate, epochs, shares by layer, size and axis of the shift",
        errata=("E42", "E43", "E48"),
        summary="Teaches wrong answers for the rows to forget, changing only a part of each "
        "layer at a time.",
    )
    batch_size: int = 32
    lr: float = 3e-3
    momentum: float = 0.0
    density_last: float = 0.3

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that was taught wrong labels for the forget rows."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms])
        x, y = rows_tensors(case.forget, model)
        if case.multi_label:
            y = to_forget(case, y)
            wrong = torch.where(y == UNKNOWN, UNKNOWN, 1 - y)
        else:
            wrong = torch.from_numpy(random_labels(case, rng, exclude_true=True)).to(y.device)
        optimizer = self.make_optimizer(course)
        wheel = self.wheel(course.model, case.forget.x, rng)

        def loss(index: Index) -> torch.Tensor:
            return label_loss(course.model(x[index]), wrong[index])

        for epoch in range(self.epochs):
            course.hold(wheel.free(epoch))
            course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)
        return course.finish(f"all {self.epochs} epochs done")
