"""LIRF: what is frozen, a step of network and deposit, and what a withdrawal gives back."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods._relabel import random_labels
from forget_audit.methods.lirf import Lirf, among, withdraw
from forget_audit.seeds import draw_seed, seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case, Floats, Rows
from tests.fixtures.requests import Train

WHOLE: dict[str, Any] = {
    "epochs": 1, "batch_size": 1000, "least_steps": 1, "lr": 0.3, "deposit_lr": 0.2,
    "momentum": 0.0, "optimizer": "sgd",
}  # fmt: skip


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def shallow_and_deep() -> nn.Sequential:
    with seeded_torch(4):
        return nn.Sequential(nn.Linear(64, 12), nn.Linear(12, 10))


def logits_of(model: nn.Module, rows: Rows) -> Floats:
    w, b, deep, c = (p.detach().double().numpy() for p in model.parameters())
    return np.asarray((rows.x.astype(np.float64) @ w.T + b) @ deep.T + c)


def assert_step(
    new: nn.Module, old: nn.Sequential, rows: Rows, by_logit: Floats, rate: float
) -> None:
    """Compare with a plain step of the first layer, the gradient going through the second."""
    w, b, deep, c = (p.detach().double().numpy() for p in old.parameters())
    by_hidden = by_logit @ deep / len(rows)
    expected = (w - rate * by_hidden.T @ rows.x.astype(np.float64), b - rate * by_hidden.sum(0))
    for found, wanted in zip(new.parameters(), (*expected, deep, c), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=2e-6)


def restricted(logits: Floats, kept: Any, temperature: float) -> Floats:
    """Probabilities among the kept classes; 0 elsewhere."""
    return np.asarray(softmax(np.where(kept, logits / temperature, -np.inf), axis=1))


def test_distillation_among_some_classes() -> None:
    teacher = torch.tensor([[0.5, 0.25, 0.25, 0.0]], dtype=torch.float64).log().clamp(min=-50)
    student = torch.tensor([[0.2, 0.1, 0.1, 0.6]], dtype=torch.float64).log().requires_grad_()
    first = torch.tensor([True, True, False, False])
    alike = among(teacher, student, first, 1.0)
    alike.backward()  # type: ignore[no-untyped-call]
    assert alike.item() == pytest.approx(0, abs=1e-12), "in proportion they agree"
    other = torch.tensor([[0.1, 0.3, 0.1, 0.5]], dtype=torch.float64).log().requires_grad_()
    loss = among(3 * teacher, 3 * other, first, 3.0)
    expected = 9 * (2 / 3 * np.log(2 / 3 / 0.25) + 1 / 3 * np.log(1 / 3 / 0.75))
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    loss.backward()  # type: ignore[no-untyped-call]
    assert other.grad is not None
    assert other.grad[0, 2:].tolist() == [0, 0]
    assert other.grad[0, 0] != 0
    assert among(teacher, student, torch.tensor([False, False, True, False]), 1.0).item() == 0


@pytest.mark.parametrize("scope", ["class_case", "instance_case"])
def test_a_step_of_the_network(
    scope: str, shallow_and_deep: nn.Sequential, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(scope)
    gone = (3, 5) if case.scope == "class" else ()
    case = case.replace(classes=gone)
    forget, model = case.forget, shallow_and_deep
    method = Lirf(**WHOLE, removal=0.7, preserve=0.5, temperature=2.0)
    twice = Lirf(**{**WHOLE, "epochs": 2}, removal=0.7, preserve=0.5, temperature=2.0)
    replay = rng()
    draw_seed(replay)
    wrong = np.eye(10)[random_labels(case, replay, exclude_true=True)]
    replay.permutation(len(forget))
    again = np.eye(10)[random_labels(case, replay, exclude_true=True)]
    assert not np.array_equal(wrong, again)
    kept = (np.eye(10)[forget.y] == 0) & ~np.isin(np.arange(10), gone)
    start = logits_of(model, forget)
    first = method.unlearn(model, case, rng()).model
    assert_step(first, model, forget, 0.7 * (softmax(start, axis=1) - wrong), 0.3)
    z = logits_of(first, forget)
    alike = 2 * (restricted(z, kept, 2) - restricted(start, kept, 2))
    by_logit = 0.7 * (softmax(z, axis=1) - again) + 0.5 * alike
    assert isinstance(first, nn.Sequential)
    done = twice.unlearn(model, case, rng())
    assert_step(done.model, first, forget, by_logit, 0.3)
    assert done.report.notes == ("no deposit was made",)


def test_a_step_of_a_deposit(class_case: Case, shallow_and_deep: nn.Sequential) -> None:
    case = class_case.replace(classes=(3, 5))
    forget, model = case.forget, shallow_and_deep
    method = Lirf(**WHOLE, prune=0.0, transfer=0.7, recall=0.5, temperature=2.0)
    target = method.unlearn(model, case, rng()).model
    before = weights_digest(model), weights_digest(target)
    taken = np.isin(np.arange(10), (3, 5))
    start = logits_of(model, forget)
    whole = np.where(taken, start, logits_of(target, forget))
    by_logit = 0.5 * (softmax(whole, axis=1) - np.eye(10)[forget.y]) * taken
    first = method.deposit(model, target, case, rng())
    assert_step(first, model, forget, by_logit, 0.2)
    z = logits_of(first, forget)
    whole = np.where(taken, z, logits_of(target, forget))
    by_logit = 0.5 * (softmax(whole, axis=1) - np.eye(10)[forget.y]) * taken
    by_logit += 0.7 * 2 * (restricted(z, taken, 2) - restricted(start, taken, 2))
    twice = Lirf(**{**WHOLE, "epochs": 2}, prune=0.0, transfer=0.7, recall=0.5, temperature=2.0)
    assert isinstance(first, nn.Sequential)
    assert_step(twice.deposit(model, target, case, rng()), first, forget, by_logit, 0.2)
    assert (weights_digest(model), weights_digest(target)) == before


@pytest.mark.parametrize("deep_layers", [1, 2])
def test_the_deep_part_is_frozen(deep_layers: int, class_case: Case) -> None:
    with seeded_torch(3):
        model = nn.Sequential(
            nn.Linear(64, 24), nn.BatchNorm1d(24), nn.ReLU(),
            nn.Linear(24, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10),
        )  # fmt: skip
        model(torch.rand(50, 64))
    start = 6 if deep_layers == 1 else 3
    method = Lirf(deep_layers=deep_layers, weight_decay=0.1, norms="train")
    target = method.unlearn(model, class_case, rng()).model
    networks = (target, method.deposit(model, target, class_case, rng()))
    for network in networks:
        for name, tensor in model.state_dict().items():
            same = torch.equal(network.state_dict()[name], tensor)
            assert same == (int(name.split(".")[0]) >= start), name


def test_an_empty_deposit_gives_the_kept_answers_back(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[32], norm=True)
    before = Target(model).logits(case.retain)
    for prune in (0.0, 0.5):
        method = Lirf(epochs=0, prune=prune)
        target = method.unlearn(model, case, rng()).model
        whole = withdraw(target, method.deposit(model, target, case, rng()), case)
        after = Target(whole).logits(case.retain)
        assert np.array_equal(np.delete(after, 3, axis=1), np.delete(before, 3, axis=1))
        assert np.array_equal(after, before) == (prune == 0)


@pytest.mark.parametrize("scope", ["class_case", "instance_case"])
def test_what_is_taken_out_can_be_put_back(
    scope: str, train: Train, request: pytest.FixtureRequest
) -> None:
    model, case = train(request.getfixturevalue(scope), "mlp", hidden=[32])
    method = Lirf(epochs=10, optimizer="sgd", lr=0.01)
    target = method.unlearn(model, case, rng()).model
    forgotten = Target(target).accuracy(case.forget)
    whole = withdraw(target, method.deposit(model, target, case, rng()), case)
    assert forgotten < Target(model).accuracy(case.forget) - 0.2
    assert Target(whole).accuracy(case.forget) > 0.95
    assert Target(whole).accuracy(case.retain) > 0.9
    assert not any(module.training for module in whole.modules())


def test_a_withdrawal_joins_the_answers(class_case: Case, shallow_and_deep: nn.Sequential) -> None:
    with seeded_torch(9):
        deposit = nn.Linear(64, 10)
    case = class_case.replace(classes=(3, 5))
    whole = Target(withdraw(shallow_and_deep, deposit, case)).logits(case.test)
    own, stored = (Target(m).logits(case.test) for m in (shallow_and_deep, deposit))
    assert np.array_equal(whole[:, [3, 5]], stored[:, [3, 5]])
    assert np.array_equal(np.delete(whole, [3, 5], axis=1), np.delete(own, [3, 5], axis=1))


def test_a_deposit_lacks_the_smallest_weights(
    class_case: Case, shallow_and_deep: nn.Sequential
) -> None:
    model = shallow_and_deep
    method = Lirf(prune=0.75, weight_decay=0.1, momentum=0.9, deposit_lr=0.01)
    target = method.unlearn(model, class_case, rng()).model
    deposit = method.deposit(model, target, class_case, rng())
    old, new = (m.get_parameter("0.weight").detach() for m in (model, deposit))
    order = old.abs().flatten().argsort(descending=True)
    assert torch.equal(new.flatten()[order[192:]], torch.zeros(768 - 192))
    assert new.flatten()[order[:192]].abs().min() > 0
    assert (deposit.get_parameter("0.bias") != 0).all()


def test_layers_frozen_by_the_user_stay(class_case: Case) -> None:
    with seeded_torch(3):
        model = nn.Sequential(nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 10))
    model[0].requires_grad_(False)
    method = Lirf()
    target = method.unlearn(model, class_case, rng()).model
    deposit = method.deposit(model, target, class_case, rng())
    for network in (target, deposit):
        parts = [weights_digest(network.get_submodule(k)) for k in "012"]
        given = [weights_digest(model.get_submodule(k)) for k in "012"]
        assert [a == b for a, b in zip(parts, given, strict=True)] == [True, False, True]


def test_a_model_without_a_shallow_part_is_refused(class_case: Case) -> None:
    for model, layers in ((nn.Linear(64, 10), 1),
                          (nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 10)), 2)):  # fmt: skip
        with pytest.raises(NotApplicable, match=r"lirf needs weights before .* lower deep_layers"):
            Lirf(deep_layers=layers).unlearn(model, class_case, rng())


def test_fields() -> None:
    wrong: list[dict[str, Any]] = [
        {"deep_layers": 0}, {"removal": -1.0}, {"preserve": -1.0}, {"transfer": -1.0},
        {"recall": -1.0}, {"temperature": 0.0}, {"deposit_lr": 0.0}, {"prune": 1.0},
        {"norms": "off"},
    ]  # fmt: skip
    for field in wrong:
        with pytest.raises(ValueError, match=rf"{next(iter(field))}: expected .*, found"):
            Lirf(**field)
    assert Lirf.info.reconstructed
