"""Linear filtration: mix the logits so that the forgotten class looks like no class."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import ModelError, NotApplicable
from forget_audit.methods._layers import head
from forget_audit.methods._noise import sample
from forget_audit.methods._settings import Presets, number, one_of, refuse_unserved, whole
from forget_audit.methods._steps import Course
from forget_audit.registry import method
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Labels, Rows

Variant = Literal["naive", "normalization", "randomization", "zeroing"]


@method
@dataclass(frozen=True, kw_only=True)
class LinearFiltration(Presets):
    """Replace the output layer so that rows of the forgotten class get a meaningless answer.

    Let `A` hold the mean logits of each class, one a column. The filter is the linear map that
    leaves the means of the kept classes as they are, without the forgotten logit, and sends the
    mean of the forgotten class to a vector that says nothing. It is multiplied into the output
    layer. Everything before that stays: the features still tell the forgotten class apart, and
    whoever reads them, or trains a new output layer, finds it. This is weak unlearning.

    Args:
        variant: Where the mean of a forgotten class goes: `normalization`, its own kept logits,
            shifted so that their mean is that of the kept classes' mean logits; `randomization`,
            a standard normal vector; `zeroing`, zero; `naive`, its own kept logits, which only
            drops the forgotten logit.
        per_class: Most rows of each class to average logits over.
        ridge: Regularisation of the inverse of the mean logits, as a share of their mean square.
        strength: Share of the way from the given output layer to the filtered one; 0 leaves the
            model as it is.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the request names no class or all of them, some class has no row, or
            the logits are not the output of a linear layer with a bias that may change.

    References:
        Baumhauer, Schöttle and Zeppelzauer (2022), Machine Unlearning: Linear Filtration for
        Logit-based Classifiers, https://arxiv.org/abs/2002.02730; code at
        https://github.com/th-b/linear_filtration.

    Departures:
        The published filter returns one logit fewer for each forgotten class. Models must stay
        comparable here, so these logits are put back as constants, below every other logit of
        the rows used by as much as those spread. Membership in the forgotten class therefore
        cannot be read from its own logit, but may be from the others. The release inverts
        plainly; mean logits are often nearly dependent, as the softmax ignores a common shift,
        so our default regularises. `strength` is ours. Verification: the filter maps means as
        stated, and equals the formulas of the public code; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="linear_filtration",
        title="Linear filtration of the logits",
        card="M40",
        paper="arXiv:2002.02730",
        needs=frozenset({"forget", "retain", "labels", "architecture"}),
        scopes=frozenset({"class"}),
        guarantee="none",
        presets={"reference": {"ridge": 0.0, "per_class": 1_000_000}},
        cost="a forward pass over some rows of each class and one small matrix inverse",
        summary="Rewires the last layer so that the class to forget gets a meaningless answer; "
        "the layers before it stay as they are.",
    )
    variant: Variant = "normalization"
    per_class: int = 100
    ridge: float = 1e-3
    strength: float = 1.0

    def __post_init__(self) -> None:
        one_of("variant", self.variant, get_args(Variant))
        whole("per_class", self.per_class, at_least=1)
        number("ridge", self.ridge, at_least=0)
        number("strength", self.strength, at_least=0)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy with a filtered output layer."""
        refuse_unserved(self.info, case)
        gone = sorted(set(case.classes))
        kept = [k for k in range(case.n_classes) if k not in gone]
        if not gone or not kept:
            raise NotApplicable(
                "linear_filtration needs a class request that names some of "
                f"{case.n_classes} classes, found {case.classes}; name them in case.classes"
            )
        course = Course(model, rng)
        if not self.strength:
            return course.finish("nothing to do at strength 0")
        rows = case.training
        rows = rows.take(sample(rows.y, self.per_class, rng))
        target = Target(course.model)
        logits = target.logits(rows)
        last = _output_layer(course.model, target, rows)
        course.rows_touched = len(rows)
        means = class_means(logits, rows.y, case.n_classes)
        matrix = self.filtration(means, kept, gone, rng)
        _absorb(last, matrix, kept, _floor(logits @ matrix.T), self.strength)
        return course.finish(
            f"output layer filtered on {len(rows)} rows",
            f"mean logits have condition number {np.linalg.cond(means):.3g}",
        )

    def filtration(
        self, means: Floats, kept: list[int], gone: list[int], rng: np.random.Generator
    ) -> Floats:
        """Return the filter `(kept classes, classes)`.

        Args:
            means: Mean logits `(classes, classes)`, one class a column.
            kept: Classes that stay.
            gone: Classes to forget.
            rng: Draws for `randomization`.
        """
        if self.variant == "naive":
            return np.eye(len(means))[kept]
        wanted = means[kept].copy()
        for column in gone:
            if self.variant == "normalization":
                own = wanted[:, column]
                wanted[:, column] = own - own.mean() + wanted[:, kept].mean()
            elif self.variant == "randomization":
                wanted[:, column] = rng.standard_normal(len(kept))
            else:
                wanted[:, column] = 0
        square = means @ means.T
        damping = self.ridge * np.trace(square) / len(means)
        if not damping:
            return np.asarray(wanted @ np.linalg.inv(means))
        solved = np.linalg.solve(square + damping * np.eye(len(means)), means @ wanted.T)
        return np.asarray(solved.T)


def class_means(logits: Floats, y: Labels, n_classes: int) -> Floats:
    """Return the mean logits of each class, one class a column.

    Raises:
        NotApplicable: If a class has no row.
    """
    missing = sorted(set(range(n_classes)) - set(y.tolist()))
    if missing:
        raise NotApplicable(
            f"linear_filtration needs rows of each class, found none of {missing[:3]}; "
            "give the case rows of all classes"
        )
    return np.stack([logits[y == k].mean(axis=0) for k in range(n_classes)], axis=1)


def _output_layer(model: nn.Module, target: Target, rows: Rows) -> nn.Linear:
    try:
        name, last = head(model, rows.x)
    except ModelError as error:
        raise NotApplicable(f"linear_filtration needs a linear output layer: {error}") from error
    if last.bias is None or not (last.weight.requires_grad and last.bias.requires_grad):
        raise NotApplicable(
            "linear_filtration needs an output layer with a bias that may change, found "
            f"{name!r} without; add a bias and call requires_grad_(True)"
        )
    weight, bias = (p.detach().cpu().double().numpy() for p in (last.weight, last.bias))
    logits = target.logits(rows)
    apart = np.abs(target.features(rows, name) @ weight.T + bias - logits).max()
    if apart > 1e-3 * (1 + np.abs(logits).max()):
        raise NotApplicable(
            f"linear_filtration needs an output layer whose outputs are the logits, found {name!r} "
            "with something after it; leave it out"
        )
    return last


def _floor(logits: Floats) -> float:
    """Return a number below all logits by as much as they spread."""
    return float(2 * logits.min() - logits.max())


def _absorb(
    last: nn.Linear,
    matrix: npt.NDArray[np.float64],
    kept: list[int],
    constant: float,
    strength: float,
) -> None:
    """Multiply the filter into the layer in place; logits that are not kept become constant."""
    with torch.no_grad():
        for parameter, other in ((last.weight, 0.0), (last.bias, constant)):
            old = parameter.double()
            new = torch.full_like(old, other)
            new[kept] = torch.from_numpy(matrix).to(old) @ old
            parameter.copy_(old + strength * (new - old))
