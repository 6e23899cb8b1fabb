"""Real requests of every scope on the digits, and models of every kind trained on them."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_digits
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.labels import without_attribute
from forget_audit.trainers import RecipeTrainer
from forget_audit.training import Recipe
from forget_audit.training_log import TrainingLog, record
from forget_audit.types import Case, Labels, Rows

LOOPS = (0, 6, 8, 9)
Train = Callable[..., tuple[nn.Module, Case]]


def trainer_of(name: str, n_outputs: int, **options: object) -> RecipeTrainer:
    """Return a short recipe for a registered architecture on the digits."""
    architecture = Architecture(name=name, shape=(64,), n_classes=n_outputs, options=options)
    return RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=40, lr=0.01))


def attributes_of(y: Labels) -> Labels:
    """Return four labels of each digit: even, at least five, has a loop, is prime."""
    columns = [y % 2 == 0, y >= 5, np.isin(y, LOOPS), np.isin(y, (2, 3, 5, 7))]
    return np.stack(columns, axis=1).astype(np.int64)


@pytest.fixture(scope="session")
def instance_case() -> Case:
    """Forty of 260 digits are to be forgotten."""
    digits = load_digits()
    chosen = np.random.default_rng(0).permutation(len(digits.target))[:480]
    rows = Rows(x=digits.data[chosen] / 16, y=digits.target[chosen], ids=chosen.astype(np.str_))
    return Case(
        name="digits",
        n_classes=10,
        retain=rows.take(np.arange(220)),
        forget=rows.take(np.arange(220, 260)),
        test=rows.take(np.arange(260, 380)),
        auxiliary=rows.take(np.arange(380, 480)),
        trainer=trainer_of("mlp", 10, hidden=[32]),
    )


@pytest.fixture(scope="session")
def class_case(instance_case: Case) -> Case:
    """All threes are to be forgotten."""
    rows, test = instance_case.training, instance_case.test
    return instance_case.replace(
        retain=rows.take(rows.y != 3),
        forget=rows.take(rows.y == 3),
        test=test.take(test.y == 3),
        others=test.take(test.y != 3),
        scope="class",
        classes=(3,),
    )


@pytest.fixture(scope="session")
def subclass_case(instance_case: Case) -> Case:
    """The threes of the group {2, 3} are to be forgotten; labels are groups of two digits."""

    def grouped(rows: Rows) -> Rows:
        return Rows(x=rows.x, y=rows.y // 2, ids=rows.ids)

    rows, test = instance_case.training, instance_case.test
    return instance_case.replace(
        n_classes=5,
        retain=grouped(rows.take(rows.y != 3)),
        forget=grouped(rows.take(rows.y == 3)),
        test=grouped(test.take(test.y == 3)),
        others=grouped(test.take(test.y != 3)),
        auxiliary=grouped(instance_case.auxiliary),
        scope="subclass",
        classes=(3,),
        trainer=trainer_of("mlp", 5, hidden=[32]),
    )


@pytest.fixture(scope="session")
def labels_case(instance_case: Case) -> Case:
    """The instance request, with four labels a row instead of one class."""
    roles = {
        name: Rows(x=rows.x, y=attributes_of(rows.y), ids=rows.ids)
        for name, rows in instance_case.roles().items()
    }
    return instance_case.replace(**roles, n_classes=4, trainer=trainer_of("mlp", 4, hidden=[32]))


@pytest.fixture(scope="session")
def attribute_case(labels_case: Case) -> Case:
    """Whether a digit has a loop is to be forgotten of all training rows."""
    return without_attribute(labels_case, 2)


@pytest.fixture(scope="session")
def train() -> Train:
    """Return a function that trains an original on a case and says with which trainer.

    `train(case, "mlp", hidden=[32], norm=True)` returns the model and the case with its trainer;
    without a name the trainer of the case is used. The same call trains once a session.
    """
    made: dict[tuple[object, ...], tuple[nn.Module, Case]] = {}

    def once(case: Case, name: str | None = None, **options: object) -> tuple[nn.Module, Case]:
        key = (id(case), name, repr(sorted(options.items())))
        if key not in made:
            trainer = trainer_of(name, case.n_classes, **options) if name else case.trainer
            assert trainer is not None
            rows = case.training
            made[key] = (trainer(rows.x, rows.y, 1), case.replace(trainer=trainer))
        return made[key]

    return once


@pytest.fixture(scope="session")
def logged(instance_case: Case) -> tuple[nn.Module, TrainingLog]:
    """An original of the instance request and the whole log of its training."""
    trainer = instance_case.trainer
    assert isinstance(trainer, RecipeTrainer)
    return record(trainer, instance_case.training, 1)
