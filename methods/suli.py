"""SULI: self-unlearning in layers, the least certain forget rows first."""

import copy
import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from scipy.special import log_softmax
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.methods._adjustment import Adjusting
from forget_audit.methods._settings import flag, one_of, refuse_unserved, whole
from forget_audit.methods._steps import Course
from forget_audit.methods._teaching import answers
from forget_audit.registry import method
from forget_audit.targets import Target
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import Case, Floats

Teacher = Literal["current", "original"]

RELEASED = {"epochs": 1, "sweeps": 10, "epsilon": 0.0, "least_steps": 1, "norms": "train"}
PRESETS = {
    "paper": {"mask": "label", "batch_size": 256, "least_steps": 1, "lr": 1e-4},
    "reference-class": {
        **RELEASED, "subset_size": 500, "batch_size": 500, "lr": 1e-4, "rollback": True,
    },
    "reference-instance": {
        **RELEASED, "subset_size": 32, "batch_size": 32, "lr": 8e-5, "mask": "argmax",
        "stop_accuracy": 0.888,
    },
}  # fmt: skip


@method
@dataclass(frozen=True, kw_only=True)
class Suli(Adjusting):
    """Unlearn the forget rows a subset at a time, each by the answers of the model so far.

    The forget rows are sorted by the entropy of the given model's answers, the least certain
    first, and dealt into subsets. For each subset in turn the targets are the current model's
    answers with the row's class left out, as in self-unlearning, and the model is trained on
    them with a fresh optimiser. The layers of the name are these subsets, not layers of a
    network. The retained rows are never read.

    Args:
        epochs: Passes over a subset in a sweep; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`, fresh for each subset: under `adam` the first step
            moves every weight by about the learning rate, whatever the gradient.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        n_subsets: Number of subsets, of nearly equal size.
        subset_size: Rows in a subset, instead of their number; the last may have fewer.
        sweeps: How often all subsets are gone through.
        teacher: Whose answers the targets are made of: the `current` model's when a subset
            begins, or those of the `original`.
        rollback: Whether to undo a subset after which more forget rows are classified right
            than after the last one that was kept.
        epsilon: Probability that the target leaves to what is masked; 0 leaves none.
        temperature: Divides the logits of teacher and student before the softmax; the loss is
            not multiplied by its square.
        mask: What a row is to lose: `classes` (in a class request all forgotten classes, else
            its label), `label` or `argmax`, the class that its teacher predicts for it.
        stop_accuracy: Share of right forget rows at which to end, looked at before each pass;
            none for never. 0 suits classes. Single rows, and rows whose label others keep, are
            forgotten too far by it: there, give the accuracy of rows that were never trained on.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If no class is left to a forget row.

    References:
        Lyu et al. (2025), Fine-Grained and Efficient Self-Unlearning with Layered Iteration,
        https://openreview.net/forum?id=GDE2aAW3Z6; code at
        https://github.com/Hongyi-Lyu-MQ/SULI.

    Departures:
        The paper's targets come from the original model in one formula and from the current one
        in its algorithm: `teacher` chooses, the algorithm by default. It minimises over an
        expression that does not depend on the weights; the student's answers are meant. Sum or
        mean over rows is not said: the mean is taken. Rates and `epsilon` are in an appendix
        that we have not seen: the preset `paper` has its two subsets, our `epsilon`, and the
        rate of the released code. That code lets the student be its own teacher, in training
        mode from the second step on, and takes one step on each subset: the presets
        `reference-class` and `reference-instance` do the same with a teacher in evaluation
        mode. Its rollback is not in the paper and looks at the forget rows only; its stop for
        single rows, .888, is the accuracy of held-out rows on its data: give your own. The
        default rate suits small models. Verification: one subset is bit for bit
        self-unlearning; order, subsets, rollback and stopping compared with the public code;
        published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="suli",
        title="Self-unlearning with layered iteration (SULI)",
        card="M17",
        paper="https://openreview.net/forum?id=GDE2aAW3Z6",
        needs=frozenset({"forget", "labels"}),
        scopes=frozenset({"instance", "class", "subclass"}),
        guarantee="none",
        presets=PRESETS,
        cost="a forward pass over the forget rows for their order, and in each sweep one for "
        "the targets and `epochs` passes of training",
        summary="Teaches the model its own answers for the rows to forget, minus the right one, "
        "a part of the rows at a time.",
        errata=("E15", "E16", "E17", "E18", "E21", "E22"),
    )
    epochs: int = 5
    lr: float = 2e-3
    n_subsets: int = 2
    subset_size: int | None = None
    sweeps: int = 1
    teacher: Teacher = "current"
    rollback: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("n_subsets", self.n_subsets, at_least=1)
        if self.subset_size is not None:
            whole("subset_size", self.subset_size, at_least=1)
        whole("sweeps", self.sweeps, at_least=1)
        one_of("teacher", self.teacher, get_args(Teacher))
        flag("rollback", self.rollback)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that has unlearnt one subset after the other."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms])
        x, y = rows_tensors(case.forget, model)
        subsets = self.subsets(Target(model).logits(case.forget)) if self.epochs else []
        best, undone = math.inf, 0
        for subset in subsets * self.sweeps:
            before = copy.deepcopy(course.model.state_dict())
            teacher = course.model if self.teacher == "current" else model
            logits = answers(teacher, case.forget.take(subset))
            target = self.target(case, logits, y[subset])
            optimizer = self.make_optimizer(course)
            for _ in range(self.epochs):
                if self.reached(case, course.model):
                    reason = f"forget accuracy reached {self.stop_accuracy:g}"
                    return course.finish(reason, *_note(undone))
                self.learn(course, x[subset], target, optimizer, rng)
            if self.rollback:
                accuracy = Target(course.model).accuracy(case.forget)
                if accuracy > best:
                    course.model.load_state_dict(before)
                    undone += 1
                best = min(best, accuracy)
        return course.finish(f"all {self.sweeps} sweeps done", *_note(undone))

    def subsets(self, logits: Floats) -> list[Index]:
        """Return the positions of the rows of each subset, in order of position.

        Args:
            logits: Of the forget rows `(n, classes)`; the subsets hold the rows with the highest
                entropy first.
        """
        log_p = log_softmax(logits, axis=1)
        entropy = -(np.exp(log_p) * log_p).sum(1)
        order = np.argsort(-entropy, kind="stable")
        if self.subset_size is None:
            parts = np.array_split(order, min(self.n_subsets, len(order)))
        else:
            parts = np.split(order, range(self.subset_size, len(order), self.subset_size))
        return [np.sort(part) for part in parts]


def _note(undone: int) -> tuple[str, ...]:
    return (f"subsets undone: {undone}",) if undone else ()
