"""Taking back what recorded steps of a training changed."""

from dataclasses import dataclass
from itertools import groupby
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import Unlearned
from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss
from forget_audit.methods._settings import Presets, flag, number, one_of, refuse_unserved, whole
from forget_audit.methods._steps import Course, Stepping
from forget_audit.targets import Target
from forget_audit.training.log import Step, TrainingLog
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import Case

Order = Literal["all", "reverse_epochs"]


@dataclass(frozen=True, kw_only=True)
class Subtraction(Presets):
    """The fields of methods that subtract recorded updates.

    Args:
        order: `all` subtracts every affected step; `reverse_epochs` goes back epoch by epoch,
            the latest first, and stops at `target`.
        target: Share of forget rows classified as labelled at which `reverse_epochs` stops.
        buffers: Whether recorded changes of buffers are subtracted too.
        repair_epochs: Passes over the retained rows afterwards.
        repair_lr: Learning rate of Adam in them.
    """

    order: Order = "all"
    target: float = 0.0
    buffers: bool = False
    repair_epochs: int = 0
    repair_lr: float = 1e-3

    def __post_init__(self) -> None:
        one_of("order", self.order, get_args(Order))
        number("target", self.target, at_least=0)
        flag("buffers", self.buffers)
        whole("repair_epochs", self.repair_epochs, at_least=0)
        number("repair_lr", self.repair_lr, above=0)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy without the recorded updates of the steps that held a forget row."""
        refuse_unserved(self.info, case)
        log = case.log
        assert log is not None
        self.check(model, log)
        steps = self.affected(log, case)
        course = Course(model, rng, ["train"] if self.repair_epochs else ())
        reason, notes = self.subtract(course, steps, log, case)
        share = len(steps) / log.taken
        notes.insert(0, f"{len(steps)} of {log.taken} steps held a forget row ({share:.0%})")
        if share > 0.5:
            notes.insert(
                1,
                "warning: more than half of the training is affected; what is subtracted leads "
                "back to the initial weights rather than away from the forget rows",
            )
        if self.repair_epochs:
            self.repair(course, case, rng)
        return course.finish(reason, *notes)

    def check(self, model: nn.Module, log: TrainingLog) -> None:
        """Check that `log` can be of the training of `model`, and that it is complete.

        Raises:
            NotApplicable: If not.
        """
        found = {name: t.shape for name, t in model.state_dict().items()}
        if found != {name: t.shape for name, t in log.initial.items()}:
            raise NotApplicable(
                f"{self.info.name} expected the record of this model's training, found one with "
                "other weights; give the case the log that was kept with this model"
            )
        numbers = [step.number for step in log.steps]
        if log.watched is None and numbers != list(range(log.taken)):
            raise NotApplicable(
                f"{self.info.name} expected a record of all {log.taken} steps, found "
                f"{len(numbers)}; a missing step cannot be undone, restore the log"
            )
        floating = {name for name, b in model.named_buffers() if b.is_floating_point()}
        if self.buffers and any(not floating <= log.updates(s).keys() for s in log.steps[:1]):
            raise NotApplicable(
                f"{self.info.name} expected recorded changes of buffers, found none of "
                f"{', '.join(sorted(floating))}; record with buffers=True or leave buffers out"
            )

    def affected(self, log: TrainingLog, case: Case) -> list[Step]:
        """Return the steps that held a forget row.

        Raises:
            NotApplicable: If a forget row was not watched or took part in no recorded step.
        """
        ids = case.forget.ids.tolist()
        try:
            steps = log.affected(ids)
        except KeyError as error:
            raise NotApplicable(f"{self.info.name}: {error.args[0]}") from error
        seen = {row for step in steps for row in step.ids.tolist()}
        missing = sorted(set(ids) - seen)
        if missing:
            raise NotApplicable(
                f"{self.info.name} expected each row to forget in some recorded step, found "
                f"{len(missing)} in none (first: {missing[0]}); the log is of other rows"
            )
        return steps

    def subtract(
        self, course: Course, steps: list[Step], log: TrainingLog, case: Case
    ) -> tuple[str, list[str]]:
        """Subtract the updates of `steps`, summed in float64, and say why it ended, and notes."""
        parameters = {name for name, _ in course.model.named_parameters()}
        state = {
            name: t
            for name, t in course.model.state_dict().items()
            if name in parameters or (self.buffers and t.is_floating_point())
        }
        exact = {name: t.to(torch.float64, copy=True) for name, t in state.items()}
        notes: list[str] = []
        for epoch, group in groupby(reversed(steps), key=lambda step: step.epoch):
            if self.order == "reverse_epochs":
                accuracy = Target(course.model).accuracy(case.forget)
                if accuracy <= self.target:
                    notes.append(f"the end was decided by the forget rows, accuracy {accuracy:.3g}")
                    return f"forget accuracy at most {self.target:g}, epochs to {epoch} kept", notes
            for step in group:
                for name, update in log.updates(step).items():
                    if name in exact:
                        exact[name] -= update.to(exact[name])
            with torch.no_grad():
                for name, tensor in state.items():
                    tensor.copy_(exact[name])
        return f"all {len(steps)} affected steps subtracted", notes

    def repair(self, course: Course, case: Case, rng: np.random.Generator) -> None:
        """Train on with the retained rows."""
        adam = Stepping(optimizer="adam", lr=self.repair_lr)
        optimizer = adam.make_optimizer(course)
        x, y = rows_tensors(case.retain, course.model)

        def loss(index: Index) -> torch.Tensor:
            return label_loss(course.model(x[index]), y[index])

        for _ in range(self.repair_epochs):
            course.run(loss, adam.batches(len(x), rng), optimizer, norms="train")
