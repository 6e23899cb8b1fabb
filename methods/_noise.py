"""Inputs of noise that a model is made wrong, or right, about; what methods that use them share."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss
from forget_audit.methods._settings import number, one_of, whole
from forget_audit.methods._steps import Norms, Optimizer, Stepping
from forget_audit.targets import device_of, evaluating
from forget_audit.training.loop import Index, Recipe, descend
from forget_audit.types import UNKNOWN, Case, Labels

Reg = Literal["sum_sq", "norm"]
Bounds = tuple[float, float]
Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def noise_objective(
    logits: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor, lam: float, reg: Reg
) -> torch.Tensor:
    """Return what error-maximising noise minimises: `-loss + lam * size`, averaged over inputs.

    Args:
        logits: The model's answers `(n, outputs)` to the noise.
        labels: What each input is to be unlike: classes `(n,)` or a label matrix.
        noise: The inputs `(n, ...)`.
        lam: Weight of the size.
        reg: Size of an input: `sum_sq`, its summed squares, or `norm`, their root.
    """
    squares = noise.flatten(1).square().sum(1)
    size = squares if reg == "sum_sq" else squares.sqrt()
    return lam * size.mean() - label_loss(logits, labels)


def fit_noise(
    model: nn.Module,
    start: torch.Tensor,
    objective: Objective,
    *,
    steps: int,
    lr: float,
    bounds: Bounds | None = None,
) -> torch.Tensor:
    """Return inputs that minimise an objective of the model's answers to them.

    A copy of the model is asked, in evaluation mode and without gradients by its weights.

    Args:
        model: Stays as it is, buffers included.
        start: What the noise starts from `(n, ...)`.
        objective: Of logits and noise.
        steps: Steps of Adam.
        lr: Its learning rate.
        bounds: Least and greatest value of the noise; unbounded if left out.
    """
    judge = copy.deepcopy(model).eval().requires_grad_(False)
    low, high = bounds or (-math.inf, math.inf)
    noise = start.clamp(low, high).requires_grad_()

    def loss(_: Index) -> torch.Tensor:
        return objective(judge(noise), noise)

    optimizer = Recipe(optimizer="adam", lr=lr).make_optimizer([noise])
    for _ in range(steps):
        descend(loss, [np.arange(len(noise))], optimizer)
        with torch.no_grad():
            noise.clamp_(low, high)
    return noise.detach()


def asked(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return the logits of `inputs` in evaluation mode, without gradients."""
    with evaluating(model), torch.no_grad():
        logits: torch.Tensor = model(inputs)
    return logits


def normal_noise(
    n: int, shape: tuple[int, ...], model: nn.Module, rng: np.random.Generator
) -> torch.Tensor:
    """Return `n` inputs of standard normal noise on the device of `model`."""
    return torch.from_numpy(rng.standard_normal((n, *shape), dtype=np.float32)).to(device_of(model))


def limits(value: object) -> Bounds | None:
    """Return the field `bounds` as a pair, or none; JSON brings a list."""
    if value is None:
        return None
    numbers = value if isinstance(value, (list, tuple)) else ()
    fits = all(isinstance(v, (int, float)) and math.isfinite(v) for v in numbers)
    if not fits or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise ValueError(
            f"bounds: expected two finite numbers, the lesser first, found {value!r}; "
            "leave it out for the default"
        )
    return numbers[0], numbers[1]


def sample(labels: Labels, most: int, rng: np.random.Generator) -> Index:
    """Return the positions of up to `most` rows of each class, drawn at random.

    Of rows with several labels, `most` for each label are drawn, whatever their values.
    """
    order = rng.permutation(len(labels))
    if labels.ndim == 2:
        return np.sort(order[: most * labels.shape[1]])
    parts = [order[labels[order] == label][:most] for label in np.unique(labels)]
    return np.sort(np.concatenate(parts))


def forgotten_labels(case: Case) -> tuple[int, ...]:
    """Return the classes of a class request, or the labels of the forget rows of a sub-class.

    Raises:
        NotApplicable: If a class request names none.
    """
    found = case.classes if case.scope == "class" else np.unique(case.forget.y).tolist()
    if not found:
        raise NotApplicable(
            "expected the forgotten classes, found none in the class request; name them in "
            "case.classes"
        )
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Impairing(Stepping):
    """The fields of methods that train on error-maximising noise and some retained rows.

    Args:
        epochs: Rounds; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate of impairing.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        impair_passes: Impair passes in a round.
        retain_per_class: Most retained rows of each class or label.
        noise_per_class: Inputs of noise for each forgotten class or value of a label.
        copies: How often each of them occurs in an impair pass.
        noise_steps: Steps of Adam on the noise.
        noise_lr: Its learning rate.
        lam: Weight of the size of the noise against the model's error.
        reg: Size of an input: `sum_sq`, its summed squares, or `norm`, their root.
        bounds: Least and greatest value of the noise.
        impair_norms: Batch norm in impair steps: `train`, `eval` or `frozen`.
    """

    epochs: int = 1
    batch_size: int = 32
    optimizer: Optimizer = "adam"
    lr: float = 0.02
    impair_passes: int = 1
    retain_per_class: int = 1000
    noise_per_class: int = 32
    copies: int = 4
    noise_steps: int = 40
    noise_lr: float = 0.1
    lam: float = 0.1
    reg: Reg = "sum_sq"
    bounds: Bounds | None = None
    impair_norms: Norms = "eval"

    def __post_init__(self) -> None:
        super().__post_init__()
        number("noise_lr", self.noise_lr, above=0)
        for name in ("impair_passes", "noise_steps"):
            whole(name, getattr(self, name), at_least=0)
        for name in ("retain_per_class", "noise_per_class", "copies"):
            whole(name, getattr(self, name), at_least=1)
        number("lam", self.lam, at_least=0)
        one_of("reg", self.reg, get_args(Reg))
        object.__setattr__(self, "bounds", limits(self.bounds))
        one_of("impair_norms", self.impair_norms, get_args(Norms))

    def noise_labels(self, case: Case) -> Labels:
        """Return what each input of noise is to be unlike, and is labelled with later.

        A forgotten class each, or in an attribute request each value of the forgotten label,
        the other labels being `UNKNOWN`.
        """
        if case.attribute is None:
            return np.repeat(np.asarray(forgotten_labels(case)), self.noise_per_class)
        values = np.full((2, case.n_classes), UNKNOWN)
        values[:, case.attribute] = (0, 1)
        return np.repeat(values, self.noise_per_class, axis=0)

    def learn_noise(
        self, model: nn.Module, labels: Labels, shape: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, str]:
        """Return noise that the model takes for anything but its label, the labels, and a note.

        Args:
            model: The model that is to be wrong; stays as it is.
            labels: One entry an input.
            shape: Shape of an input.
            rng: Draws the standard normal that the noise starts from.
        """
        start = normal_noise(len(labels), shape, model, rng)
        y = torch.from_numpy(labels).to(start.device)

        def objective(logits: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            return noise_objective(logits, y, noise, self.lam, self.reg)

        noise = fit_noise(
            model,
            start,
            objective,
            steps=self.noise_steps,
            lr=self.noise_lr,
            bounds=self.bounds,
        )
        before, after = (asked(model, inputs) for inputs in (start, noise))
        chance = math.log(before.shape[1] if y.ndim == 1 else 2)
        note = (
            f"noise: cross-entropy {label_loss(before, y).item():.3g} before and "
            f"{label_loss(after, y).item():.3g} after {self.noise_steps} steps, "
            f"at chance {chance:.3g}"
        )
        return noise, y, note
