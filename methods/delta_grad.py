"""DeltaGrad: replay the recorded training without the forget rows, mostly without gradients."""

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import NotApplicable
from forget_audit.methods._hessian import Surface
from forget_audit.methods._settings import Presets, number, refuse_unserved, whole
from forget_audit.methods._steps import Course
from forget_audit.registry import method
from forget_audit.training.log import TrainingLog
from forget_audit.training.loop import rows_tensors
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Trainer

Pair = tuple[torch.Tensor, torch.Tensor]


@method
@dataclass(frozen=True, kw_only=True)
class DeltaGrad(Presets):
    """Replay gradient descent on the same batches without the forget rows.

    The record of a plain gradient descent holds every batch, every weight vector and every mean
    gradient. The replay goes along beside it. A first stretch of steps, and then every
    `period`-th, computes the gradient of the batch at the new weights; all other steps take the
    recorded gradient plus a quasi-Hessian times the distance from the recorded weights, and
    subtract the gradients of the forget rows in the batch, which are few. The quasi-Hessian is
    the L-BFGS matrix of the last differences seen at computed steps. That is sound where the
    loss is convex, so the method is for linear models.

    Args:
        period: A step in so many is computed; 1 computes all and is exact.
        burn_in: Steps at the start that are all computed.
        history: Most differences in the quasi-Hessian.
        replay: Only so many last steps are replayed; all if left out, 0 leaves the model as it
            is.
        lr: Learning rate of the training it asks for.
        weight_decay: Of the recorded training, and of the training it asks for.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the model is not linear, a step is missing from the record, or the
            record is not of plain gradient descent.

    References:
        Wu, Dobriban and Davidson (2020), DeltaGrad: Rapid Retraining of Machine Learning
        Models, https://arxiv.org/abs/2006.14755; code at
        https://github.com/wuyinjun-1993/DeltaGrad.

    Departures:
        The paper's variant for networks, which computes a step whenever the curvature comes out
        negative, is not offered; a difference without positive curvature is left out of the
        quasi-Hessian. Recorded gradients are read off the updates, weights are summed up from
        them in float64. A batch of forget rows alone takes no step. Replaying only the last
        steps is ours. The paper deletes a percent of the rows or less; a whole class is far
        more, and the replay then comes only part of the way. Verification: equal to retraining
        on the same batches when all steps are computed, closer to it than the original
        otherwise; the quasi-Hessian against direct BFGS updates; published figures not
        reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="delta_grad",
        title="DeltaGrad",
        card="M50",
        paper="arXiv:2006.14755",
        needs=frozenset({"forget", "retain", "labels", "log", "training"}),
        scopes=frozenset({"instance", "class", "subclass"}),
        heads=frozenset({"single", "multi"}),
        guarantee="none",
        presets={"mnist": {"period": 5, "burn_in": 20, "history": 2}},
        cost="gradients of the forget rows in every recorded step and of whole batches in one of "
        "`period`; the log holds an update for every step of training",
        summary="Repeats the recorded training without the rows to forget, and saves most of "
        "the work by correcting the recorded steps.",
    )
    period: int = 5
    burn_in: int = 10
    history: int = 2
    replay: int | None = None
    lr: float = 0.5
    weight_decay: float = 5e-3

    def __post_init__(self) -> None:
        whole("period", self.period, at_least=1)
        whole("burn_in", self.burn_in, at_least=0)
        whole("history", self.history, at_least=1)
        if self.replay is not None:
            whole("replay", self.replay, at_least=0)
        number("lr", self.lr, above=0)
        number("weight_decay", self.weight_decay, at_least=0)

    def trainer(self, base: Trainer) -> RecipeTrainer:
        """Return the recipe of a linear model by plain gradient descent, else as `base`.

        Raises:
            NotApplicable: If `base` is no `RecipeTrainer`.
        """
        if not isinstance(base, RecipeTrainer):
            raise NotApplicable(
                "delta_grad needs a RecipeTrainer, whose training can be recorded, found "
                f"{type(base).__name__}"
            )
        linear = dataclasses.replace(base.architecture, name="linear", options={})
        recipe = dataclasses.replace(
            base.recipe, optimizer="sgd", lr=self.lr, momentum=0.0, weight_decay=self.weight_decay
        )
        return RecipeTrainer(architecture=linear, recipe=recipe)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy with the weights at the end of the replay."""
        refuse_unserved(self.info, case)
        assert case.log is not None
        course = Course(model, rng)
        if self.replay == 0:
            return course.finish("no step replayed")
        refuse_curved(model)
        surface = Surface(model)
        pairs = [rows_tensors(rows, model) for rows in (case.forget, case.retain)]
        before = [float(surface.total(surface.start, *pair)) / len(pair[0]) for pair in pairs]
        x, y = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        ids = np.concatenate([case.forget.ids, case.retain.ids]).tolist()
        positions = {name: i for i, name in enumerate(ids)}
        refuse_incomplete(case.log, positions)
        recorded = trajectory(surface, case.log)
        batches = [[positions[name] for name in step.ids.tolist()] for step in case.log.steps]
        rows = x[batches[0]], y[batches[0]]
        self.refuse_other_descent(surface, case.log.steps[0].lr, recorded[0], *rows)
        n = len(case.log.steps)
        first = 0 if self.replay is None else max(0, n - self.replay)
        at, computed = recorded[first][0], 0
        history: deque[Pair] = deque(maxlen=self.history)
        for t in range(first, n):
            step, (start, update) = case.log.steps[t], recorded[t]
            batch = torch.tensor(batches[t], device=x.device)
            gone, kept = batch[batch < len(case.forget)], batch[batch >= len(case.forget)]
            old = -update / step.lr - self.weight_decay * start
            removed = surface.gradient(at, x[gone], y[gone])
            course.rows_touched += len(gone)
            moved = at - start
            passed = t - first
            if passed < self.burn_in or (passed - self.burn_in) % self.period == 0 or not history:
                slope = surface.gradient(at, x[kept], y[kept])
                course.rows_touched += len(kept)
                computed += 1
                bent = (slope + removed) / len(batch) - old
                if moved @ bent > 1e-12 * (moved @ moved) > 0:
                    history.append((moved, bent))
            else:
                slope = len(batch) * (old + quasi_hessian(history, moved)) - removed
            if len(kept):
                at = at - step.lr * (slope / len(kept) + self.weight_decay * at)
                course.steps += 1
        surface.put(at, course.model)
        after = [float(surface.total(at, *pair)) / len(pair[0]) for pair in pairs]
        return course.finish(
            f"all {n - first} steps replayed",
            f"{computed} steps computed, the others corrected",
            f"mean loss of the forget rows {before[0]:.3g} before and {after[0]:.3g} after, of "
            f"the retained rows {before[1]:.3g} and {after[1]:.3g}",
        )

    def refuse_other_descent(
        self, surface: Surface, lr: float, recorded: Pair, x: torch.Tensor, y: torch.Tensor
    ) -> None:
        """Check a recorded step against the gradient of its rows."""
        at, update = recorded
        slope = surface.gradient(at, x, y) / len(x) + self.weight_decay * at
        if (update + lr * slope).norm() > 1e-2 * update.norm():
            raise NotApplicable(
                "delta_grad: expected a record of plain gradient descent with weight decay "
                f"{self.weight_decay:g}, found a first step that is not one; record the training "
                "of DeltaGrad().trainer(base), or set weight_decay"
            )


def refuse_curved(model: nn.Module) -> None:
    """Check that all parameters are those of one linear layer, so that the loss is convex."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if len(linear) != 1 or {*model.parameters()} != {*linear[0].parameters()}:
        raise NotApplicable(
            "delta_grad needs a model whose weights are one linear layer, found "
            f"{len(linear)} linear layers and {len([*model.parameters()])} parameters; "
            "train the original with DeltaGrad().trainer(base)"
        )


def refuse_incomplete(log: TrainingLog, positions: Mapping[str, int]) -> None:
    """Check that a log holds every step, on rows of the case."""
    if not log.steps or len(log.steps) != log.taken:
        raise NotApplicable(
            f"delta_grad needs a record of all {log.taken} steps, found {len(log.steps)}; "
            "record without watched ids"
        )
    unknown = {name for step in log.steps for name in step.ids.tolist()} - positions.keys()
    if unknown:
        raise NotApplicable(
            f"delta_grad: {len(unknown)} recorded rows are not in the case (first: "
            f"{min(unknown)}); give it the record of this training"
        )


def trajectory(surface: Surface, log: TrainingLog) -> list[Pair]:
    """Return the weights before each recorded step, and its update."""
    try:
        at = surface.flat(dict(log.initial)).to(surface.start)
        updates = [surface.flat(dict(log.updates(step))).to(at) for step in log.steps]
    except KeyError as error:
        raise NotApplicable(f"delta_grad: expected {error} in the record, found none") from error
    found = []
    for update in updates:
        found.append((at, update))
        at = at + update
    return found


def quasi_hessian(history: Sequence[Pair], vector: torch.Tensor) -> torch.Tensor:
    """Return the product of the L-BFGS matrix with a vector, in its compact form.

    Args:
        history: Differences of weights and of gradients, each with positive product, the oldest
            first.
        vector: To be multiplied.
    """
    s, y = (torch.stack(parts, dim=1) for parts in zip(*history, strict=True))
    scale = (s[:, -1] @ y[:, -1]) / (s[:, -1] @ s[:, -1])
    inner = s.T @ y
    lower = inner.tril(-1)
    middle = torch.cat(
        [
            torch.cat([scale * s.T @ s, lower], dim=1),
            torch.cat([lower.T, -inner.diagonal().diag()], dim=1),
        ]
    )
    sides = torch.cat([scale * s, y], dim=1)
    product: torch.Tensor = scale * vector - sides @ torch.linalg.solve(middle, sides.T @ vector)
    return product
