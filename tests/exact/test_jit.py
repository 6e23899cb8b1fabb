"""JiT: what the loss is on a linear model, and how paper and release differ."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.methods.jit import Jit, Mode
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case, Floats
from tests.fixtures.requests import Train

PLAIN: dict[str, Any] = {"fall": None, "least_steps": 1, "batch_size": 1000}


@pytest.fixture
def linear() -> nn.Linear:
    with seeded_torch(4):
        return nn.Linear(6, 9, bias=True, dtype=torch.float64)


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def rows(n: int = 7, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(rng(seed).standard_normal((n, 6)))


def loss_on(model: nn.Module, x: torch.Tensor, method: Jit, seed: int = 5) -> torch.Tensor:
    return method.roughness(model, x, method.noisy(x, rng(seed))).mean()


def backward(loss: torch.Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


# The loss on a linear model


def test_linear_model_has_one_loss_whatever_rows_and_scale(linear: nn.Linear) -> None:
    losses = [
        loss_on(linear, rows(seed=seed), Jit(sigma=sigma)).item()
        for seed in (1, 2)
        for sigma in (0.1, 3.0)
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-9)


def test_loss_lies_between_the_singular_values(linear: nn.Linear) -> None:
    values = torch.linalg.svdvals(linear.weight)
    each = Jit().roughness(linear, rows(), Jit().noisy(rows(), rng()))
    assert each.shape == (7,)
    assert torch.all((values[-1] <= each) & (each <= values[0]))
    wide = nn.Linear(6, 2, dtype=torch.float64)  # no full column rank: only bounded above
    assert loss_on(wide, rows(), Jit()) <= torch.linalg.svdvals(wide.weight)[0]


def test_loss_grows_with_the_weights(linear: nn.Linear) -> None:
    before = loss_on(linear, rows(), Jit()).item()
    with torch.no_grad():
        linear.weight *= 3
    assert loss_on(linear, rows(), Jit()).item() == pytest.approx(3 * before, rel=1e-12)


def directions(x: torch.Tensor, method: Jit) -> Floats:
    """Unit vectors `(noises, n, width)` from noisy copies to rows."""
    apart = (x - method.noisy(x, rng())).numpy()
    return np.asarray(apart / np.linalg.norm(apart, axis=2, keepdims=True))


def test_gradient_of_both_branches(linear: nn.Linear) -> None:
    """The mean of W u u' / |W u|; none for the bias, which cancels."""
    method, w = Jit(noises=3), linear.weight.detach().numpy()
    backward(loss_on(linear, rows(), method))
    expected = np.zeros_like(w)
    for u in directions(rows(), method).reshape(-1, 6):
        expected += np.outer(w @ u, u) / np.linalg.norm(w @ u) / 21
    assert linear.weight.grad is not None
    assert linear.bias.grad is not None
    np.testing.assert_allclose(linear.weight.grad.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(linear.bias.grad.numpy(), 0, atol=1e-12)


def test_gradient_with_detached_copies(linear: nn.Linear) -> None:
    """Only the answer moves, so that the bias has a gradient and W follows the rows."""
    method, w = Jit(noises=3, detach=True), linear.weight.detach().numpy()
    x = rows()
    backward(loss_on(linear, x, method))
    apart = (x - method.noisy(x, rng())).numpy()
    expected, bias = np.zeros_like(w), np.zeros(9)
    for copies in apart:
        for row, d in zip(x.numpy(), copies, strict=True):
            pull = w @ d / np.linalg.norm(w @ d) / np.linalg.norm(d) / 21
            expected, bias = expected + np.outer(pull, row), bias + pull
    assert linear.weight.grad is not None
    assert linear.bias.grad is not None
    np.testing.assert_allclose(linear.weight.grad.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(linear.bias.grad.numpy(), bias, atol=1e-12)


def test_one_logit_alone(linear: nn.Linear) -> None:
    method = Jit(noises=2)
    found = method.roughness(linear, rows(), method.noisy(rows(), rng()), column=4).mean()
    w = linear.weight.detach().numpy()[4]
    assert found.item() == pytest.approx(np.abs(directions(rows(), method) @ w).mean(), rel=1e-12)


# Noise


def test_noise_is_clamped_to_the_batch_and_rescaled() -> None:
    x = rows(50)
    plain = Jit(noises=8, sigma=2.0).noisy(x, rng())
    assert plain.shape == (8, 50, 6)
    assert (plain - x).std().item() == pytest.approx(2, rel=0.05)
    clamped = Jit(noises=8, sigma=2.0, clamp=True).noisy(x, rng())
    assert torch.equal(clamped, plain.clamp(x.min(), x.max()))
    rescaled = Jit(noises=8, sigma=2.0, rescale=True).noisy(x, rng())
    torch.testing.assert_close(rescaled, plain / np.sqrt(5))


# Steps


def step(model: nn.Module, case: Case, **settings: Any) -> Floats:
    new = Jit(**{**PLAIN, **settings}).unlearn(model, case, rng()).model
    old, moved = (
        torch.cat([p.detach().flatten() for p in m.parameters()]).double().numpy()
        for m in (model, new)
    )
    return np.asarray(moved - old)


def test_a_sum_is_the_mean_times_the_rows(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case)
    mean = step(model, case, lr=1e-3)
    total = step(model, case, lr=1e-3, reduction="sum")
    np.testing.assert_allclose(total, 40 * mean, atol=2e-6)


def test_gradients_that_are_never_zeroed_add_up(instance_case: Case) -> None:
    """With (nearly) constant gradients: T steps go T (T + 1) / 2 times as far, not T times."""
    with seeded_torch(6):
        model = nn.Linear(64, 10)
    tiny = {"lr": 1e-5, "batch_size": 10, "least_steps": 4, "noises": 200}
    once = step(model, instance_case, **{**tiny, "batch_size": 1000, "least_steps": 1})
    zeroed = step(model, instance_case, **tiny)
    kept = step(model, instance_case, accumulate=True, **tiny)
    far = [float(moved @ once / (once @ once)) for moved in (zeroed, kept)]
    np.testing.assert_allclose(far, [4, 10], rtol=0.1)


def test_accumulation_is_momentum_of_one(instance_case: Case, train: Train) -> None:
    """Two steps of a hand-written loop that never zeroes."""
    model, case = train(instance_case)
    method = Jit(**PLAIN, epochs=2, lr=0.01, accumulate=True)
    new = method.unlearn(model, case, rng()).model
    replay, by_hand = rng(), copy.deepcopy(model)
    by_hand.zero_grad()
    replay.integers(0, 2**63 - 1)  # the seed of dropout
    for _ in range(2):
        x = torch.from_numpy(case.forget.x[replay.permutation(40)])
        backward(method.roughness(by_hand, x, method.noisy(x, replay)).mean())
        with torch.no_grad():
            for p in by_hand.parameters():
                if p.grad is not None:
                    p.sub_(0.01 * p.grad)
    for found, expected in zip(new.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_modes(instance_case: Case) -> None:
    """In evaluation mode neither statistics nor dropout play a part; in training mode both do."""
    with seeded_torch(3):
        model = nn.Sequential(
            nn.Linear(64, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, 10)
        )
    still = nn.Sequential(*model[:3], nn.Identity(), model[4])
    found = {}
    modes: tuple[Mode, ...] = ("eval", "train")
    for mode in modes:
        new = Jit(**PLAIN, mode=mode).unlearn(model, instance_case, rng()).model.state_dict()
        bare = Jit(**PLAIN, mode=mode).unlearn(still, instance_case, rng()).model.state_dict()
        same = torch.equal(new["1.running_mean"], model.state_dict()["1.running_mean"])
        found[mode] = (same, torch.equal(new["4.weight"], bare["4.weight"]))
    assert found == {"eval": (True, True), "train": (False, False)}


def test_the_search_ends_at_the_first_rate_that_suffices(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case)
    report = Jit(fall=0.9, lr=1e-3).unlearn(model, case, rng()).report
    before, after = (
        float(part.split(" ")[0]) for part in report.notes[0].split("loss ")[1].split(" before, ")
    )
    trials = int(report.notes[0].split("after ")[1].split(" ")[0])
    assert 0.75 * before < after <= 0.9 * before
    assert trials > 1
    assert report.rows_touched == trials * 40
    again = Jit(fall=0.9, lr=1e-3 * 2 ** (trials / 2)).unlearn(model, case, rng()).report
    assert "after 1 trials" in again.notes[0]


def test_labels_and_retained_rows_make_no_difference(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case)
    rows = case.forget
    other = case.replace(forget=type(rows)(x=rows.x, y=9 - rows.y, ids=rows.ids))
    one, two = (Jit().unlearn(model, c, rng()).model for c in (case, other))
    assert weights_digest(one) == weights_digest(two) != weights_digest(model)


def test_single_rows_lose_confidence_and_the_others_keep(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case)
    new = Target(Jit().unlearn(model, case, rng()).model)
    assert new.accuracy(case.retain) > 0.8


def test_presets() -> None:
    paper, released = Jit.preset("paper"), Jit.preset("reference")
    assert (paper.lr, paper.sigma, paper.noises, paper.fall) == (3e-4, 0.5, 25, None)
    assert (paper.detach, paper.reduction, paper.accumulate) == (False, "mean", False)
    assert (paper.clamp, paper.mode) == (False, "eval")
    assert (released.detach, released.reduction, released.accumulate) == (True, "sum", True)
    assert (released.clamp, released.mode) == (True, "train")
    assert Jit.preset("paper-vit-class").lr == 1.5
    assert (Jit.preset("paper-vit-rows").lr, Jit.preset("reference-vit-rows").lr) == (0.01, 0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma": 0.0}, "sigma: expected a finite number above 0"),
        ({"fall": 1.0}, "fall: expected"),
        ({"noises": 0}, "noises: expected a whole number of at least 1"),
        ({"detach": 1}, "detach: expected true or false"),
        ({"mode": "off"}, "mode: expected one of eval, train"),
        ({"reduction": "max"}, "reduction: expected one of mean, sum"),
        ({"clip_norm": 0.0}, "clip_norm: expected"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Jit(**settings)
