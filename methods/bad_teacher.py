"""Bad teacher: an incompetent teacher for the forget rows, the model itself for the rest."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.methods._fresh import fresh_network
from forget_audit.methods._settings import number, one_of, refuse_unserved
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping
from forget_audit.methods._teaching import answers, divergence, log_answers
from forget_audit.registry import method
from forget_audit.seeds import draw_seed
from forget_audit.targets import device_of
from forget_audit.training.loop import Index
from forget_audit.types import Case, Rows

PRESETS = {
    "paper": {"epochs": 1, "batch_size": 256, "least_steps": 1, "lr": 1e-4},
    "ssd-port": {"epochs": 1, "batch_size": 128, "least_steps": 1, "lr": 1e-4},
}


@method
@dataclass(frozen=True, kw_only=True)
class BadTeacher(Stepping):
    """Distil the answers of an untrained network on the forget rows, the model's own elsewhere.

    An untrained network of the same kind is the teacher of the forget rows, the given model that
    of some retained rows. The student starts as the given model and minimises, over both kinds
    of rows shuffled together, the divergence from the answers of a row's teacher. No label is
    read. The student comes to answer forget rows like a model that has learnt nothing at all: a
    retrained model knows more of them, and the difference can give them away.

    Args:
        epochs: Passes over the rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        temperature: Divides the logits of teachers and student before the softmax; the loss is
            not multiplied by its square.
        retain_share: Share of the retained rows that is used, drawn once.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the case's recipe is not a `RecipeTrainer` and the model has parts that
            cannot be drawn anew.

    References:
        Chundawat, Tarun, Mandal and Kankanhalli (2023), Can Bad Teaching Induce Forgetting?,
        https://arxiv.org/abs/2205.08096; code at
        https://github.com/vikram2000b/bad-teaching-unlearning.

    Departures:
        The release averages the divergence over rows and classes, we sum over classes: the same
        loss times their number, which `adam` all but ignores and `sgd` does not. One pass at
        1e-4 barely moves a small model; the default is higher and goes on for longer, with
        smaller batches. The teachers' answers are computed once, in evaluation mode, as there
        is no augmentation. The untrained network comes from the recipe if it is a
        `RecipeTrainer`, and is otherwise a copy of the model with every parameter and buffer
        drawn anew, batch statistics included. The release leaves the mode of the student to
        its caller; here batch statistics move by default. With several labels a row the
        divergences of the labels are summed; in an attribute request the untrained network
        teaches that label and the given model the others, on all rows (our adaptation).
        Verification: loss compared with the public code, steps with closed forms; published
        figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="bad_teacher",
        title="Bad teacher",
        card="M24",
        paper="arXiv:2205.08096",
        needs=frozenset({"forget", "retain", "recipe"}),
        scopes=frozenset({"instance", "class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"attribute"}),
        guarantee="none",
        presets=PRESETS,
        cost="a forward pass of each teacher over its rows, then passes over the forget rows "
        "and a share of the retained ones",
        summary="Makes the model answer like an untrained one on the rows to forget, "
        "and like itself on some of the others.",
    )
    epochs: int = 10
    batch_size: int = 32
    optimizer: Optimizer = "adam"
    lr: float = 6e-3
    temperature: float = 1.0
    retain_share: float = 0.3
    norms: Norms = "train"

    def __post_init__(self) -> None:
        super().__post_init__()
        number("temperature", self.temperature, above=0)
        number("retain_share", self.retain_share, at_least=0, at_most=1)
        one_of("norms", self.norms, get_args(Norms))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return the student."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms])
        bad = fresh_network(self.info.name, model, case.trainer, draw_seed(rng))
        x, taught = self.lessons(model, bad, case, rng)
        optimizer = self.make_optimizer(course)

        def loss(index: Index) -> torch.Tensor:
            logits = course.model(x[index])
            return blindspot(taught[index], logits, self.temperature, several=case.multi_label)

        for _ in range(self.epochs):
            course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)
        return course.finish(f"all {self.epochs} epochs done")

    def lessons(
        self, good: nn.Module, bad: nn.Module, case: Case, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features of all rows that are used, and the logits of their teachers.

        Args:
            good: Teaches retained rows, and labels that stay.
            bad: Teaches the rest.
            case: The request.
            rng: Draws the retained rows.
        """
        forget, taught = case.forget, answers(bad, case.forget)
        if case.attribute is not None:
            logits = answers(good, forget)
            logits[:, case.attribute] = taught[:, case.attribute]
            return _features(forget, good), logits
        drawn = rng.permutation(len(case.retain))[: round(self.retain_share * len(case.retain))]
        kept = _unlabelled(case.retain, np.sort(drawn))
        x = torch.cat([_features(forget, good), _features(kept, good)])
        return x, torch.cat([taught, answers(good, kept)]) if len(kept) else taught


def blindspot(
    teacher: torch.Tensor, student: torch.Tensor, temperature: float, *, several: bool
) -> torch.Tensor:
    """Return the divergence of the student's answers from the teacher's, summed over classes.

    Args:
        teacher: Logits `(n, outputs)`, each row's by its own teacher.
        student: Logits `(n, outputs)`.
        temperature: Divides both.
        several: Whether each output is a label of its own.
    """
    target = log_answers(teacher / temperature, several).exp()
    return divergence(target, log_answers(student / temperature, several))


def _features(rows: Rows, model: nn.Module) -> torch.Tensor:
    return torch.tensor(np.asarray(rows.x), device=device_of(model))


def _unlabelled(rows: Rows, index: Index) -> Rows:
    """Return some rows without reading labels."""
    return Rows(x=rows.x[index], y=np.zeros(len(index), dtype=np.int64), ids=rows.ids[index])
