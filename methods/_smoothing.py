"""Ascent on smoothed labels of the forget rows and descent on the retained rows, in one step."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from forget_audit.contracts import Unlearned
from forget_audit.labels import label_loss, to_forget
from forget_audit.methods._layers import watching_input, weight_layers
from forget_audit.methods._paired import recycled
from forget_audit.methods._settings import number, one_of, refuse_unserved
from forget_audit.methods._steps import Course, Norms, Stepping
from forget_audit.methods._teaching import log_answers
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import UNKNOWN, Case


def smoothed(y: torch.Tensor, n_outcomes: int, alpha: float | torch.Tensor) -> torch.Tensor:
    """Return `1 - alpha` times the one-hot labels plus `alpha / n_outcomes`, summing to 1.

    Args:
        y: Classes `(n,)`, or a label matrix `(n, labels)` of 0, 1 and `UNKNOWN`, which becomes 0.
        n_outcomes: Number of classes, or 2.
        alpha: Smoothing rate, one for all or one a row; a negative one makes the true entry
            larger than 1 and the others negative.

    Returns:
        `(n, n_outcomes)`, or `(n, labels, 2)`.
    """
    hot = functional.one_hot(y.clamp(min=0), n_outcomes)
    rate = torch.as_tensor(alpha, device=y.device)
    if rate.ndim:
        rate = rate.reshape(-1, *[1] * (hot.ndim - 1))
    return (1 - rate) * hot + rate / n_outcomes


def smoothed_loss(
    logits: torch.Tensor, y: torch.Tensor, alpha: float | torch.Tensor
) -> torch.Tensor:
    """Return the cross-entropy with smoothed labels, averaged over rows; see `smoothed`.

    With several labels a row, it is the mean over the known ones, each smoothed towards one half.
    """
    several = y.ndim == 2
    log_p = log_answers(logits, several)
    each = -(smoothed(y, log_p.shape[-1], alpha).to(log_p.dtype) * log_p).sum(-1)
    if several:
        known = (y != UNKNOWN).to(log_p.dtype)
        each = (each * known).sum(1) / known.sum(1).clamp(min=1)
    return each.mean()


def close_share(of: torch.Tensor, to: torch.Tensor, beta: float) -> torch.Tensor:
    """Return for each row of `of` which share of the rows of `to` is closer than `beta` `(n,)`.

    The distance is that of directions, from 0 (same) to 1 (opposite).
    """
    cosines = functional.normalize(of.flatten(1)) @ functional.normalize(to.flatten(1)).T
    return ((1 - cosines) / 2 < beta).to(of.dtype).mean(1)


@dataclass(frozen=True, kw_only=True)
class Smoothing(Stepping):
    """The fields and the step of methods that climb smoothed labels.

    Args:
        p: Weight of the retained rows, from 0 to 1.
        alpha: Smoothing rate, negative or 0; none for one of each row's own, minus the share of
            retained rows of the step that are close to it.
        beta: Distance of directions, in the input of the last layer, below which rows are close.
        norms: Batch norm in the steps.
    """

    p: float = 0.5
    alpha: float | None = -0.5
    beta: float = 0.1
    norms: Norms = "eval"

    def __post_init__(self) -> None:
        super().__post_init__()
        number("p", self.p, at_least=0)
        number("1 - p", 1 - self.p, at_least=0)
        if self.alpha is not None:
            number("alpha", self.alpha)
        number("beta", self.beta, above=0)
        one_of("norms", self.norms, get_args(Norms))

    def mix(
        self,
        model: nn.Module,
        case: Case,
        rng: np.random.Generator,
        *,
        lead: Literal["forget", "retain"],
        follow_size: int,
    ) -> Unlearned:
        """Return a copy after passes over the leading rows, each step with some of the others.

        Args:
            model: The original.
            case: The request.
            rng: Deals the leading rows; the others have a generator of their own.
            lead: Which rows make up an epoch; the others are dealt anew when they run out.
            follow_size: Most rows of the others in a step.
        """
        refuse_unserved(self.info, case)
        last = weight_layers(model, case.retain.x)[-1].name
        course = Course(model, rng, [self.norms])
        (x_f, y_f), (x_r, y_r) = (rows_tensors(rows, model) for rows in (case.forget, case.retain))
        y_f = to_forget(case, y_f)
        optimizer = self.make_optimizer(course)
        leading, n_others = (x_f, len(x_r)) if lead == "forget" else (x_r, len(x_f))
        order = rng.spawn(1)[0]
        others = recycled(lambda: self.batches(n_others, order, follow_size))

        def loss(index: Index) -> torch.Tensor:
            other = next(others)
            course.rows_touched += len(other)
            gone, kept = (index, other) if lead == "forget" else (other, index)
            descended = label_loss(course.model(x_r[kept]), y_r[kept])
            near = features().detach()
            logits = course.model(x_f[gone])
            alpha = self.alpha
            rate = -close_share(features().detach(), near, self.beta) if alpha is None else alpha
            return self.p * descended - (1 - self.p) * smoothed_loss(logits, y_f[gone], rate)

        with watching_input(course.model.get_submodule(last)) as features:
            for _ in range(self.epochs):
                course.run(loss, self.batches(len(leading), rng), optimizer, norms=self.norms)
        return course.finish(f"all {self.epochs} epochs done")
