"""L-CODEC: the coefficient, the selection, and the step where it is exact."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.labels import label_loss
from forget_audit.methods._codec import dependence, select
from forget_audit.methods._curvature import newton_step
from forget_audit.methods.l_codec import LCodec
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import rows_tensors
from forget_audit.types import Case, Floats
from tests.fixtures.requests import Train


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def by_hand(y: Floats, z: Floats, given: Floats | None) -> float:
    """The coefficient, row by row."""
    n, top, bottom = len(y), 0.0, 0.0

    def nearest(columns: Floats, i: int) -> int:
        gaps = [np.inf if j == i else ((columns[i] - columns[j]) ** 2).sum() for j in range(n)]
        return int(np.argmin(gaps))

    rank = [sum(y <= value) for value in y]
    for i in range(n):
        if given is None:
            above = sum(y >= y[i])
            top += n * min(rank[i], rank[nearest(z, i)]) - above**2
            bottom += above * (n - above)
        else:
            near = min(rank[i], rank[nearest(np.hstack([given, z]), i)])
            before = min(rank[i], rank[nearest(given, i)])
            top, bottom = top + near - before, bottom + rank[i] - before
    return top / bottom


@pytest.mark.parametrize("conditional", [False, True])
def test_coefficient_by_definition(conditional: bool) -> None:
    draws = rng().standard_normal((30, 4))
    draws[:, 0] = draws[:, 1] + 0.3 * draws[:, 0]
    given = draws[:, 2:] if conditional else None
    found = dependence(draws[:, 0], draws[:, 1:2], given)
    assert found == pytest.approx(by_hand(draws[:, 0], draws[:, 1:2], given))


def test_independence_is_zero_on_average() -> None:
    found = []
    for seed in range(60):
        y, z, x = rng(seed).standard_normal((3, 200))
        found.append((dependence(y, z[:, None]), dependence(y, z[:, None], x[:, None])))
    spread = np.std(found, axis=0)
    assert np.all(np.abs(np.mean(found, axis=0)) < 4 * spread / np.sqrt(60))
    assert np.all(spread < 2 / np.sqrt(200))


def test_a_function_is_told_entirely() -> None:
    z = rng().uniform(-1, 1, (400, 1))
    assert dependence(np.sin(5 * z[:, 0]) + z[:, 0] ** 2, z) > 0.95
    x = rng(6).uniform(-1, 1, (400, 1))
    both = z[:, 0] + x[:, 0]
    assert dependence(both, z, x) > 0.8
    assert dependence(both, z) < 0.7


def test_ties_and_constants_give_numbers() -> None:
    assert dependence(np.ones(20), rng().standard_normal((20, 1))) == 0.0
    assert np.isfinite(dependence(np.repeat([0.0, 1.0], 10), np.ones((20, 2))))
    assert select(np.ones(20), rng().standard_normal((20, 3)), 3) == []


def test_selection_finds_what_was_planted() -> None:
    columns = rng().standard_normal((300, 12))
    y = columns[:, 7] + 0.5 * columns[:, 2] ** 3
    assert set(select(y, columns, 2)) == {2, 7}
    assert select(y, columns, 0) == []
    assert len(select(y, columns, 12)) < 12, "it ends when nothing is added"


def test_step_is_leaving_one_out_on_ridge_regression() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(25, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(25, generator=generator, dtype=torch.float64)

    def fitted(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        curvature = x.T @ x / len(x) + 0.1 * torch.eye(6, dtype=x.dtype)
        found: torch.Tensor = torch.linalg.solve(curvature, x.T @ y / len(x))
        return found

    def loss(x: torch.Tensor, y: torch.Tensor) -> Any:
        return lambda w: ((x @ w["w"] - y) ** 2).mean() / 2 + 0.05 * (w["w"] ** 2).sum()

    weights = {"w": fitted(x, y)}
    everything = {"w": torch.ones(6, dtype=torch.bool)}
    step = newton_step(loss(x[1:], y[1:]), loss(x[:1], y[:1]), weights, everything, 25, 0.0, 50)
    torch.testing.assert_close(
        weights["w"] + step["w"], fitted(x[1:], y[1:]), rtol=1e-9, atol=1e-11
    )
    some = {"w": torch.tensor([True, False, True, False, False, False])}
    part = newton_step(loss(x[1:], y[1:]), loss(x[:1], y[:1]), weights, some, 25, 0.3, 50)["w"]
    kept = some["w"]
    curvature = (x[1:].T @ x[1:] / 24 + torch.eye(6).double() * 0.1)[kept][:, kept]
    slope = ((x[0] @ weights["w"] - y[0]) * x[0] + 0.1 * weights["w"])[kept]
    expected = torch.linalg.solve(curvature + torch.eye(2).double() * 0.3, slope) / 24
    torch.testing.assert_close(part[kept], expected, rtol=1e-9, atol=1e-11)
    assert torch.all(part[~kept] == 0)


def test_negative_curvature_ends_the_solver() -> None:
    weights = {"w": torch.tensor([1.0, 2.0])}
    everything = {"w": torch.ones(2, dtype=torch.bool)}
    step = newton_step(
        lambda w: -(w["w"] ** 2).sum(), lambda w: w["w"].sum(), weights, everything, 5, 0.1, 9
    )
    assert torch.equal(step["w"], torch.zeros(2))


class Switch(nn.Module):
    """One row of weights decides the loss; the others see the inputs but are not heard."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.last = nn.Linear(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(self.first(x)[:, 3:4])
        return answer


def test_units_that_the_loss_hangs_on_are_found() -> None:
    with seeded_torch(3):
        model = Switch().eval()
    masks = LCodec(perturbations=200, most_slices=1).slices(
        model, torch.zeros(5), torch.tensor(1), rng()
    )
    rows = {name: np.unique(mask.nonzero()[:, 0]).tolist() for name, mask in masks.items()}
    planted = (("first", 3), ("last", 0), ("last", 1))
    assert rows in [{f"{name}.weight": [k], f"{name}.bias": [k]} for name, k in planted]


def test_only_chosen_units_move_and_the_forget_loss_rises(
    instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case)
    case = case.replace(forget=case.forget.take(np.arange(6)))
    method = LCodec(most_slices=2)
    done = method.unlearn(model, case, rng())
    x, y = rows_tensors(case.forget, model)
    with torch.no_grad():
        assert float(label_loss(done.model(x), y)) > float(label_loss(model(x), y))
    moved = done.model.get_parameter("1.weight") != model.get_parameter("1.weight")
    head = done.model.get_parameter("3.weight") != model.get_parameter("3.weight")
    units = int(moved.any(1).sum()) + int(head.any(1).sum())
    assert 0 < units <= 2 * 6
    assert Target(done.model).accuracy(case.retain) > Target(model).accuracy(case.retain) - 0.1
    nothing = LCodec(most_slices=0).unlearn(model, case, rng())
    assert weights_digest(nothing.model) == weights_digest(model)


def test_noise_follows_its_formula_and_costly_steps_are_taken_back(
    instance_case: Case, train: Train
) -> None:
    reference = LCodec.preset("reference")
    gamma = 2 * 0.25 / (50_000**2 * 0.01**3)
    assert reference.noise_size(50_000) == pytest.approx(
        gamma / 0.1 * np.sqrt(2 * np.log(1.25 / 0.01))
    )
    model, case = train(instance_case)
    case = case.replace(forget=case.forget.take(np.arange(3)))
    noisy = LCodec(noise=True).unlearn(model, case, rng())
    assert noisy.report.notes[0].startswith("3 of 3 rows had units to step on, 3 steps")
    assert weights_digest(noisy.model) == weights_digest(model)
    wild = LCodec(noise=True, most_drop=1.0).unlearn(model, case, rng()).model
    assert Target(wild).accuracy(case.retain) < Target(model).accuracy(case.retain)


def test_fields_are_checked() -> None:
    wrong: dict[str, Any]
    for wrong in ({"perturbations": 2}, {"damping": 0.0}, {"delta": 1.0}, {"noise": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            LCodec(**wrong)
