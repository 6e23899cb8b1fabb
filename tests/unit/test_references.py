"""Reference models: remembered as soon as finished, never reused for anything else."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.data import Request, prepare
from forget_audit.errors import ModelError
from forget_audit.sources import loading as datasets
from forget_audit.targets import weights_digest
from forget_audit.training.loop import Recipe
from forget_audit.training.references import Counts, Workshop, fingerprint, prepare_references
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Features, Labels

COUNTS = Counts(retrained=3, originals=2, identity=2, shadows=2)


def workshop(cache: Path | None, seed: int = 0, epochs: int = 1, workers: int = 1) -> Workshop:
    dataset = datasets.load("digits", folder=Path())
    architecture = Architecture(name="linear", shape=(64,), n_classes=10)
    trainer = RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=epochs))
    case = prepare(dataset, Request(random=50), seed=0, trainer=trainer)
    return Workshop(case=case, seed=seed, template=architecture.build, cache=cache, workers=workers)


def digests(bench: Workshop) -> list[str]:
    references = prepare_references(bench, COUNTS)
    pool = references.pool
    targets = (*pool.retrained, *pool.originals, *references.identity)
    return [t.digest() for t in (*targets, *(s.target for s in pool.shadows))]


def count_trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    trained: list[int] = []
    real = RecipeTrainer.each

    def counting(self, x, y, subsets, seeds, of=None):  # type: ignore[no-untyped-def]
        trained.append(len(subsets))
        return real(self, x, y, subsets, seeds, of)

    monkeypatch.setattr(RecipeTrainer, "each", counting)
    return trained


@pytest.mark.parametrize("remembered", [False, True])
def test_progress_counts_every_model_trained_or_remembered(
    remembered: bool, tmp_path: Path
) -> None:
    if remembered:
        digests(workshop(tmp_path))
    seen: list[int] = []
    digests(dataclasses.replace(workshop(tmp_path), progress=seen.append))
    assert sum(seen) == 9


class Stopped(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("name", ["linear", "mlp with batch norm"])
def test_a_broken_run_keeps_every_model_that_was_finished(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bench() -> Workshop:
        made = workshop(tmp_path)
        if name == "linear":
            return made
        architecture = Architecture(
            name="mlp", shape=(64,), n_classes=10, options={"hidden": [4], "norm": True}
        )
        trainer = RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=1))
        return dataclasses.replace(
            made, case=made.case.replace(trainer=trainer), template=architecture.build
        )

    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads of a stopped batch would end later
    real = RecipeTrainer.each

    def stopping(self, x, y, subsets, seeds, of=None):  # type: ignore[no-untyped-def]
        for count, found in enumerate(real(self, x, y, subsets, seeds, of)):
            if count == 2:
                raise Stopped
            yield found

    rows = [np.arange(20 + k) for k in range(5)]
    with monkeypatch.context() as patch:
        patch.setattr(RecipeTrainer, "each", stopping)
        with pytest.raises(Stopped):
            bench().train("retrained", bench().case.retain, rows)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    trained = count_trainings(monkeypatch)
    models = bench().train("retrained", bench().case.retain, rows)
    assert (len(models), sum(trained)) == (5, 3)


def test_remembered_models_equal_trained_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = digests(workshop(None))
    first = digests(workshop(tmp_path))
    trained = count_trainings(monkeypatch)
    assert digests(workshop(tmp_path)) == first == plain
    assert sum(trained) == 0
    assert len(set(first)) == len(first)
    assert sum(p.stat().st_size > 0 for p in tmp_path.glob("*.safetensors")) == 9
    assert not list(tmp_path.glob("*.part"))


def test_other_seeds_recipes_and_rows_are_not_confused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests(workshop(tmp_path))
    trained = count_trainings(monkeypatch)
    digests(workshop(tmp_path, seed=1))
    digests(workshop(tmp_path, epochs=2))
    assert sum(trained) == 18


def test_a_damaged_file_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = digests(workshop(tmp_path))
    victim = sorted(tmp_path.glob("*.safetensors"))[0]
    victim.write_bytes(b"damaged")
    trained = count_trainings(monkeypatch)
    assert digests(workshop(tmp_path)) == first
    assert sum(trained) == 1


def test_more_references_leave_the_first_as_they_were() -> None:
    few = prepare_references(workshop(None), COUNTS)
    many = prepare_references(workshop(None), dataclasses.replace(COUNTS, retrained=5))
    assert [t.digest() for t in few.pool.retrained] == [t.digest() for t in many.pool.retrained[:3]]


def own_fit(x: Features, y: Labels, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed % 2**31)
    model = nn.Linear(64, 10)
    with torch.no_grad():
        model.weight.copy_(torch.randn(10, 64, generator=generator) * float(len(x)))
        model.bias.zero_()
    return model


def own_case(function: object) -> Case:
    return workshop(None).case.replace(trainer=function)


def test_functions_of_the_users_own_are_called_and_remembered(tmp_path: Path) -> None:
    bench = dataclasses.replace(
        workshop(tmp_path), case=own_case(own_fit), template=lambda: nn.Linear(64, 10)
    )
    first = digests(bench)
    assert digests(bench) == first
    assert len(list(tmp_path.glob("*.safetensors"))) == 9
    expected = own_fit(np.zeros((650, 64), dtype=np.float32), np.zeros(650, dtype=np.int64), 1)
    assert weights_digest(expected) not in first


def test_code_that_stands_in_no_file_is_not_remembered(tmp_path: Path) -> None:
    scope: dict[str, object] = {"nn": nn}
    exec("def fit(x, y, seed):\n    return nn.Linear(64, 10)", scope)  # noqa: S102  code in no file
    assert fingerprint(scope["fit"]) is None  # type: ignore[arg-type]
    bench = dataclasses.replace(
        workshop(tmp_path), case=own_case(scope["fit"]), template=lambda: nn.Linear(64, 10)
    )
    bench.train("retrained", bench.case.retain, [np.arange(10)])
    assert not list(tmp_path.iterdir())


def test_without_a_recipe_there_is_no_retraining() -> None:
    bench = dataclasses.replace(workshop(None), case=own_case(None))
    with pytest.raises(ModelError, match="needs the training recipe"):
        bench.train("retrained", bench.case.retain, [np.arange(10)])
