"""Originals that a method can unlearn: trained by its own recipe, or with a record, if it needs so.

Most methods take any trained model. Some can only undo training of their own kind, or read a
record that was kept while the original was trained; their cards say so under `needs`.
"""

from typing import Protocol, runtime_checkable

from torch import nn

from forget_audit.contracts import Method, MethodInfo
from forget_audit.errors import NotApplicable
from forget_audit.foreign.answering import AnswersOnly
from forget_audit.training.log import Storage, initial_only, record
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Trainer

SPECIAL = frozenset({"training", "log", "initial"})


@runtime_checkable
class RecipeMethod(Method, Protocol):
    """A method that can only undo training of its own kind; its card needs `training`."""

    def trainer(self, base: Trainer) -> Trainer:
        """Return the recipe of the originals, and of the references, made from `base`."""
        ...


@runtime_checkable
class LogMethod(Method, Protocol):
    """A method that says what the training log must keep; its card needs `log`."""

    def storage(self) -> Storage:
        """Return how the update of a step is stored."""
        ...


def needs_its_own(info: MethodInfo) -> bool:
    """Say whether any other original would be refused."""
    return bool(info.needs & SPECIAL)


def refuse_unseen(method: Method, model: nn.Module) -> None:
    """Refuse to change a model of another library with a method that has to look into it.

    Raises:
        NotApplicable: If the model only answers, and the method needs more.
    """
    if isinstance(model, AnswersOnly) and not method.info.black_box:
        raise NotApplicable(
            f"{method.info.name} changes the weights of a PyTorch network, and this model only "
            "answers; take the method retrain, or hand in an unlearned model"
        )


def original_for(method: Method, case: Case, seed: int) -> tuple[nn.Module, Case]:
    """Return an original that `method` can unlearn, and the case with what it needs beside it.

    Args:
        method: Says on its card what it needs.
        case: With a trainer.
        seed: Of all randomness of the training.

    Raises:
        NotApplicable: If the case holds no trainer, or none whose training can be recorded.
    """
    needs, base, rows = method.info.needs, case.trainer, case.training
    if base is None:
        raise NotApplicable(
            f"training an original for {method.info.name} needs the recipe, found case.trainer "
            "empty; give the case a trainer (x, y, seed) -> model"
        )
    trainer: Trainer = base
    if "training" in needs:
        if not isinstance(method, RecipeMethod):
            raise NotApplicable(
                f"{method.info.name} needs training of its own, found no method trainer(base) "
                "that says which; write one"
            )
        trainer = method.trainer(base)
    if not needs & {"log", "initial"}:
        return trainer(rows.x, rows.y, seed), case.replace(trainer=trainer)
    if not isinstance(trainer, RecipeTrainer):
        raise NotApplicable(
            f"{method.info.name} needs a record of the original's training, found a trainer that "
            "keeps none; use a RecipeTrainer"
        )
    if "log" in needs:
        storage = method.storage() if isinstance(method, LogMethod) else None
        model, log = record(trainer, rows, seed, storage=storage)
    else:
        model, log = trainer(rows.x, rows.y, seed), initial_only(trainer, seed)
    return model, case.replace(trainer=trainer, log=log)
