"""SCRUB with several labels a row: binary divergences, which labels are climbed, which are kept."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

from forget_audit.methods._teaching import distillation
from forget_audit.methods.finetune import Finetune
from forget_audit.methods.scrub import Scrub
from forget_audit.seeds import draw_seed, seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.types import UNKNOWN, Case
from tests.fixtures.requests import Train

ONE_STEP: dict[str, Any] = {
    "epochs": 1, "batch_size": 1000, "forget_batch_size": 1000, "least_steps": 1,
    "optimizer": "sgd", "lr": 0.3, "momentum": 0.0, "weight_decay": 0.0,
}  # fmt: skip
both_requests = pytest.mark.parametrize("scope", ["labels_case", "attribute_case"])


@pytest.fixture
def regression() -> nn.Linear:
    with seeded_torch(4):
        return nn.Linear(64, 4)


@pytest.fixture
def case(scope: str, request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(scope)
    return found


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def climbed(case: Case) -> list[int]:
    return [*range(4)] if case.attribute is None else [case.attribute]


def disobedience(model: nn.Module, new: nn.Module, case: Case, columns: list[int]) -> float:
    own, others = (torch.tensor(Target(m).logits(case.forget))[:, columns] for m in (model, new))
    return distillation(own, others, 2.0, several=True).item()


def test_binary_divergences_by_hand() -> None:
    teacher = torch.tensor([[0.5, 0.25]], dtype=torch.float64).logit()
    student = torch.tensor([[0.8, 0.5]], dtype=torch.float64).logit()
    first = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    second = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    for rows in (1, 3):
        pair = teacher.repeat(rows, 1), student.repeat(rows, 1)
        found = distillation(*pair, 1.0, several=True).item()
        assert found == pytest.approx(first + second, rel=1e-12)
        warm = distillation(3 * pair[0], 3 * pair[1], 3.0, several=True).item()
        assert warm == pytest.approx(9 * (first + second), rel=1e-12)


def test_divergence_starts_at_zero_with_no_gradient() -> None:
    logits = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    student = logits.clone().requires_grad_()
    loss = distillation(logits, student, 2.0, several=True)
    loss.backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert loss.item() == pytest.approx(0, abs=1e-14)
    assert student.grad.abs().max() < 1e-15


@both_requests
def test_no_max_pass_and_no_distillation_is_finetuning(case: Case, train: Train) -> None:
    model, case = train(case, "mlp", hidden=[32], norm=True)
    shared: dict[str, Any] = {"epochs": 2, "optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-3}
    scrub = Scrub(**shared, alpha=0.0, gamma=1.0, msteps=0, lr_decay_epochs=())
    found, tuned = (m.unlearn(model, case, rng()).model for m in (scrub, Finetune(**shared)))
    assert weights_digest(found) == weights_digest(tuned)
    held = Scrub(**shared, alpha=5.0, gamma=1.0, msteps=0, lr_decay_epochs=())
    assert weights_digest(held.unlearn(model, case, rng()).model) != weights_digest(tuned)


@both_requests
def test_a_max_step_in_closed_form(case: Case, regression: nn.Linear) -> None:
    method = Scrub(**ONE_STEP, alpha=0.0, gamma=0.0, msteps=1, kickstart=0.5)
    replay = rng()
    draw_seed(replay)
    start = [p.detach().double().numpy() for p in regression.parameters()]
    w, b = (p + 0.5 * np.sqrt((p**2).mean()) * replay.standard_normal(p.shape) for p in start)
    x = case.forget.x.astype(np.float64)
    apart = 2 * (expit((x @ w.T + b) / 2) - expit((x @ start[0].T + start[1]) / 2)) / len(x)
    apart[:, [k for k in range(4) if k not in climbed(case)]] = 0
    new = method.unlearn(regression, case, rng()).model
    for found, wanted in zip(
        new.parameters(), (w + 0.3 * apart.T @ x, b + 0.3 * apart.sum(0)), strict=True
    ):
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=2e-6)


@both_requests
def test_a_min_step_in_closed_form(case: Case, regression: nn.Linear) -> None:
    shared = {**ONE_STEP, "epochs": 2, "lr_decay_epochs": (), "msteps": 0}
    method = Scrub(**shared, alpha=0.7, gamma=0.5, temperature=2.0)
    start = [p.detach().double().numpy() for p in regression.parameters()]
    x, y = case.retain.x.astype(np.float64), case.retain.y
    known = y != UNKNOWN
    first = x @ start[0].T + start[1]
    w, b = start
    for _ in range(2):
        z = x @ w.T + b
        by_logit = 0.5 * (expit(z) - y) / known.sum(1, keepdims=True)
        by_logit += 0.7 * 2 * (expit(z / 2) - expit(first / 2))
        by_logit = by_logit * known / len(x)
        w, b = w - 0.3 * by_logit.T @ x, b - 0.3 * by_logit.sum(0)
    new = method.unlearn(regression, case, rng()).model
    for found, wanted in zip(new.parameters(), (w, b), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=3e-6)


def test_a_label_of_a_linear_model_waits_for_the_kickstart(
    attribute_case: Case, regression: nn.Linear
) -> None:
    """What moves the other labels does not move it, and where it starts its gradient is zero."""
    column = attribute_case.attribute
    settings: dict[str, Any] = {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "msteps": 1}
    for kickstart in (0.0, 0.01):
        method = Scrub(**settings, kickstart=kickstart)
        new = method.unlearn(regression, attribute_case, rng()).model
        change = (new.get_parameter("weight") - regression.weight).detach().abs().amax(1)
        assert (change[column] < 1e-5) == (kickstart == 0)
        assert change[[k for k in range(4) if k != column]].min() > 1e-3


@both_requests
def test_a_max_pass_climbs_once_disturbed(case: Case, train: Train) -> None:
    model, case = train(case, "mlp", hidden=[32])
    climb: dict[str, Any] = {
        "epochs": 1, "msteps": 1, "alpha": 0.0, "gamma": 0.0, "optimizer": "sgd",
        "weight_decay": 0.0, "retain_norms": "eval",
    }  # fmt: skip
    idle = Scrub(**climb, lr=1e-2).unlearn(model, case, rng()).model
    assert disobedience(model, idle, case, climbed(case)) < 1e-6
    disturbed, pushed = (
        Scrub(**climb, lr=lr, kickstart=0.01).unlearn(model, case, rng()).model
        for lr in (1e-12, 1e-2)
    )
    before, after = (disobedience(model, new, case, climbed(case)) for new in (disturbed, pushed))
    assert 1e-7 < before < after
