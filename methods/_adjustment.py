"""Targets that leave a row's answers as they are, but for what is to be forgotten."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch.nn import functional

from forget_audit.errors import NotApplicable
from forget_audit.methods._settings import number, one_of
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping
from forget_audit.methods._teaching import divergence
from forget_audit.targets import Target
from forget_audit.training.loop import Index
from forget_audit.types import Case

Mask = Literal["classes", "label", "argmax"]


@dataclass(frozen=True, kw_only=True)
class Adjusting(Stepping):
    """The fields of the methods that learn adjusted answers of a teacher.

    Args:
        epsilon: Probability that the target leaves to what is masked; 0 leaves none.
        temperature: Divides the logits of teacher and student before the softmax.
        mask: What a row is to lose: `classes`, `label` or `argmax`.
        stop_accuracy: Ends once the forget rows are classified no better; none for never.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`.
    """

    optimizer: Optimizer = "adam"
    epsilon: float = 1e-6
    temperature: float = 1.0
    mask: Mask = "classes"
    stop_accuracy: float | None = 0.0
    norms: Norms = "eval"

    def __post_init__(self) -> None:
        super().__post_init__()
        number("epsilon", self.epsilon, at_least=0, below=1)
        number("temperature", self.temperature, above=0)
        one_of("mask", self.mask, get_args(Mask))
        if self.stop_accuracy is not None:
            number("stop_accuracy", self.stop_accuracy, at_least=0)
        one_of("norms", self.norms, get_args(Norms))

    def target(self, case: Case, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return what the student is to answer `(n, classes)`, as probabilities.

        Args:
            case: The request.
            logits: The teacher's, of forget rows.
            y: Labels of these rows.

        Raises:
            NotApplicable: If no class is left to a row.
        """
        own = logits.argmax(1) if self.mask == "argmax" else y
        gone = lost(case, own, also_forgotten=self.mask == "classes")
        return adjusted(logits / self.temperature, gone, self.epsilon)

    def learn(
        self,
        course: Course,
        x: torch.Tensor,
        target: torch.Tensor,
        optimizer: torch.optim.Optimizer,
        rng: np.random.Generator,
    ) -> None:
        """Take a pass over rows whose answers are to become their targets.

        Args:
            course: Holds the student.
            x: Features.
            target: Probabilities `(n, classes)`.
            optimizer: Over the student.
            rng: Deals the rows.
        """

        def loss(index: Index) -> torch.Tensor:
            logits = course.model(x[index]) / self.temperature
            return divergence(target[index], functional.log_softmax(logits, dim=1))

        course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)

    def reached(self, case: Case, model: torch.nn.Module) -> bool:
        """Return whether the forget rows are classified no better than asked for."""
        if self.stop_accuracy is None:
            return False
        return Target(model).accuracy(case.forget) <= self.stop_accuracy


def lost(case: Case, own: torch.Tensor, *, also_forgotten: bool = True) -> torch.Tensor:
    """Return which classes each row is to lose `(n, classes)`.

    Args:
        case: The request.
        own: The class of each row.
        also_forgotten: Whether it loses all forgotten classes of a class request.

    Raises:
        NotApplicable: If no class is left to a row.
    """
    gone = functional.one_hot(own, case.n_classes).bool()
    if also_forgotten and case.scope == "class":
        gone[:, list(case.classes)] = True
    if gone.all(1).any():
        raise NotApplicable(
            f"expected a class left for each forget row, found all {case.n_classes} masked; "
            "forget fewer classes"
        )
    return gone


def adjusted(logits: torch.Tensor, gone: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return the probabilities of `logits` with `epsilon` left for what is gone.

    The others share the rest in proportion, however sure the model was of what is gone.

    Args:
        logits: `(n, classes)`.
        gone: Which of them a row is to lose `(n, classes)`; not all of a row.
        epsilon: Shared evenly by the classes that a row is to lose.
    """
    kept = logits.masked_fill(gone, -torch.inf).softmax(dim=1)
    share = gone.to(logits.dtype) / gone.sum(1, keepdim=True)
    return (1 - epsilon) * kept + epsilon * share
