"""Other labels for the forget rows, drawn from what each row may get, and how they are taught."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch

from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss
from forget_audit.methods._settings import flag, one_of, whole, whole_numbers
from forget_audit.methods._steps import Course, Norms, Stepping
from forget_audit.training.loop import Index
from forget_audit.types import UNKNOWN, Case, Labels

Pass = tuple[int, int, int, Norms]


@dataclass(frozen=True, kw_only=True)
class Relabelling(Stepping):
    """The fields of methods that teach random labels.

    Args:
        forget_batch_size: Most rows in a step on forget rows alone.
        exclude_true: Whether a row's own class is never drawn for it.
        exclude_classes: Classes that are never drawn; by default the forgotten classes of a
            class request, none of another.
        per_epoch: Whether labels are drawn anew in each epoch, or once.
        forget_norms: Batch norm in steps on forget rows alone: `train`, `eval` or `frozen`.
        retain_norms: Batch norm in the other steps.
    """

    forget_batch_size: int = 32
    exclude_true: bool = True
    exclude_classes: tuple[int, ...] | None = None
    per_epoch: bool = True
    forget_norms: Norms = "eval"
    retain_norms: Norms = "train"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("forget_batch_size", self.forget_batch_size, at_least=1)
        if self.exclude_classes is not None:
            classes = whole_numbers("exclude_classes", self.exclude_classes)
            object.__setattr__(self, "exclude_classes", classes)
        for name in ("exclude_true", "per_epoch"):
            flag(name, getattr(self, name))
        for name in ("forget_norms", "retain_norms"):
            one_of(name, getattr(self, name), get_args(Norms))

    def forget_pass(self, case: Case) -> Pass:
        """Return the pass over the forget rows, which come first."""
        return 0, len(case.forget), self.forget_batch_size, self.forget_norms

    def retain_pass(self, case: Case) -> Pass:
        """Return the pass over the retained rows, which follow."""
        n = len(case.forget)
        return n, n + len(case.retain), self.batch_size, self.retain_norms

    def draw(self, case: Case, rng: np.random.Generator) -> Labels:
        """Return a random label for each forget row, see `random_labels`."""
        return random_labels(
            case, rng, exclude_true=self.exclude_true, exclude_classes=self.exclude_classes
        )

    def teach(
        self,
        course: Course,
        case: Case,
        rows: tuple[torch.Tensor, torch.Tensor],
        passes: Sequence[Pass],
        rng: np.random.Generator,
    ) -> None:
        """Train by the passes of each epoch, the forget rows with labels drawn for them.

        Args:
            course: Changed.
            case: The request.
            rows: Features and labels, forget rows first; their labels are overwritten.
            passes: First and last position, most rows in a step, and batch norm.
            rng: Draws labels and deals rows.
        """
        x, y = rows
        optimizer = self.make_optimizer(course)

        def loss(index: Index) -> torch.Tensor:
            return label_loss(course.model(x[index]), y[index])

        for epoch in range(self.epochs):
            if self.per_epoch or epoch == 0:
                y[: len(case.forget)] = torch.from_numpy(self.draw(case, rng)).to(y.device)
            for start, end, batch_size, norms in passes:
                batches = (start + b for b in self.batches(end - start, rng, batch_size))
                course.run(loss, batches, optimizer, norms=norms)


def random_labels(
    case: Case,
    rng: np.random.Generator,
    *,
    exclude_true: bool,
    exclude_classes: Collection[int] | None = None,
) -> Labels:
    """Return random labels for the forget rows, shaped like theirs.

    One class a row: uniform over the classes allowed for it. Several labels: each known label
    that is to be forgotten is drawn anew, yes with the share that the forget rows have, whatever
    it was, for its opposite would tell as much; labels that stay are `UNKNOWN`.

    Args:
        case: The request.
        rng: Draws.
        exclude_true: Whether a row's own class is never drawn for it.
        exclude_classes: Classes that are never drawn; those of a class request if left out.

    Raises:
        NotApplicable: If some forget row is left without an allowed class.
    """
    if case.multi_label:
        return _several(case, rng)
    n = len(case.forget)
    gone = case.classes if case.scope == "class" else ()
    excluded = gone if exclude_classes is None else exclude_classes
    allowed = np.ones((n, case.n_classes), dtype=bool)
    allowed[:, [c for c in excluded if c < case.n_classes]] = False
    if exclude_true:
        allowed[np.arange(n), case.forget.y] = False
    if not allowed.any(axis=1).all():
        raise NotApplicable(
            f"expected a class to draw for each forget row, found none of {case.n_classes} "
            "left for some; exclude fewer classes"
        )
    tickets = np.where(allowed, rng.random(allowed.shape), -1.0)
    return np.asarray(np.argmax(tickets, axis=1), dtype=np.int64)


def _several(case: Case, rng: np.random.Generator) -> Labels:
    y = case.forget.y
    wanted = y != UNKNOWN
    if case.attribute is not None:
        wanted &= np.arange(y.shape[1]) == case.attribute
    drawn = np.full_like(y, UNKNOWN)
    for column in np.flatnonzero(wanted.any(axis=0)):
        rows = wanted[:, column]
        drawn[rows, column] = rng.random(rows.sum()) < y[rows, column].mean()
    return drawn
