"""Memory that runs out: fewer models at once, the same models, and in the end plain words."""

import resource
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.errors import MemoryShortage
from forget_audit.faults import gpu_lost, out_of_memory
from forget_audit.training import together, trainers
from forget_audit.training.loop import Recipe
from forget_audit.training.memory import fit_smaller
from forget_audit.training.own_functions import CallTrainer
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.training.ways import Way
from tests.faults.machines import python

SHORT = (
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    RuntimeError("std::bad_alloc"),
)
REAL = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from forget_audit.architectures import Architecture
from forget_audit.errors import MemoryShortage
from forget_audit.training.loop import Recipe
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.training.ways import Way
torch.set_num_threads(1)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(64, 400)).astype(np.float32), rng.integers(0, 2, 64)
def models(width, count):
    trainer = RecipeTrainer(
        architecture=Architecture(
            name="mlp", shape=(400,), n_classes=2, options={"hidden": [width]}),
        recipe=Recipe(epochs=1, steps_per_epoch=2))
    way = Way(how="written out", models=count)
    return trainer.fit_chunk(x, y, [np.arange(64)] * count, list(range(count)), way)
models(8, 2)
def used():
    line, = (l for l in Path("/proc/self/status").read_text().splitlines() if "VmData" in l)
    return int(line.split()[1]) * 1024
free = models(1000, 16)
room = used() + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (room, room))
try:
    tight = models(1000, 16)
except MemoryShortage as error:
    print("short:", error)
else:
    same = all(torch.equal(a, b) for m, n in zip(free, tight) for a, b in
               zip(m.state_dict().values(), n.state_dict().values()))
    print("same" if same else "other")
"""


@pytest.mark.parametrize("error", SHORT, ids=range(len(SHORT)))
def test_what_means_that_memory_ran_out(error: Exception) -> None:
    assert out_of_memory(error)
    assert not gpu_lost(error)


def test_what_does_not() -> None:
    for error in (RuntimeError("shapes differ"), ValueError("out of memory"), OSError(12, "x")):
        assert not out_of_memory(error)
    assert gpu_lost(RuntimeError("CUDA error: unspecified launch failure"))
    assert not gpu_lost(ValueError("CUDA error"))


@pytest.mark.parametrize("most", [1, 3, 5])
def test_halves_until_they_fit(most: int, caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    def fit(places: Sequence[int]) -> list[nn.Module]:
        asked.append(len(places))
        if len(places) > most:
            raise SHORT[1]
        return [nn.Linear(place + 1, 1) for place in places]

    found = fit_smaller(fit, range(11))
    assert [model.in_features for model in found] == list(range(1, 12))
    assert asked[0] == 11
    assert max(number for number in asked[-2:]) <= most
    assert "memory ran out for 11 models at once; fewer are trained at once" in caplog.messages


def test_not_even_one_is_told_and_other_errors_pass() -> None:
    def never(_: Sequence[int]) -> list[nn.Module]:
        raise SHORT[0]

    with pytest.raises(MemoryShortage, match="fewer --workers, a smaller network or fewer rows"):
        fit_smaller(never, range(4))

    def wrong(_: Sequence[int]) -> list[nn.Module]:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        fit_smaller(wrong, range(4))


@pytest.mark.parametrize("how", ["written out", "torch.func"])
def test_models_do_not_change(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(24, 5)).astype(np.float32), rng.integers(0, 2, 24)
    architecture = Architecture(name="mlp", shape=(5,), n_classes=2, options={"hidden": [4]})
    trainer = RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=2, steps_per_epoch=2))
    way = Way(how=how, models=4)  # type: ignore[arg-type]
    subsets, seeds = [np.arange(24)] * 4, [1, 2, 3, 4]
    free = trainer.fit_chunk(x, y, subsets, seeds, way)
    true, failed = together.fit_together, []

    def short(models: Sequence[nn.Module], *args: object, **kwargs: object) -> None:
        if len(models) > 1:
            failed.append(len(models))
            raise SHORT[1]
        true(models, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(trainers, "fit_together", short)
    tight = trainer.fit_chunk(x, y, subsets, seeds, way)
    assert failed == ([4, 2, 2] if how == "written out" else [4])
    for one, other in zip(free, tight, strict=True):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_function_of_ones_own_that_needs_too_much() -> None:
    def greedy(x: object, y: object, seed: int) -> object:
        raise MemoryError

    with pytest.raises(
        MemoryShortage, match=r"not enough memory for .*greedy, which failed at line"
    ):
        CallTrainer(greedy)(np.zeros((2, 2), np.float32), np.zeros(2, np.int64), 1)


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_DATA"), reason="no such limit")
def test_a_machine_that_is_really_short_of_memory() -> None:
    done = python(REAL, 130)  # of some 200 MB that 16 models at once need, and 15 that one does
    assert done.stdout == "same\n", done
    done = python(REAL, 6)
    assert done.stdout.startswith("short: not enough memory for training one model"), done
