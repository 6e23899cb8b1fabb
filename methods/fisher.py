"""Fisher forgetting: noise on the weights that the retained rows can spare."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import ModelError, NotApplicable
from forget_audit.methods._importance import Tensors, power_sums
from forget_audit.methods._layers import head
from forget_audit.methods._settings import Presets, flag, number, refuse_unserved
from forget_audit.methods._steps import Course
from forget_audit.registry import method
from forget_audit.targets import device_of, evaluating
from forget_audit.types import Case

SMALLEST = 1e-8


@method
@dataclass(frozen=True, kw_only=True)
class Fisher(Presets):
    """Add noise to each weight, more where the answers on retained rows depend on it less.

    How much they depend on a weight is the diagonal of its Fisher information over the model's
    own answers, so no labels are read. Noise hides what the forget rows left in directions that
    the retained rows do not need. The forgotten class's own row of the head is drawn anew near
    zero. How much noise is needed depends on model and data: a little too much destroys.

    Args:
        alpha: Strength of the noise: its variance at an inverse Fisher information of one.
        exponent: Power of the inverse Fisher information that the standard deviation follows:
            a half as in the public code, a quarter for the paper's robust solution.
        most: Largest inverse Fisher information.
        most_head: The same for the output layer.
        boost: Factor on the variance in the output layer, biases and normalisations.
        by_unit: Whether the weights into one unit share the mean of their variances.
        class_row: Whether the forgotten class's row of the head starts from zero.
        row_variance: Variance of the noise on that row.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If a class request names no class, or the output layer is not linear.

    References:
        Golatkar, Achille and Soatto (2020), Eternal Sunshine of the Spotless Net: Selective
        Forgetting in Deep Networks, https://arxiv.org/abs/1911.04933; code at
        https://github.com/AdityaGolatkar/SelectiveForgetting.

    Departures:
        The output layer is the last layer that runs, not every tensor with as many rows as there
        are classes. The quarter power is recalled, not checked against the text. With several
        labels the model's answers are independent yes and no, the forgotten label is left out of
        the information, and its row of the head is treated like that of a class (our
        adaptation). Noise is drawn for parameters alone; batch-norm statistics stay. The
        information is summed over all labels, exactly, in batches. Verification: the information
        equals the closed form on softmax regression and a loop over rows and labels; published
        figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="fisher",
        title="Fisher forgetting",
        card="M34",
        paper="arXiv:1911.04933",
        needs=frozenset({"retain", "architecture"}),
        scopes=frozenset({"instance", "class", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"attribute"}),
        guarantee="none",
        presets={
            "reference": {"alpha": 1e-6},
            "robust": {"exponent": 0.25},
        },
        reconstructed="the exponent of the paper's robust solution",
        cost="a gradient of each retained row for each output",
        errata=("E19",),
        summary="Adds noise to the weights that the remaining rows need least.",
    )
    alpha: float = 1e-6
    exponent: float = 0.5
    most: float = 1e3
    most_head: float = 1e2
    boost: float = 10.0
    by_unit: bool = True
    class_row: bool = True
    row_variance: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("alpha", "row_variance", "boost", "exponent"):
            number(name, getattr(self, name), at_least=0)
        for name in ("most", "most_head"):
            number(name, getattr(self, name), above=0)
        for name in ("by_unit", "class_row"):
            flag(name, getattr(self, name))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy with noise on its weights."""
        refuse_unserved(self.info, case)
        course = Course(model, rng)
        forgotten = outputs(case)
        x = torch.tensor(np.asarray(case.retain.x), device=device_of(model))
        with evaluating(course.model):
            try:
                needed = case.n_classes if self.class_row and forgotten else None
                layer, _ = head(course.model, case.retain.x, needed)
            except ModelError as error:
                raise NotApplicable(f"fisher needs a linear output layer: {error}") from error
            kept = [k for k in range(case.n_classes) if k != case.attribute]
            information = fisher_information(course.model, x, kept, several=case.multi_label)
        course.rows_touched = len(x) * len(kept)
        variance = self.variance(information, layer)
        prefix = f"{layer}." if layer else ""
        weights = dict(course.model.named_parameters())
        with torch.no_grad():
            for name, spread in variance.items():
                weight = weights[name]
                if self.class_row and name in (f"{prefix}weight", f"{prefix}bias"):
                    weight[forgotten] = 0
                    spread[forgotten] = self.row_variance
                noise = torch.from_numpy(rng.standard_normal(tuple(weight.shape)))
                weight.add_((spread.sqrt() * noise.to(spread.device)).to(weight.dtype))
        widest = max(float(spread.sqrt().max()) for spread in variance.values())
        note = f"standard deviation of the noise up to {widest:.3g}"
        return course.finish("noise added once", note)

    def variance(self, information: Tensors, layer: str) -> Tensors:
        """Return the variance of the noise for each weight.

        Args:
            information: Fisher information by name.
            layer: Name of the output layer.
        """
        prefix = f"{layer}." if layer else ""
        found = {}
        for name, values in information.items():
            at_head = name in (f"{prefix}weight", f"{prefix}bias")
            inverse = (1 / (values + SMALLEST)).clamp(max=self.most_head if at_head else self.most)
            spread = self.alpha * inverse ** (2 * self.exponent)
            if self.by_unit and spread.ndim > 1:
                inputs = tuple(range(1, spread.ndim))
                spread = spread.mean(inputs, keepdim=True).expand_as(spread)
            found[name] = spread * (self.boost if at_head or spread.ndim == 1 else 1.0)
        return found


def outputs(case: Case) -> list[int]:
    """Return the outputs that are to be forgotten; none for single rows.

    Raises:
        NotApplicable: If a class request names no class.
    """
    if case.scope == "class" and not case.classes:
        raise NotApplicable(
            "fisher expected the forgotten classes, found none in the class request; name them "
            "in case.classes"
        )
    return [case.attribute] if case.attribute is not None else list(case.classes)


def fisher_information(
    model: nn.Module, x: torch.Tensor, outputs: list[int], *, several: bool
) -> Tensors:
    """Return the diagonal Fisher information over the model's own answers, float64.

    The mean over rows of `sum_y p(y) (d log p(y))^2`, exact: one class of all outputs, or
    independent yes and no of the given ones.

    Args:
        model: In evaluation mode.
        x: Features.
        outputs: Positions of the outputs that count.
        several: Whether there are several labels a row.
    """

    def of_output(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if several:
            logit = logits.gather(1, y.unsqueeze(1)).squeeze()
            p = logit.detach().sigmoid()
            return (p * (1 - p)).sqrt() * logit
        log_p = functional.log_softmax(logits, dim=1).gather(1, y.unsqueeze(1)).squeeze()
        return (log_p.detach() / 2).exp() * log_p

    sums: Tensors = {}
    for output in outputs:
        y = torch.full((len(x),), output, dtype=torch.int64, device=x.device)
        for name, squares in power_sums(model, x, y, of_output).items():
            sums[name] = sums[name] + squares if name in sums else squares
    return {name: squares / len(x) for name, squares in sums.items()}
