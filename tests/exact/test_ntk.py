"""NTK forgetting is ridge regression on linear models, and stretched as published."""

import math
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods import ntk
from forget_audit.methods.ntk import Ntk, gram, linear_ends, trapezium
from forget_audit.targets import Target
from forget_audit.training.log import TrainingLog, initial_only
from forget_audit.training.loop import rows_tensors
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Rows
from tests.fixtures.requests import Train


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(*shape: int) -> torch.Tensor:
    return torch.from_numpy(rng(sum(shape)).standard_normal(shape))


def small(case: Case) -> Case:
    return case.replace(retain=case.retain.take(np.arange(60)))


def ridge(rows: Rows, penalty: float) -> torch.Tensor:
    model = nn.Linear(1, 1).double()
    x, y = rows_tensors(rows, model)
    x, target = x.double(), 2.0 * nn.functional.one_hot(y, 10).double() - 1.0
    matrix = x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype)
    solution: torch.Tensor = torch.linalg.solve(matrix, x.T @ target).T
    return solution


def test_linear_regression_is_a_difference_of_ridge_solutions(instance_case: Case) -> None:
    case = small(instance_case)
    log = TrainingLog(initial=MappingProxyType({"weight": torch.zeros(10, 64)}))
    model = nn.Linear(64, 10, bias=False).double()
    method = Ntk(residual="square", stretch=False, decay=0.02)
    moved = method.unlearn(model, case.replace(log=log), rng()).model
    expected = ridge(case.retain, 60 * 0.02) - ridge(case.training, 100 * 0.02)
    difference = dict(moved.named_parameters())["weight"].detach() - model.weight.detach()
    assert torch.allclose(difference, expected, atol=1e-10)
    assert float(expected.abs().max()) > 1e-2


@pytest.mark.parametrize("width", [5, 40])
def test_both_forms_are_the_published_one(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ntk, "BLOCK", 3)
    slopes, errors = drawn(8, 2, width), drawn(8, 2)
    for end, n in zip(linear_ends(slopes, errors, 6, 0.1), (8, 6), strict=True):
        g = slopes[:n].flatten(0, 1)
        kernel = g @ g.T + n * 0.1 * torch.eye(2 * n, dtype=g.dtype)
        assert torch.allclose(end, -g.T @ torch.linalg.solve(kernel, errors[:n].flatten()))


@pytest.mark.parametrize("width", [5, 40])
def test_without_forget_rows_both_ends_are_one(width: int) -> None:
    slopes, errors = drawn(8, 2, width), drawn(8, 2)
    every, kept = linear_ends(slopes, errors, 8, 0.1)
    assert torch.equal(every, kept)


def test_kernel_is_symmetric_and_not_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = drawn(11, 4)
    whole = rows @ rows.T
    for size in (3, 11, 50):
        monkeypatch.setattr(ntk, "BLOCK", size)
        kernel = gram(rows)
        assert torch.allclose(kernel, kernel.T)
        assert torch.allclose(kernel, whole)
    assert float(torch.linalg.eigvalsh(whole)[0]) > -1e-9


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_stretch_is_the_published_formula(sign: float) -> None:
    step, rest = drawn(6), sign * drawn(3, 2).flatten()
    length, far = float(step.norm()), float(rest.norm())
    c = float(step @ rest) / length / far
    published = {
        True: (length + 2 * math.sin(math.acos(c) - math.pi / 2) * far) / length,
        False: (length + 2 * c * far) / length,
    }
    assert trapezium(step, rest) == pytest.approx(published[c < 0])
    assert trapezium(torch.zeros(6, dtype=torch.float64), rest) == 1.0


def test_stretched_step_forgets_more_than_the_bare_one(train: Train, class_case: Case) -> None:
    model, case = train(class_case, "mlp", hidden=[8])
    assert isinstance(case.trainer, RecipeTrainer)
    case = case.replace(log=initial_only(case.trainer, 1))
    accuracy = {}
    for stretch in (True, False):
        new = Target(Ntk(stretch=stretch).unlearn(model, case, rng()).model)
        assert new.accuracy(case.retain) > 0.9
        accuracy[stretch] = new.accuracy(case.forget)
    assert accuracy[True] < accuracy[False]


def test_noise_is_wide_where_retained_rows_do_not_mind(train: Train, instance_case: Case) -> None:
    model, case = train(instance_case, "mlp", hidden=[8])
    assert isinstance(case.trainer, RecipeTrainer)
    case = case.replace(log=initial_only(case.trainer, 1))
    quiet, loud = (
        dict(Ntk(noise=noise).unlearn(model, case, rng()).model.named_parameters())["1.weight"]
        for noise in (0.0, 1e-9)
    )
    moved = (loud - quiet).detach().abs()
    dead = ~torch.tensor(case.retain.x).bool().any(0)
    assert dead.any()
    assert moved[:, dead].mean() > 2 * moved[:, ~dead].mean()


def test_what_cannot_be_is_refused(train: Train, instance_case: Case) -> None:
    model, case = train(instance_case, "mlp", hidden=[8])
    assert isinstance(case.trainer, RecipeTrainer)
    log = initial_only(case.trainer, 1)
    with pytest.raises(NotApplicable, match="at most 99 rows times outputs, found 2600"):
        Ntk(most=99).unlearn(model, case.replace(log=log), rng())
    other = TrainingLog(initial=MappingProxyType({"weight": torch.zeros(3)}))
    with pytest.raises(NotApplicable, match="initial weights of this architecture"):
        Ntk().unlearn(model, case.replace(log=other), rng())
    grown = TrainingLog(initial={**log.initial, "1.weight": torch.zeros(3)})
    with pytest.raises(NotApplicable, match="initial weights, found"):
        Ntk().unlearn(model, case.replace(log=grown), rng())
