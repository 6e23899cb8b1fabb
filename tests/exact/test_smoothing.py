"""UGradSL and UGradSL+: smoothed labels, their loss, and what a step adds up to."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.labels import label_loss, to_forget
from forget_audit.methods._smoothing import close_share, smoothed, smoothed_loss
from forget_audit.methods.neggrad_plus import NegGradPlus
from forget_audit.methods.ugradsl import UGradSl
from forget_audit.methods.ugradsl_plus import UGradSlPlus
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import rows_tensors
from forget_audit.types import UNKNOWN, Case
from tests.fixtures.requests import Train

PLAIN: dict[str, Any] = {
    "epochs": 1, "batch_size": 1000, "least_steps": 1, "optimizer": "sgd", "lr": 0.3,
    "momentum": 0.0, "weight_decay": 0.0,
}  # fmt: skip
CASES = ("instance_case", "labels_case", "attribute_case")
BOTH = pytest.mark.parametrize("cls", [UGradSl, UGradSlPlus])

Either = UGradSl | UGradSlPlus


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def whole(cls: Callable[..., Either], **settings: Any) -> Either:
    """The method with all rows in every step."""
    other = "retain_batch_size" if cls is UGradSl else "forget_batch_size"
    return cls(**{**PLAIN, **settings, other: 1000})


class Double(nn.Module):
    """A trained model in float64; inputs are cast."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = copy.deepcopy(inner).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.inner(x.double())
        return answer


# Labels and loss


@pytest.mark.parametrize("alpha", [-2.0, -0.3, 0.0, 0.4, 1.0])
def test_smoothed_labels_by_definition(alpha: float) -> None:
    found = smoothed(torch.tensor([2, 0]), 5, alpha)
    assert found.sum(1).tolist() == pytest.approx([1, 1])
    own, other = (1 - alpha) + alpha / 5, alpha / 5
    assert found[0].tolist() == pytest.approx([other, other, own, other, other])
    assert found[1].tolist() == pytest.approx([own, other, other, other, other])
    if alpha < 0:
        assert own == pytest.approx(1 + abs(alpha) * (1 - 1 / 5))
        assert other == pytest.approx(-abs(alpha) / 5)
    several = smoothed(torch.tensor([[1, 0]]), 2, alpha)
    assert several[0, 0].tolist() == pytest.approx([alpha / 2, 1 - alpha / 2])
    assert several[0, 1].tolist() == pytest.approx([1 - alpha / 2, alpha / 2])


def test_each_row_may_have_its_own_rate() -> None:
    rates = torch.tensor([-1.0, 0.0, 0.5])
    y = torch.tensor([1, 1, 0])
    found = smoothed(y, 3, rates)
    for row, rate in enumerate(rates.tolist()):
        torch.testing.assert_close(found[row], smoothed(y, 3, rate)[row])
    several = smoothed(torch.tensor([[1, 0], [0, 1], [1, 1]]), 2, rates)
    assert several.shape == (3, 2, 2)
    assert several[1].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("alpha", [-1.5, 0.0, 0.7])
def test_loss_mixes_the_label_with_all_outcomes(alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    every = torch.stack([label_loss(logits, torch.full((6,), k)) for k in range(4)]).mean()
    expected = (1 - alpha) * label_loss(logits, y) + alpha * every
    torch.testing.assert_close(smoothed_loss(logits, y, alpha), expected)
    matrix = torch.tensor([[1, 0, UNKNOWN, 1]] * 5 + [[UNKNOWN] * 4])
    known = matrix != UNKNOWN
    sides = [label_loss(logits, torch.where(known, side, UNKNOWN)) for side in (0, 1)]
    expected = (1 - alpha) * label_loss(logits, matrix) + alpha * (sides[0] + sides[1]) / 2
    torch.testing.assert_close(smoothed_loss(logits, matrix, alpha), expected)


def test_climbing_lowers_the_own_class_harder_than_ascent() -> None:
    logits = torch.zeros(1, 4, requires_grad=True)
    slopes = {}
    for alpha in (-1.0, 0.0):
        (slopes[alpha],) = torch.autograd.grad(
            -smoothed_loss(logits, torch.tensor([2]), alpha), logits
        )
    assert slopes[-1.0][0, 2] > slopes[0.0][0, 2] > 0
    assert all(slopes[-1.0][0, k] < slopes[0.0][0, k] < 0 for k in (0, 1, 3))


def test_close_rows_are_counted_by_direction() -> None:
    here = torch.tensor([[1.0, 0.0], [0.0, -3.0]])
    there = torch.tensor([[5.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 1.0]])
    assert close_share(here, there, 0.1).tolist() == [0.25, 0.0]
    assert close_share(here, there, 0.2).tolist() == [0.5, 0.0]
    assert close_share(here, there, 0.6).tolist() == [0.75, 0.5]
    assert close_share(here, there, 1.1).tolist() == [1.0, 1.0]


# Steps


@BOTH
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("alpha", [-0.8, None])
def test_one_step_by_hand(
    cls: type[Either],
    alpha: float | None,
    name: str,
    request: pytest.FixtureRequest,
    train: Train,
) -> None:
    inner, case = train(request.getfixturevalue(name), "mlp", hidden=[16], norm=True)
    model = Double(inner).eval()
    (x_f, y_f), (x_r, y_r) = (rows_tensors(rows, model) for rows in (case.forget, case.retain))
    y_f = to_forget(case, y_f)
    below = nn.Sequential(*list(model.inner.children())[:-1])
    cosines = functional_cosines(below(x_f.double()), below(x_r.double()))
    rate = -((1 - cosines) / 2 < 0.1).double().mean(1) if alpha is None else torch.tensor(alpha)
    if alpha is None:
        assert 0.01 < -rate.mean() < 0.99
    loss = 0.3 * label_loss(model(x_r), y_r) - 0.7 * smoothed_loss(model(x_f), y_f, rate)
    slopes = torch.autograd.grad(loss, list(model.parameters()))
    done = whole(cls, p=0.3, alpha=alpha).unlearn(model, case, rng())
    for p, q, slope in zip(model.parameters(), done.model.parameters(), slopes, strict=True):
        torch.testing.assert_close(q, p - 0.3 * slope, rtol=0, atol=1e-10)
    assert done.report.rows_touched == len(x_f) + len(x_r)


def functional_cosines(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = nn.functional.cosine_similarity(a[:, None], b[None], dim=2)
    return found


@pytest.mark.parametrize("name", CASES)
def test_rate_zero_is_neggrad_plus(name: str, request: pytest.FixtureRequest, train: Train) -> None:
    inner, case = train(request.getfixturevalue(name), "mlp", hidden=[16], norm=True)
    model = Double(inner).eval()
    shared: dict[str, Any] = {"epochs": 2, "optimizer": "sgd", "lr": 0.01, "norms": "eval"}
    expected = NegGradPlus(**shared, alpha=0.8).unlearn(model, case, rng()).model
    found = UGradSlPlus(**shared, p=0.8, alpha=0.0).unlearn(model, case, rng()).model
    other = UGradSlPlus(**shared, p=0.8, alpha=-0.5).unlearn(model, case, rng()).model
    for p, q in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-10)
    assert weights_digest(other) != weights_digest(found)
    expected = NegGradPlus(**PLAIN, alpha=0.8, forget_batch_size=1000).unlearn(
        model, case, rng()
    ).model  # fmt: skip
    found = whole(UGradSl, p=0.8, alpha=0.0).unlearn(model, case, rng()).model
    for p, q in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("method", "steps", "rows"),
    [
        (UGradSl(epochs=3, batch_size=20, least_steps=1, retain_batch_size=55), 6, 3 * 40 + 6 * 55),
        (
            UGradSlPlus(epochs=3, batch_size=55, least_steps=1, forget_batch_size=20),
            12,
            3 * 220 + 12 * 20,
        ),
    ],
)
def test_an_epoch_is_a_pass_over_the_leading_rows(
    method: Either, steps: int, rows: int, instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case, "mlp", hidden=[16], norm=True)
    report = method.unlearn(model, case, rng()).report
    assert (report.steps, report.rows_touched) == (steps, rows)


@BOTH
@pytest.mark.parametrize("alpha", [-0.5, None])
def test_a_class_is_forgotten_and_the_rest_kept(
    cls: Callable[..., Either], alpha: float | None, class_case: Case, train: Train
) -> None:
    model, case = train(class_case, "mlp", hidden=[32])
    new = Target(cls(alpha=alpha, epochs=10).unlearn(model, case, rng()).model)
    assert case.others is not None
    assert new.accuracy(case.forget) < 0.1
    assert new.accuracy(case.others) > 0.85


def test_any_last_layer_has_features(instance_case: Case) -> None:
    with seeded_torch(0):
        model = nn.Sequential(nn.Unflatten(1, (64, 1, 1)), nn.Conv2d(64, 10, 1), nn.Flatten())
    done = UGradSlPlus(alpha=None, epochs=1).unlearn(model, instance_case, rng())
    assert weights_digest(done.model) != weights_digest(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UGradSl(p=-0.1), "p: expected a finite number at least 0"),
        (lambda: UGradSl(p=1.1), "1 - p: expected a finite number at least 0"),
        (lambda: UGradSl(alpha=float("nan")), "alpha"),
        (lambda: UGradSl(beta=0.0), "beta"),
        (lambda: UGradSl(norms="off"), "norms"),  # type: ignore[arg-type]
        (lambda: UGradSl(retain_batch_size=0), "retain_batch_size"),
        (lambda: UGradSlPlus(forget_batch_size=0), "forget_batch_size"),
    ],
)  # fmt: skip
def test_wrong_fields_are_refused(make: Callable[[], Either], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_presets() -> None:
    assert UGradSl.preset("adaptive") == UGradSl(alpha=None)
    assert UGradSlPlus.preset("adaptive") == UGradSlPlus(alpha=None)
