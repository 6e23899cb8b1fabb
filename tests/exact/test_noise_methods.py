"""Methods around UNSIR: what noise does alone, for every class, and for single rows."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods._noise import fit_noise, limits, sample
from forget_audit.methods.emmn import Emmn
from forget_audit.methods.fmul import Fmul
from forget_audit.methods.unsir import Unsir
from forget_audit.methods.unsir_instance import UnsirInstance
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case, Rows
from tests.fixtures.requests import Train


@pytest.fixture
def regression() -> nn.Linear:
    with seeded_torch(4):
        return nn.Linear(64, 10)


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def blank(rows: Rows) -> Rows:
    return Rows(
        x=rng(len(rows)).random(rows.x.shape).astype(np.float32), y=0 * rows.y, ids=rows.ids
    )


def test_limits_come_from_json() -> None:
    assert limits(None) is None
    assert limits([0, 1]) == (0, 1)


def test_a_sample_of_rows_with_several_labels() -> None:
    labels = np.zeros((50, 4), dtype=np.int64)
    index = sample(labels, 3, rng())
    assert len(index) == 12
    assert np.unique(index).size == 12


def test_fitting_noise_leaves_the_model_bit_for_bit() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).train()
    before = weights_digest(model)
    fit_noise(model, torch.ones(5, 4), lambda logits, _: logits.sum(), steps=2, lr=0.1)
    assert weights_digest(model) == before
    assert model.training
    assert all(p.grad is None for p in model.parameters())


# FMUL


@pytest.mark.parametrize("settings", [{}, {"epochs": 2, "impair_norms": "frozen"}], ids=str)
def test_fmul_is_unsir_without_repair(
    settings: dict[str, Any], class_case: Case, train: Train
) -> None:
    model, case = train(class_case, "mlp", hidden=[32], norm=True)
    half = Fmul(**settings)
    whole = Unsir(**dataclasses.asdict(half), repair_passes=0, repair_norms=half.impair_norms)
    one, other = (method.unlearn(model, case, rng()) for method in (half, whole))
    assert weights_digest(one.model) == weights_digest(other.model) != weights_digest(model)
    assert dataclasses.replace(one.report, seconds=0) == dataclasses.replace(
        other.report, seconds=0
    )


def test_fmul_forgets_and_repair_helps_the_others(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    impaired = Target(Fmul(copies=4).unlearn(model, case, rng()).model)
    settings = {**dataclasses.asdict(Fmul(copies=4)), "repair_passes": 1}
    repaired = Target(Unsir(**settings).unlearn(model, case, rng()).model)
    assert impaired.accuracy(case.forget) <= 0.05
    assert repaired.accuracy(case.retain) >= impaired.accuracy(case.retain) > 0.8


def test_presets_of_fmul_are_impair_halves() -> None:
    assert Fmul.preset("vggface-vit").lr == 1e-4
    assert set(Fmul.info.presets) == set(Unsir.info.presets)


# EMMN


def test_minimising_noise_is_what_the_model_says_it_is(class_case: Case, train: Train) -> None:
    model = train(class_case)[0]
    kept = [0, 1, 2, 4, 5, 6, 7, 8, 9]
    noise, labels = Emmn(min_steps=60, bounds=None).noise(model, kept, (64,), rng(), wrong=False)
    assert labels.tolist() == np.repeat(kept, 32).tolist()
    with torch.no_grad():
        logits = model(noise)
    loss = nn.functional.cross_entropy(logits, labels, reduction="none")
    assert loss.max() < 0.05
    assert torch.equal(logits.argmax(1), labels)


def test_maximising_noise_of_emmn_is_that_of_unsir(class_case: Case, train: Train) -> None:
    model = train(class_case)[0]
    one = Emmn(max_steps=25, bounds=None).noise(model, (3,), (64,), rng(), wrong=True)[0]
    labels = np.full(32, 3)
    other = Unsir(noise_steps=25).learn_noise(model, labels, (64,), rng())[0]
    assert torch.equal(one, other)


@pytest.mark.parametrize("wrong", [True, False])
def test_one_step_of_the_noise_of_emmn(wrong: bool, regression: nn.Linear) -> None:
    """The first step of Adam goes against the sign of the gradient, in closed form."""
    method = Emmn(noise_per_class=4, max_steps=1, min_steps=1, noise_lr=0.05, lam=0.2, bounds=None)
    noise, labels = method.noise(regression, (3, 8), (64,), rng(), wrong=wrong)
    start = rng().standard_normal((8, 64), dtype=np.float32).astype(np.float64)
    w, b = (p.detach().double().numpy() for p in (regression.weight, regression.bias))
    residual = softmax(start @ w.T + b, axis=1) - np.eye(10)[labels]
    gradient = residual @ w if not wrong else 2 * 0.2 * start - residual @ w
    clear = np.abs(gradient) > 1e-4
    assert clear.mean() > 0.99
    expected = start - 0.05 * np.sign(gradient)
    np.testing.assert_allclose(noise.numpy()[clear], expected[clear], atol=1e-3)


def test_no_row_makes_a_difference_to_emmn(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    other = case.replace(retain=blank(case.retain), forget=blank(case.forget), trainer=None)
    one, two = (Emmn().unlearn(model, c, rng()) for c in (case, other))
    assert weights_digest(one.model) == weights_digest(two.model) != weights_digest(model)
    assert one.report.rows_touched == 20 * 10 * 32


@pytest.mark.parametrize("seed", [1, 2])
def test_emmn_forgets(seed: int, class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    new = Target(Emmn().unlearn(model, case, rng(seed)).model)
    assert new.accuracy(case.forget) < 0.5
    assert new.accuracy(case.retain) > 0.8


@pytest.mark.parametrize("classes", [(), tuple(range(10))], ids=str)
def test_emmn_needs_some_classes(classes: tuple[int, ...], class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    with pytest.raises(NotApplicable, match=r"emmn needs .* some of 10 classes"):
        Emmn().unlearn(model, case.replace(classes=classes), rng())


def test_the_port_of_emmn_runs(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[32], norm=True)
    report = Emmn.preset("port").unlearn(model, case, rng()).report
    assert report.rows_touched == 2 * 10 * 3 * 80
    assert report.notes[-1] == "batch norm: train"


# UNSIR for single rows


@pytest.mark.parametrize("start", ["normal", "forget"])
def test_noise_for_single_rows(start: Any, regression: nn.Linear, instance_case: Case) -> None:
    """One step of Adam up the squared distance of logits, by its sign, then clamped."""
    x = torch.from_numpy(instance_case.forget.x[:6].copy())
    method = UnsirInstance(start=start, noise_steps=1, noise_lr=0.05, bounds=(0.0, 0.9))
    draw = rng().standard_normal((6, 64), dtype=np.float32)
    begin = x.numpy() if start == "forget" else draw
    found = method.unlike(regression, x, rng()).numpy()
    w = regression.weight.detach().double().numpy()
    gradient = (begin.astype(np.float64) - x.numpy()) @ w.T @ w
    expected = np.clip(begin + 0.05 * np.sign(gradient), 0, 0.9)
    if start == "forget":  # the distance is zero there, and so is its gradient
        expected = np.clip(begin, 0, 0.9)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_more_steps_take_the_noise_further(instance_case: Case, train: Train) -> None:
    model = train(instance_case)[0]
    x = torch.from_numpy(instance_case.forget.x.copy())
    distances = []
    for steps in (0, 5, 10):
        noise = UnsirInstance(start="normal", noise_steps=steps, bounds=None).unlike(
            model, x, rng()
        )
        with torch.no_grad():
            distances.append(nn.functional.mse_loss(model(noise), model(x)).item())
    assert distances == sorted(distances)
    assert distances[2] > 1.2 * distances[0]


def test_one_impair_step_on_single_rows(regression: nn.Linear, instance_case: Case) -> None:
    """Gradient descent on noise and on retained rows, both with the labels of these rows."""
    method = UnsirInstance(
        epochs=1, batch_size=1000, least_steps=1, optimizer="sgd", momentum=0.0, lr=0.3,
        repair_passes=0, start="normal", noise_steps=2,
    )  # fmt: skip
    new = method.unlearn(regression, instance_case, rng()).model
    assert isinstance(new, nn.Linear)
    replay = rng()
    replay.integers(0, 2**63 - 1)  # the seed of dropout
    forget = torch.from_numpy(instance_case.forget.x[replay.permutation(40)])
    pair = replay.permutation(220)[:40]
    noise = method.unlike(regression, forget, replay).double().numpy()
    x_r, y_r = instance_case.retain.x[pair].astype(np.float64), instance_case.retain.y[pair]
    w, b = (p.detach().double().numpy() for p in (regression.weight, regression.bias))
    step_w, step_b = np.zeros_like(w), np.zeros_like(b)
    for x in (noise, x_r):
        residual = (softmax(x @ w.T + b, axis=1) - np.eye(10)[y_r]) / 40
        step_w, step_b = step_w + residual.T @ x, step_b + residual.sum(0)
    np.testing.assert_allclose(new.weight.detach().numpy(), w - 0.3 * step_w, atol=1e-5)
    np.testing.assert_allclose(new.bias.detach().numpy(), b - 0.3 * step_b, atol=1e-5)


def test_few_retained_rows_are_used_again(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case)
    few = case.replace(retain=case.retain.take(np.arange(9)))
    report = UnsirInstance(epochs=1).unlearn(model, few, rng()).report
    assert report.rows_touched == 40 + 40 + 9


def test_the_released_unsir_for_single_rows_runs(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[32], norm=True)
    report = UnsirInstance.preset("reference").unlearn(model, case, rng()).report
    assert report.steps == 2 + 4
    assert report.notes[-1] == "batch norm: train"
