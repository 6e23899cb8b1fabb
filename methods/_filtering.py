"""What weight filtering and weight pruning share: gradient data, scores, head rows, the repair."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from forget_audit.contracts import MethodInfo
from forget_audit.errors import ModelError, NotApplicable
from forget_audit.labels import label_loss, to_forget
from forget_audit.methods._importance import Tensors, changeable
from forget_audit.methods._layers import NORMS, head
from forget_audit.methods._settings import Presets, flag, number, one_of, whole
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping
from forget_audit.targets import Target
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import UNKNOWN, Case, Floats, Labels, Rows

Select = Literal["high", "paper_low"]
Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Filtering(Presets):
    """The fields of methods that edit scored weights and then repair what is kept.

    Args:
        select: `high` edits the weights with high scores, `paper_low` those with low ones.
        most_rows: Most training rows for gradients, drawn at random.
        head_rows: Whether the output's own row of the head is edited too; `high` only.
        epsilon: How far the repair may move an edited weight; a tenth of the standard deviation
            of its tensor if left out.
        repair_epochs: Passes over the retained rows after the edit.
        batch_size: Most rows in a step.
        least_steps: Fewest steps in a pass.
        optimizer: Of the repair.
        lr: Its learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        repair_norms: Batch norm in the repair.
    """

    select: Select = "high"
    most_rows: int = 2048
    head_rows: bool = True
    epsilon: float | None = None
    repair_epochs: int = 3
    batch_size: int = 64
    least_steps: int = 6
    optimizer: Optimizer = "sgd"
    lr: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    repair_norms: Norms = "train"

    def __post_init__(self) -> None:
        one_of("select", self.select, get_args(Select))
        whole("most_rows", self.most_rows, at_least=1)
        flag("head_rows", self.head_rows)
        if self.epsilon is not None:
            number("epsilon", self.epsilon, at_least=0)
        whole("repair_epochs", self.repair_epochs, at_least=0)
        one_of("repair_norms", self.repair_norms, get_args(Norms))
        self.stepping()

    def stepping(self) -> Stepping:
        """Return how the repair steps."""
        return Stepping(
            epochs=self.repair_epochs,
            batch_size=self.batch_size,
            least_steps=self.least_steps,
            optimizer=self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )

    def repair(
        self, course: Course, rows: Rows, rng: np.random.Generator, after: Callable[[Index], None]
    ) -> None:
        """Train on retained rows; `after` is called after each step."""
        steps = self.stepping()
        x, y = rows_tensors(rows, course.model)
        optimizer = steps.make_optimizer(course)
        for _ in range(self.repair_epochs):
            course.run(
                lambda index: label_loss(course.model(x[index]), y[index]),
                steps.batches(len(x), rng),
                optimizer,
                norms=self.repair_norms,
                after=after,
            )


@dataclass(frozen=True, eq=False)
class GradientData:
    """Rows and labels for gradients.

    Args:
        label: What is to be forgotten: one label of all rows, or the rows of the classes.
        rest: What stays: the other labels, or the other rows.
        every: All rows with all labels.
    """

    label: Pair
    rest: Pair
    every: Pair

    @property
    def rows(self) -> int:
        """How many rows there are, once each."""
        return len(self.every[0])


def gradient_data(
    case: Case, parts: Sequence[Rows], model: nn.Module, most: int, rng: np.random.Generator
) -> GradientData:
    """Return at most `most` rows, drawn at random; of a class request some of both parts.

    Args:
        case: The request.
        parts: Forget and retained rows to draw from; in an attribute request the same ones.
        model: On whose device the tensors shall be.
        most: Most rows.
        rng: Draws.
    """
    forget, retain = parts
    if case.scope == "attribute":
        chosen = np.sort(rng.permutation(len(forget))[:most])
        every = rows_tensors(forget.take(chosen), model)
        label = (every[0], to_forget(case, every[1]))
        return GradientData(label, rows_tensors(retain.take(chosen), model), every)
    share = min(1.0, most / (len(forget) + len(retain)))
    pairs = []
    for rows in parts:
        count = max(1, int(share * len(rows)))
        pairs.append(rows_tensors(rows.take(np.sort(rng.permutation(len(rows))[:count])), model))
    x, y = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
    return GradientData(pairs[0], pairs[1], (x, y))


def outputs_of(case: Case) -> list[int]:
    """Return the outputs that are to be forgotten: a column of labels, or classes."""
    return [case.attribute] if case.attribute is not None else np.unique(case.forget.y).tolist()


def head_name(info: MethodInfo, model: nn.Module, case: Case) -> str:
    """Return the name of the output layer.

    Raises:
        NotApplicable: If it is not linear.
    """
    try:
        return head(model, case.forget.x, case.n_classes)[0]
    except ModelError as error:
        raise NotApplicable(f"{info.name} needs a linear output layer: {error}") from error


def editable(model: nn.Module) -> list[str]:
    """Return the names of the weights that may be edited: no biases, no normalisations."""
    fixed = {id(p) for m in model.modules() if isinstance(m, NORMS) for p in m.parameters()}
    movable = changeable(model)
    return [
        name
        for name, p in model.named_parameters()
        if name in movable and p.ndim > 1 and id(p) not in fixed
    ]


def head_masks(model: nn.Module, names: list[str], layer: str, outputs: list[int]) -> Tensors:
    """Return masks of the rows of the head that belong to some outputs."""
    masks = {name: torch.zeros_like(model.get_parameter(name), dtype=torch.bool) for name in names}
    weight = f"{layer}.weight" if layer else "weight"
    if weight in masks:
        masks[weight][outputs] = True
    return masks


def ratio(of_label: Tensors, of_rest: Tensors) -> Tensors:
    """Return `of_label / (of_rest + its median over all tensors)`, 0 where nothing matters."""
    median = torch.cat([values.flatten() for values in of_rest.values()]).median()
    return {
        name: torch.nan_to_num(values / (of_rest[name] + median), nan=0.0, posinf=0.0)
        for name, values in of_label.items()
    }


def phi_coefficients(y: Labels, column: int) -> Floats:
    """Return the correlation of one label with each other one, over rows that know both.

    Zero where a label never varies.
    """
    found = []
    for other in (k for k in range(y.shape[1]) if k != column):
        pair = y[:, (column, other)]
        pair = pair[(pair != UNKNOWN).all(axis=1)]
        varies = len(pair) and bool((pair.std(axis=0) > 0).all())
        found.append(np.corrcoef(pair.T)[0, 1] if varies else 0.0)
    return np.array(found)


def folded_auc(model: nn.Module, rows: list[Rows], output: int) -> float:
    """Return how well an answer tells the label of held-out rows, 0.5 if not at all.

    Args:
        model: Asked.
        rows: Forget and retained rows; in an attribute request the same ones.
        output: The label's answer.
    """
    if not all(len(part) for part in rows):
        return 1.0
    if rows[0].y.ndim == 2:
        truth, scores = rows[0].y[:, output], Target(model).logits(rows[0])[:, output]
        truth, scores = truth[truth != UNKNOWN], scores[truth != UNKNOWN]
    else:
        truth = np.repeat([1, 0], [len(part) for part in rows])
        scores = np.concatenate([Target(model).logits(part)[:, output] for part in rows])
    if len(np.unique(truth)) < 2:
        return 1.0
    area = float(roc_auc_score(truth, scores))
    return max(area, 1 - area)


class Leash:
    """Keeps edited weights near their values; lets some weights follow steps in part only.

    Args:
        model: After the edit.
        edited: Masks of the weights to keep near.
        epsilon: How near, by name.
        slow: Masks of weights that follow a step by `pace` of its length.
        pace: That share.
    """

    def __init__(
        self,
        model: nn.Module,
        edited: Tensors,
        epsilon: Mapping[str, float],
        slow: Tensors | None = None,
        pace: float = 1.0,
    ) -> None:
        self._weights = {name: model.get_parameter(name) for name in edited}
        self._edited, self._epsilon, self._slow, self._pace = edited, epsilon, slow or {}, pace
        self._centre = {name: w.detach().clone() for name, w in self._weights.items()}
        self._last = {name: self._centre[name].clone() for name in self._slow}

    def __call__(self, _: Index) -> None:
        with torch.no_grad():
            for name, w in self._weights.items():
                if name in self._slow:
                    part = torch.lerp(self._last[name], w, self._pace)
                    w.copy_(torch.where(self._slow[name], part, w))
                    self._last[name] = w.clone()
                centre, epsilon = self._centre[name], self._epsilon[name]
                near = torch.clamp(w, centre - epsilon, centre + epsilon)
                w.copy_(torch.where(self._edited[name], near, w))
