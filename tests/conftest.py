"""Small real cases with trained models, made once a session."""

import gc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.conformance.cases import (
    attacked_case,
    attacked_pool,
    binary,
    case_of,
    noisy,
    pool_of,
    rows_of,
    workshop_of,
)
from forget_audit.laboratory import Laboratory, Procedure
from forget_audit.methods.finetune import Finetune
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.training.loop import Recipe
from forget_audit.training.practice import practise
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Sensitive
from tests.fixtures.commands import run as run

torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Spare what was imported from garbage collection, which Holm's correction starts each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An account of the tests' own: nothing is written into that of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGET_AUDIT_HOME", str(tmp_path_factory.mktemp("account")))
        yield


@pytest.fixture(scope="session")
def digits_case() -> Case:
    """Digits with 15 % random labels; one pixel made binary counts as sensitive."""
    return attacked_case()


@pytest.fixture(scope="session")
def digits_pool() -> Pool:
    """Reference models; shadows and candidate shadows were fine-tuned for two epochs."""
    return attacked_pool()


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
