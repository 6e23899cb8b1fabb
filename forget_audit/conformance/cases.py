"""Small real requests, originals and reference models, on which conformance is checked.

Everything is trained on the handwritten digits that come with scikit-learn, in seconds, and kept
for the rest of the process.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.contracts import Method
from forget_audit.methods.finetune import Finetune
from forget_audit.pools import Pool, Shadow
from forget_audit.questions import without_attribute
from forget_audit.seeds import derive, generator
from forget_audit.targets import Target
from forget_audit.training.loop import Index, Recipe
from forget_audit.training.originals import needs_its_own, original_for
from forget_audit.training.practice import practise
from forget_audit.training.references import Workshop
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Features, Floats, Labels, Rows, Sensitive

LOOPS = (0, 6, 8, 9)
_originals: dict[tuple[int, str], tuple[Case, nn.Module, Case]] = {}


def trainer_of(name: str, n_outputs: int, **options: object) -> RecipeTrainer:
    """Return a short recipe for a registered architecture on the digits."""
    architecture = Architecture(name=name, shape=(64,), n_classes=n_outputs, options=options)
    return RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=40, lr=0.01))


def attributes_of(y: Labels) -> Labels:
    """Return four labels of each digit: even, at least five, has a loop, is prime."""
    columns = [y % 2 == 0, y >= 5, np.isin(y, LOOPS), np.isin(y, (2, 3, 5, 7))]
    return np.stack(columns, axis=1).astype(np.int64)


@cache
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


@cache
def class_case() -> Case:
    """All threes are to be forgotten."""
    case = instance_case()
    rows, test = case.training, case.test
    return case.replace(
        retain=rows.take(rows.y != 3),
        forget=rows.take(rows.y == 3),
        test=test.take(test.y == 3),
        others=test.take(test.y != 3),
        scope="class",
        classes=(3,),
    )


@cache
def subclass_case() -> Case:
    """The threes of the group {2, 3} are to be forgotten; labels are groups of two digits."""

    def grouped(rows: Rows) -> Rows:
        return Rows(x=rows.x, y=rows.y // 2, ids=rows.ids)

    case = instance_case()
    rows, test = case.training, case.test
    return case.replace(
        n_classes=5,
        retain=grouped(rows.take(rows.y != 3)),
        forget=grouped(rows.take(rows.y == 3)),
        test=grouped(test.take(test.y == 3)),
        others=grouped(test.take(test.y != 3)),
        auxiliary=grouped(case.auxiliary),
        scope="subclass",
        classes=(3,),
        trainer=trainer_of("mlp", 5, hidden=[32]),
    )


@cache
def labels_case() -> Case:
    """The request for single rows, with four labels a row instead of one class."""
    case = instance_case()
    roles = {
        name: Rows(x=rows.x, y=attributes_of(rows.y), ids=rows.ids)
        for name, rows in case.roles().items()
    }
    return case.replace(**roles, n_classes=4, trainer=trainer_of("mlp", 4, hidden=[32]))


@cache
def attribute_case() -> Case:
    """Whether a digit has a loop is to be forgotten of all training rows."""
    return without_attribute(labels_case(), 2)


def original(cls: type[Method], case: Case) -> tuple[nn.Module, Case]:
    """Return an original that the method can unlearn, and the case with what it needs."""
    key = (id(case), cls.info.name if needs_its_own(cls.info) else "plain")
    if key not in _originals:
        _originals[key] = (case, *original_for(cls(), case, 1))
    return _originals[key][1:]


def rows_of(x: Features, y: Labels, prefix: str) -> Rows:
    """Number rows whose content occurs once; later copies are dropped."""
    _, first = np.unique(x, axis=0, return_index=True)
    kept = np.sort(first)
    ids = np.array([f"{prefix}-{i}" for i in kept])
    return Rows(x=x[kept].astype(np.float32), y=y[kept].astype(np.int64), ids=ids)


def noisy(y: Labels, n_classes: int, share: float, rng: np.random.Generator) -> Labels:
    """Replace a share of the labels by random ones, which only memorising can fit."""
    drawn = rng.integers(0, n_classes, len(y))
    return np.where(rng.random(len(y)) < share, drawn, y)


def binary(column: Floats) -> Floats:
    """Return 1 above the median and 0 elsewhere."""
    return (column > np.median(column)).astype(np.float64)


def case_of(
    rows: Rows,
    sizes: tuple[int, int, int, int],
    trainer: RecipeTrainer,
    sensitive: Sensitive,
    name: str,
) -> Case:
    """Deal rows into retained, forgotten, test and auxiliary ones."""
    order = generator(11, name, "roles").permutation(len(rows))
    parts = np.split(order, np.cumsum(sizes))[: len(sizes)]
    retain, forget, test, auxiliary = (rows.take(part) for part in parts)
    return Case(
        name=name,
        n_classes=trainer.architecture.n_classes,
        retain=retain,
        forget=forget,
        test=test,
        auxiliary=auxiliary,
        sensitive=sensitive,
        trainer=trainer,
    )


def pool_of(case: Case, *, retrained: int, originals: int, shadows: int) -> Pool:
    """Train the pool of a case; the parent is an original of its own, the twin its retraining."""
    trainer = case.trainer
    assert isinstance(trainer, RecipeTrainer)
    rows, n_r = case.training, len(case.retain)
    everyone, kept = np.arange(len(rows)), np.arange(n_r)
    subsets: list[Index] = [*[kept] * (retrained + 1), *[everyone] * (originals + 1)]
    seeds = [derive(12, case.name, i) for i in range(len(subsets))]
    seeds[retrained] = seeds[-1]
    models = [Target(model) for model in trainer.many(rows.x, rows.y, subsets, seeds)]
    masks = _halves(len(case.auxiliary), shadows)
    trained = trainer.many(
        case.auxiliary.x,
        case.auxiliary.y,
        [np.flatnonzero(mask) for mask in masks],
        [derive(13, case.name, i) for i in range(shadows)],
    )
    return Pool(
        retrained=tuple(models[:retrained]),
        twin=models[retrained],
        originals=tuple(models[retrained + 1 : -1]),
        parent=models[-1],
        shadows=tuple(
            Shadow(target=Target(model), members=mask)
            for model, mask in zip(trained, masks, strict=True)
        ),
    )


def workshop_of(case: Case) -> Workshop:
    """Return where the auditor trains models for practice."""
    trainer = case.trainer
    assert isinstance(trainer, RecipeTrainer)
    return Workshop(case=case, seed=15, template=trainer.architecture.build)


@cache
def attacked_case() -> Case:
    """Digits with 15 % random labels; one pixel made binary counts as sensitive."""
    x, y = load_digits(return_X_y=True)
    x = x / 16
    x[:, 42] = binary(x[:, 42])
    rows = rows_of(x.astype(np.float32), noisy(y, 10, 0.15, generator(10, "digits")), "digit")
    trainer = RecipeTrainer(
        architecture=Architecture(
            name="mlp", shape=(64,), n_classes=10, options={"hidden": [32, 32]}
        ),
        recipe=Recipe(epochs=80, steps_per_epoch=4, lr=1e-2),
    )
    pixel = Sensitive(column=42, name="a dark pixel", values=(0.0, 1.0))
    return case_of(rows, (300, 60, 150, 300), trainer, pixel, "digits")


@cache
def attacked_pool() -> Pool:
    """Reference models; shadows and candidate shadows were fine-tuned for two epochs."""
    case = attacked_case()
    pool = pool_of(case, retrained=8, originals=3, shadows=4)
    return practise(pool, workshop_of(case), Finetune(epochs=2), 12)


def _halves(n: int, count: int) -> Sequence[npt.NDArray[np.bool_]]:
    masks = []
    for i in range(count):
        mask = np.zeros(n, dtype=bool)
        mask[generator(14, i).permutation(n)[: n // 2]] = True
        masks.append(mask)
    return masks
