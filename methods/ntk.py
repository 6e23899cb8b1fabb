"""NTK forgetting: go where the linearised network would have gone without the forget rows."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import NotApplicable
from forget_audit.methods._hessian import Surface
from forget_audit.methods._importance import sample_importance
from forget_audit.methods._settings import Presets, flag, number, one_of, refuse_unserved, whole
from forget_audit.methods._steps import Course
from forget_audit.registry import method
from forget_audit.training.loop import rows_tensors
from forget_audit.types import Case

Place = Literal["initial", "trained"]
Residual = Literal["softmax", "square"]

BLOCK = 512  # rows of a block of the kernel
SPREAD = 1e-8  # keeps the variance of the noise finite where the Fisher information is 0


@method
@dataclass(frozen=True, kw_only=True)
class Ntk(Presets):
    """Move the weights by what the forget rows contributed to a linearised training.

    A network that is linear in its weights, with the kernel of gradients it has at the start of
    training, has a closed form for where training ends: `w = -G (GᵀG + n decay)⁻¹ r`, with the
    derivatives `G` of all logits of all rows and the errors `r`. The weights move by the
    difference between the ends with and without the forget rows. A network moves further than
    its linearisation, so the difference is stretched: a trapezium of that step and the way that
    training went beyond the linearised one gives the factor. Noise may be added on top, wide
    where the retained rows do not mind.

    Args:
        linearize_at: `initial` weights, as published, or the `trained` ones.
        residual: Error of a row: `softmax` minus the one-hot label, or `square`, logits minus
            1 for the class and -1 for the others.
        decay: Weight decay of the linearised training, per row.
        stretch: Whether the trapezium sets the length of the step.
        strength: Factor on top; 0 leaves the model as it is.
        noise: Variance of the noise where the Fisher information of the retained rows is 1,
            inversely proportional elsewhere; 0 for none.
        most: Most rows times outputs, whose square is the size of the kernel.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If there are too many rows and outputs, or the record holds no initial
            weights of this architecture.

    References:
        Golatkar, Achille and Soatto (2020), Forgetting Outside the Box: Scrubbing Deep Networks
        of Information Accessible from Input-Output Observations,
        https://arxiv.org/abs/2003.02960; code at
        https://github.com/AdityaGolatkar/SelectiveForgetting.

    Departures:
        Noise is off; preset `reference` has the notebook's, with the Fisher information of the
        observed labels where the notebook takes the model's own, and without its averages over
        rows of a weight. The notebook has 475 retained and 25 forgotten images. Derivatives are
        taken in evaluation mode. The linearised step is much shorter than training's way, so
        most of the effect comes from the stretch, whose factor is in the notes; the published
        formula distinguishes the sign of the cosine of step and way, which amounts to its
        absolute value. Verification: linear regression equals the difference of two ridge
        solutions, and the factor the published formula; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="ntk",
        title="NTK forgetting",
        card="M36",
        paper="arXiv:2003.02960",
        needs=frozenset({"forget", "retain", "labels", "initial"}),
        scopes=frozenset({"instance", "class"}),
        guarantee="none",
        presets={
            "reference": {"noise": 1e-9},
            "ssd-port": {"linearize_at": "trained", "decay": 0.1},
        },
        cost="a gradient of each output of each row, and the cube of their number",
        summary="Computes how the rows to forget pulled on a simplified copy of the network, "
        "and takes that pull back.",
    )
    linearize_at: Place = "initial"
    residual: Residual = "softmax"
    decay: float = 1e-2
    stretch: bool = True
    strength: float = 1.0
    noise: float = 0.0
    most: int = 10_000

    def __post_init__(self) -> None:
        one_of("linearize_at", self.linearize_at, get_args(Place))
        one_of("residual", self.residual, get_args(Residual))
        number("decay", self.decay, above=0)
        flag("stretch", self.stretch)
        for name in ("strength", "noise"):
            number(name, getattr(self, name), at_least=0)
        whole("most", self.most, at_least=1)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that took the step."""
        refuse_unserved(self.info, case)
        course = Course(model, rng)
        if not self.strength:
            return course.finish("a step of length 0")
        surface = Surface(model)
        x_r, y_r = rows_tensors(case.retain, model)
        x_f, y_f = rows_tensors(case.forget, model)
        before = [mean_loss(surface, surface.start, *rows) for rows in ((x_f, y_f), (x_r, y_r))]
        trained, initial = surface.start, self.initial(surface, case)
        place = initial if self.linearize_at == "initial" else trained
        size = len(case.training) * case.n_classes
        if size > self.most:
            raise NotApplicable(
                f"ntk: expected at most {self.most} rows times outputs, found {size}; "
                "raise most or choose another method"
            )
        x, y = torch.cat([x_r, x_f]), torch.cat([y_r, y_f])
        slopes = surface.jacobians(place, x)
        errors = self.errors(surface.logits(place, x), y)
        every, kept = linear_ends(slopes, errors, len(x_r), self.decay)
        step = kept - every
        factor = trapezium(step, trained - initial - kept) if self.stretch else 1.0
        moved = trained + self.strength * factor * step
        surface.put(moved, course.model)
        after = [mean_loss(surface, moved, *rows) for rows in ((x_f, y_f), (x_r, y_r))]
        course.steps, course.rows_touched = 1, len(x)
        notes = [
            f"step {step.norm():.3g} stretched by {factor:.3g}, training went "
            f"{(trained - initial).norm():.3g}",
            f"mean loss of the forget rows {before[0]:.3g} before and {after[0]:.3g} after, of "
            f"the retained rows {before[1]:.3g} and {after[1]:.3g}",
        ]
        if self.noise:
            notes.append(self.shake(course, case, rng))
        return course.finish("one step", *notes)

    def initial(self, surface: Surface, case: Case) -> torch.Tensor:
        """Return the weights that training started from."""
        assert case.log is not None
        try:
            initial = surface.flat(dict(case.log.initial)).to(surface.start)
        except KeyError as error:
            raise NotApplicable(
                f"ntk: expected the initial weights of this architecture in case.log, found no "
                f"{error}; record the training of this model"
            ) from error
        if len(initial) != len(surface.start):
            raise NotApplicable(
                f"ntk: expected {len(surface.start)} initial weights, found {len(initial)}; "
                "record the training of this model"
            )
        return initial

    def errors(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the error of each output of each row."""
        one_hot = functional.one_hot(y, logits.shape[1]).to(logits)
        if self.residual == "softmax":
            return logits.softmax(1) - one_hot
        return logits - (2 * one_hot - 1)

    def shake(self, course: Course, case: Case, rng: np.random.Generator) -> str:
        """Add noise to the copy and say how much."""
        fisher = sample_importance(course.model, case.retain)
        course.rows_touched += len(case.retain)
        weights, total = dict(course.model.named_parameters()), 0.0
        with torch.no_grad():
            for name, information in fisher.items():
                spread = (self.noise / (information + SPREAD)).sqrt()
                drawn = torch.from_numpy(rng.standard_normal(spread.shape)).to(spread)
                weights[name].add_(spread * drawn)
                total += float((spread * drawn).square().sum())
        return f"noise of norm {math.sqrt(total):.3g}"


def mean_loss(surface: Surface, at: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the mean loss of some rows with the weights `at`."""
    with torch.no_grad():
        return float(surface.total(at, x, y)) / len(x)


def linear_ends(
    slopes: torch.Tensor, errors: torch.Tensor, kept: int, decay: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where the linearised training ends with all rows, and with the first `kept`.

    Seen from where it is linearised: `-G (GᵀG + n decay)⁻¹ r`, solved in whichever of its two
    forms has the smaller matrix.

    Args:
        slopes: Derivatives `(n, outputs, weights)`.
        errors: Of the same rows `(n, outputs)`.
        kept: Number of retained rows, which come first.
        decay: Weight decay, per row.
    """
    flat, right, first = slopes.flatten(0, 1), errors.flatten(), kept * slopes.shape[1]
    dual = flat.shape[0] <= flat.shape[1]
    if dual:
        whole = gram(flat)
        part = whole[:first, :first]
    else:
        part = gram(flat[:first].T)
        whole = torch.add(part, gram(flat[first:].T))
    ridge, ends = len(slopes) * decay, []
    whole.diagonal().add_(ridge)
    for matrix, rows in ((whole, len(flat)), (part, first)):
        if matrix is part:  # in the dual form it is a corner of the other and has its ridge
            part.diagonal().add_(kept * decay - (ridge if dual else 0.0))
        side = right[:rows] if dual else flat[:rows].T @ right[:rows]
        solved = torch.cholesky_solve(side[:, None], torch.linalg.cholesky(matrix))[:, 0]
        ends.append(-(flat[:rows].T @ solved) if dual else -solved)
    return ends[0], ends[1]


def gram(rows: torch.Tensor) -> torch.Tensor:
    """Return the products of all pairs of rows; each pair of blocks is multiplied once."""
    product = rows.new_empty(len(rows), len(rows))
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        part = rows[block] @ rows[: block.stop].T
        product[block, : block.stop], product[: block.stop, block] = part, part.T
    return product


def trapezium(step: torch.Tensor, rest: torch.Tensor) -> float:
    """Return by how much a step of the linearised network is stretched.

    The step and the way that training went beyond the linearised end are the parallel sides of
    an equal-sided trapezium; the stretched step is its longer side.

    Args:
        step: Between the ends of the linearised trainings.
        rest: From the linearised end on the retained rows to the trained weights.
    """
    length = float(step.norm())
    return 1.0 + 2 * abs(float(step @ rest)) / length**2 if length else 1.0
