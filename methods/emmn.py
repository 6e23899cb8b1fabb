"""EMMN: error-maximising noise for the forgotten class, error-minimising noise for the others."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss
from forget_audit.methods._noise import (
    Bounds,
    Reg,
    asked,
    fit_noise,
    limits,
    noise_objective,
    normal_noise,
)
from forget_audit.methods._settings import number, one_of, refuse_unserved, whole
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping
from forget_audit.registry import method
from forget_audit.targets import device_of
from forget_audit.training.loop import Index
from forget_audit.types import Case

# A port in the benchmark of JiT; three noises of each batch of four are used there.
PORT = {
    "epochs": 2, "batch_size": 256, "least_steps": 1, "lr": 1e-4, "noise_per_class": 3,
    "copies": 80, "max_steps": 25, "min_steps": 30, "bounds": None, "norms": "train",
}  # fmt: skip


@method
@dataclass(frozen=True, kw_only=True)
class Emmn(Stepping):
    """Train on noise alone: for the forgotten class what it is not, for the others what they are.

    For each forgotten class, noise is made that the model is most wrong about; for each other
    class, noise that the model is surest of. The model is then trained on both, each noise
    labelled with its class: the first kind overwrites the forgotten class, the second stands in
    for the retained rows. No row is read, only the shape of one. What stands in for the
    retained rows need not look like them, so accuracy on them may drop far.

    Args:
        epochs: Passes over the noise; 0 leaves the model as it is.
        batch_size: Most inputs in a step; a pass deals them into equal batches.
        least_steps: Fewest steps in a pass.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        noise_per_class: Inputs of noise for each class.
        copies: How often each of them occurs in a pass.
        max_steps: Steps of Adam on the error-maximising noise.
        min_steps: Steps of Adam on the error-minimising noise.
        noise_lr: Learning rate of both.
        lam: Weight of the size of the error-maximising noise against the model's error.
        reg: Size of an input: `sum_sq`, its summed squares, or `norm`, their root.
        bounds: Least and greatest value of the noise, in the space of the features; unbounded
            if none. The default is for features from 0 to 1.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the request names no class, or all of them.

    References:
        Chundawat, Tarun, Mandal and Kankanhalli (2023), Zero-Shot Machine Unlearning,
        https://arxiv.org/abs/2201.05629; code at
        https://github.com/ayu987/zero-shot-unlearning.

    Departures:
        The port uses three noises of each batch of four, 80 times each, unbounded, at a rate of
        1e-4, with batch statistics of noise, which destroy accuracy on data (`port`). On a
        small model such noise only draws every answer to the forgotten class. Our default keeps
        the noise within the range of the features, stops minimising before the error is zero,
        so that there is something to hold on to, trains for longer, and leaves batch norm in
        evaluation mode. The need for retained rows on the card is for the shape of a row alone:
        their values make no difference and their labels are not read. Verification: both
        objectives equal the closed form on softmax regression; steps and settings follow a
        description of the port; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="emmn",
        title="EMMN: noise for every class",
        card="M28",
        paper="arXiv:2201.05629",
        needs=frozenset({"retain"}),
        scopes=frozenset({"class"}),
        guarantee="none",
        presets={"port": PORT},
        cost="for each class some thirty gradients of a batch of noise, then passes over the noise",
        summary="Trains on made-up inputs alone: wrong ones for the class to forget, "
        "typical ones for the others.",
    )
    epochs: int = 20
    batch_size: int = 64
    optimizer: Optimizer = "adam"
    lr: float = 0.01
    noise_per_class: int = 32
    copies: int = 1
    max_steps: int = 25
    min_steps: int = 10
    noise_lr: float = 0.1
    lam: float = 0.1
    reg: Reg = "sum_sq"
    bounds: Bounds | None = (0.0, 1.0)
    norms: Norms = "eval"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("noise_per_class", "copies"):
            whole(name, getattr(self, name), at_least=1)
        for name in ("max_steps", "min_steps"):
            whole(name, getattr(self, name), at_least=0)
        number("noise_lr", self.noise_lr, above=0)
        number("lam", self.lam, at_least=0)
        one_of("reg", self.reg, get_args(Reg))
        object.__setattr__(self, "bounds", limits(self.bounds))
        one_of("norms", self.norms, get_args(Norms))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy trained on noise."""
        refuse_unserved(self.info, case)
        kept = sorted(set(range(case.n_classes)) - set(case.classes))
        if not kept or len(kept) == case.n_classes:
            raise NotApplicable(
                f"emmn needs a class request that names some of {case.n_classes} classes, found "
                f"{case.classes}; name the forgotten ones in case.classes"
            )
        course = Course(model, rng, [self.norms])
        if not self.epochs:
            return course.finish("all 0 epochs done")
        shape = case.retain.x.shape[1:]
        wrong, y_w = self.noise(model, case.classes, shape, rng, wrong=True)
        right, y_r = self.noise(model, kept, shape, rng, wrong=False)
        x, y = torch.cat([wrong, right]), torch.cat([y_w, y_r])
        optimizer = self.make_optimizer(course)

        def loss(index: Index) -> torch.Tensor:
            return label_loss(course.model(x[index]), y[index])

        every = np.tile(np.arange(len(x)), self.copies)
        for _ in range(self.epochs):
            batches = (every[b] for b in self.batches(len(every), rng))
            course.run(loss, batches, optimizer, norms=self.norms)
        hit = (asked(model, right).argmax(1) == y_r).float().mean().item()
        error = label_loss(asked(model, wrong), y_w).item()
        note = (
            f"noise: cross-entropy {error:.3g} for the forgotten classes, "
            f"{hit:.0%} answered as meant for the others"
        )
        return course.finish(f"all {self.epochs} epochs done", note)

    def noise(
        self,
        model: nn.Module,
        classes: tuple[int, ...] | list[int],
        shape: tuple[int, ...],
        rng: np.random.Generator,
        *,
        wrong: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return noise that the model is wrong, or right, about, and its labels.

        Args:
            model: Asked in evaluation mode; stays as it is.
            classes: Each of `noise_per_class` inputs.
            shape: Shape of an input.
            rng: Draws the standard normal that the noise starts from.
            wrong: Whether the error is maximised, with the size kept down.
        """
        labels = torch.tensor(classes, device=device_of(model))
        y = labels.repeat_interleave(self.noise_per_class)

        def objective(logits: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            if wrong:
                return noise_objective(logits, y, noise, self.lam, self.reg)
            return label_loss(logits, y)

        noise = fit_noise(
            model,
            normal_noise(len(y), shape, model, rng),
            objective,
            steps=self.max_steps if wrong else self.min_steps,
            lr=self.noise_lr,
            bounds=self.bounds,
        )
        return noise, y
