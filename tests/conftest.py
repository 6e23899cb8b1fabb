"""Small real cases with trained models, made once a session."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.laboratory import Laboratory, Procedure
from forget_audit.methods.finetune import Finetune
from forget_audit.pools import Pool, Shadow
from forget_audit.seeds import derive, generator
from forget_audit.targets import Target
from forget_audit.training.loop import Index, Recipe
from forget_audit.training.practice import practise
from forget_audit.training.references import Workshop
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Features, Floats, Labels, Rows, Sensitive

torch.set_num_threads(1)


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
    return (column > np.median(column)).astype(np.float64)


def case_of(
    rows: Rows,
    sizes: tuple[int, int, int, int],
    trainer: RecipeTrainer,
    sensitive: Sensitive,
    name: str,
) -> Case:
    order = generator(11, name, "roles").permutation(len(rows))
    ends = np.cumsum(sizes)
    retain, forget, test, auxiliary = (
        rows.take(part) for part in np.split(order, ends)[: len(sizes)]
    )
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
    trainer = case.trainer
    assert isinstance(trainer, RecipeTrainer)
    return Workshop(case=case, seed=15, template=trainer.architecture.build)


def _halves(n: int, count: int) -> Sequence[np.ndarray]:
    masks = []
    for i in range(count):
        mask = np.zeros(n, dtype=bool)
        mask[generator(14, i).permutation(n)[: n // 2]] = True
        masks.append(mask)
    return masks


@pytest.fixture(scope="session")
def digits_case() -> Case:
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


@pytest.fixture(scope="session")
def digits_pool(digits_case: Case) -> Pool:
    """Reference models; shadows and candidate shadows were fine-tuned for two epochs."""
    pool = pool_of(digits_case, retrained=8, originals=3, shadows=4)
    return practise(pool, workshop_of(digits_case), Finetune(epochs=2), 12)


@pytest.fixture(scope="session")
def digits_lab(digits_case: Case) -> Callable[[Procedure], Laboratory]:
    """Laboratories by procedure that share what they train; the method is a short fine-tuning."""
    memory: dict[str, nn.Module] = {}

    def lab(procedure: Procedure) -> Laboratory:
        assert digits_case.trainer is not None
        method = Finetune(epochs=2) if procedure == "method" else None
        return Laboratory(
            trainer=digits_case.trainer, procedure=procedure, method=method, memory=memory
        )

    return lab


@pytest.fixture(scope="session")
def cancer_case() -> Case:
    """Breast cancer with 20 % random labels; one column made binary counts as sensitive."""
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    x[:, 14] = 2 * binary(x[:, 14]) - 1
    rows = rows_of(x.astype(np.float32), noisy(y, 2, 0.2, generator(10, "cancer")), "tumour")
    trainer = RecipeTrainer(
        architecture=Architecture(
            name="mlp", shape=(30,), n_classes=2, options={"hidden": [32, 32]}
        ),
        recipe=Recipe(epochs=80, steps_per_epoch=3, lr=1e-2),
    )
    texture = Sensitive(column=14, name="rough outline", values=(-1.0, 1.0))
    return case_of(rows, (180, 60, 120, 200), trainer, texture, "cancer")


@pytest.fixture(scope="session")
def cancer_pool(cancer_case: Case) -> Pool:
    pool = pool_of(cancer_case, retrained=4, originals=2, shadows=2)
    return practise(pool, workshop_of(cancer_case), Finetune(epochs=2), 6)
