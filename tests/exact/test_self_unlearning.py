"""SU, DELETE and SULI: adjusted targets in closed form, subsets by entropy, ends and rollbacks."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn
from torch.nn import functional

from forget_audit.errors import NotApplicable, UnknownName
from forget_audit.methods import suli
from forget_audit.methods._adjustment import adjusted
from forget_audit.methods._teaching import divergence
from forget_audit.methods.random_label import RandomLabel
from forget_audit.methods.self_unlearning import SelfUnlearning
from forget_audit.methods.suli import Suli
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import Index
from forget_audit.types import Case, Floats, Rows
from tests.fixtures.requests import Train

WHOLE: dict[str, Any] = {
    "batch_size": 1000, "least_steps": 1, "optimizer": "sgd", "lr": 0.5, "momentum": 0.9,
    "stop_accuracy": None,
}  # fmt: skip


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def regression() -> nn.Linear:
    with seeded_torch(4):
        return nn.Linear(64, 10)


@pytest.fixture
def normed() -> nn.Module:
    """A perceptron with batch norm that has seen some rows."""
    with seeded_torch(3):
        model = nn.Sequential(
            nn.Linear(64, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 10)
        )
        with torch.no_grad():
            model(torch.rand(50, 64))
    return model


Weights = tuple[Floats, Floats]


def weights(model: nn.Module) -> Weights:
    w, b = (p.detach().double().numpy() for p in model.parameters())
    return w, b


def by_hand(answers: Floats, gone: list[list[int]], epsilon: float) -> Floats:
    """Adjusted probabilities, row by row."""
    out = np.zeros_like(answers)
    for row, (p, lost) in enumerate(zip(answers, gone, strict=True)):
        rest = sum(p[k] for k in range(len(p)) if k not in lost)
        for k in range(len(p)):
            out[row, k] = epsilon / len(lost) if k in lost else (1 - epsilon) * p[k] / rest
    return out


def stepped(start: Weights, rows: Rows, target: Floats, rate: float, temperature: float) -> Weights:
    """One plain step of softmax regression towards target probabilities."""
    w, b = start
    x = rows.x.astype(np.float64)
    residual = (softmax((x @ w.T + b) / temperature, axis=1) - target) / temperature / len(x)
    return w - rate * residual.T @ x, b - rate * residual.sum(0)


def assert_weights(model: nn.Module, expected: Weights) -> None:
    for found, wanted in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=2e-6)


def answers_of(start: Weights, rows: Rows, temperature: float = 1.0) -> Floats:
    w, b = start
    return np.asarray(softmax((rows.x.astype(np.float64) @ w.T + b) / temperature, axis=1))


# Targets


def test_loss_and_gradient_at_the_start() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 3, 4, 0, 2])
    target = adjusted(logits, functional.one_hot(y, 5).bool(), 0.0)
    student = logits.clone().requires_grad_()
    loss = divergence(target, student.log_softmax(1))
    loss.backward()  # type: ignore[no-untyped-call]
    p = logits.softmax(1)
    own = p[torch.arange(7), y]
    assert loss.item() == pytest.approx(-torch.log1p(-own).mean().item(), rel=1e-12)
    expected = -p * (own / (1 - own)).unsqueeze(1)
    expected[torch.arange(7), y] = own
    assert student.grad is not None
    torch.testing.assert_close(7 * student.grad, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 0.3])
def test_targets_by_hand(epsilon: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    gone = [[0], [3], [1, 2]]
    mask = torch.zeros(3, 4, dtype=torch.bool)
    for row, lost in enumerate(gone):
        mask[row, lost] = True
    found = adjusted(logits, mask, epsilon).numpy()
    expected = by_hand(softmax(logits.numpy(), axis=1), gone, epsilon)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1)


def test_targets_of_a_model_that_is_sure() -> None:
    logits = torch.tensor([[4000.0, 1.0, 0.0]])
    found = adjusted(logits, torch.tensor([[True, False, False]]), 0.0)
    torch.testing.assert_close(found[0, 1:], torch.tensor([1.0, 0.0]).softmax(0))
    loss = divergence(found, logits.log_softmax(1))
    assert math.isfinite(loss.item())


def test_what_a_row_loses(instance_case: Case, class_case: Case, subclass_case: Case) -> None:
    two = class_case.replace(classes=(3, 5))
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(2))
    y = torch.tensor([3, 3, 5, 5])
    own, both = [[3], [3], [5], [5]], [[3, 5]] * 4
    best = [[int(k)] for k in logits.argmax(1)]
    for case, mask, gone in (
        (two, "classes", both), (two, "label", own), (two, "argmax", best),
        (instance_case, "classes", own),
    ):  # fmt: skip
        found = SelfUnlearning(mask=mask).target(case, logits, y) <= 1e-6  # type: ignore[arg-type]
        assert [np.flatnonzero(row).tolist() for row in found] == gone, (case.scope, mask)
    of_groups = SelfUnlearning().target(subclass_case, logits[:, :5], torch.full((4,), 1))
    assert [np.flatnonzero(row).tolist() for row in of_groups <= 1e-6] == [[1]] * 4
    with pytest.raises(NotApplicable, match="expected a class left for each forget row"):
        SelfUnlearning().target(class_case.replace(classes=tuple(range(10))), logits, y)


# SU


@pytest.mark.parametrize(("temperature", "epsilon"), [(1.0, 0.0), (4.0, 0.1)])
def test_a_step_of_self_unlearning(
    temperature: float, epsilon: float, instance_case: Case, regression: nn.Linear
) -> None:
    forget, start = instance_case.forget, weights(regression)
    method = SelfUnlearning(**WHOLE, epochs=1, temperature=temperature, epsilon=epsilon)
    done = method.unlearn(regression, instance_case, rng())
    gone = [[int(label)] for label in forget.y]
    target = by_hand(answers_of(start, forget, temperature), gone, epsilon)
    assert_weights(done.model, stepped(start, forget, target, 0.5, temperature))
    assert (done.report.steps, done.report.rows_touched) == (1, len(forget))


def test_the_teacher_stays_the_given_model(instance_case: Case, regression: nn.Linear) -> None:
    forget, start = instance_case.forget, weights(regression)
    gone = [[int(label)] for label in forget.y]
    target = by_hand(answers_of(start, forget), gone, 1e-6)
    expected = start
    for _ in range(3):
        expected = stepped(expected, forget, target, 0.5, 1.0)
    method = SelfUnlearning(**{**WHOLE, "momentum": 0.0}, epochs=3)
    assert_weights(method.unlearn(regression, instance_case, rng()).model, expected)


def test_delete_masks_the_label_and_leaves_nothing(class_case: Case) -> None:
    delete = SelfUnlearning.preset("delete")
    logits = torch.randn(5, 10, generator=torch.Generator().manual_seed(3))
    y = torch.full((5,), 3)
    target = delete.target(class_case, logits, y)
    masked = logits.clone()
    masked[torch.arange(5), y] = -1e10
    torch.testing.assert_close(target, masked.softmax(1))


def test_it_ends_once_the_forget_rows_are_lost(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[32])
    done = SelfUnlearning().unlearn(model, case, rng())
    assert done.report.stop_reason == "forget accuracy reached 0"
    assert Target(done.model).accuracy(case.forget) == 0
    passes = done.report.steps // 6
    earlier = SelfUnlearning(epochs=passes - 1).unlearn(model, case, rng())
    assert Target(earlier.model).accuracy(case.forget) > 0
    half = SelfUnlearning(stop_accuracy=0.9).unlearn(model, case, rng())
    assert 0 < half.report.steps < done.report.steps
    assert 0 < Target(half.model).accuracy(case.forget) <= 0.9
    assert SelfUnlearning(stop_accuracy=1.0).unlearn(model, case, rng()).report.steps == 0
    on = SelfUnlearning(stop_accuracy=None).unlearn(model, case, rng())
    assert (on.report.steps, on.report.stop_reason) == (60, "all 10 epochs done")


@pytest.mark.parametrize("method", [
    SelfUnlearning(epochs=2), Suli(epochs=1), SelfUnlearning(epochs=2, norms="train"),
])  # fmt: skip
def test_batch_statistics_move_only_if_asked(
    method: SelfUnlearning | Suli, instance_case: Case, normed: nn.Module
) -> None:
    new = method.unlearn(normed, instance_case, rng()).model
    same = torch.equal(new.state_dict()["1.running_mean"], normed.state_dict()["1.running_mean"])
    assert same == (method.norms == "eval")
    assert weights_digest(new) != weights_digest(normed)


# SULI


def entropies(start: Weights, rows: Rows) -> Floats:
    p = answers_of(start, rows)
    return np.asarray([-sum(q * math.log(q) for q in row) for row in p])


@pytest.mark.parametrize(("settings", "sizes"), [
    ({"n_subsets": 1}, [40]), ({"n_subsets": 3}, [14, 13, 13]), ({"n_subsets": 99}, [1] * 40),
    ({"subset_size": 16}, [16, 16, 8]), ({"subset_size": 40}, [40]), ({"subset_size": 99}, [40]),
])  # fmt: skip
def test_subsets_partition_the_rows_by_falling_entropy(
    settings: dict[str, int], sizes: list[int], instance_case: Case, regression: nn.Linear
) -> None:
    forget = instance_case.forget
    subsets = Suli(**settings).subsets(Target(regression).logits(forget))  # type: ignore[arg-type]
    assert [len(subset) for subset in subsets] == sizes
    assert sorted(np.concatenate(subsets).tolist()) == list(range(40))
    found = entropies(weights(regression), forget)
    for first, second in pairwise(subsets):
        assert found[first].min() >= found[second].max() - 1e-6


def test_one_subset_is_self_unlearning(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[32], norm=True)
    for settings in ({}, {"stop_accuracy": None, "temperature": 2.0, "norms": "train"}):
        shared: dict[str, Any] = {"epochs": 4, "lr": 1e-3, **settings}
        layered = Suli(**shared, n_subsets=1).unlearn(model, case, rng())
        plain = SelfUnlearning(**shared).unlearn(model, case, rng())
        assert weights_digest(layered.model) == weights_digest(plain.model)
        assert layered.report.steps == plain.report.steps > 0


def two_layers(
    start: Weights, rows: Rows, subsets: list[Index], teacher: str
) -> tuple[Weights, Weights]:
    """Softmax regression after the first and the second subset, a step without history each."""
    at = [start]
    for subset in subsets:
        part = rows.take(subset)
        answers = answers_of(at[-1] if teacher == "current" else start, part)
        target = by_hand(answers, [[int(label)] for label in part.y], 1e-6)
        at.append(stepped(at[-1], part, target, 0.5, 1.0))
    return at[1], at[2]


@pytest.mark.parametrize("teacher", ["current", "original"])
def test_each_subset_has_its_teacher_and_a_fresh_optimizer(
    teacher: Any, instance_case: Case, regression: nn.Linear
) -> None:
    forget, start = instance_case.forget, weights(regression)
    method = Suli(**WHOLE, epochs=1, teacher=teacher)
    subsets = method.subsets(Target(regression).logits(forget))
    expected = two_layers(start, forget, subsets, teacher)[1]
    assert_weights(method.unlearn(regression, instance_case, rng()).model, expected)
    other = two_layers(start, forget, subsets, "original" if teacher == "current" else "current")
    assert np.abs(other[1][0] - expected[0]).max() > 1e-4, "the teachers make a difference"


def test_a_subset_that_raises_the_accuracy_is_undone(
    instance_case: Case, regression: nn.Linear, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pretending(Target):
        says: ClassVar[Iterator[float]] = iter(())

        def accuracy(self, rows: Rows) -> float:
            return next(Pretending.says)

    monkeypatch.setattr(suli, "Target", Pretending)
    forget, start = instance_case.forget, weights(regression)
    method = Suli(**WHOLE, epochs=1, rollback=True)
    subsets = method.subsets(Target(regression).logits(forget))
    first, second = two_layers(start, forget, subsets, "current")
    for says, expected, notes in (
        ([0.5, 0.8], first, ("subsets undone: 1",)), ([0.5, 0.5], second, ()),
        ([0.9, 0.2], second, ()),
    ):  # fmt: skip
        Pretending.says = iter(says)
        done = method.unlearn(regression, instance_case, rng())
        assert_weights(done.model, expected)
        assert done.report.notes == notes
        assert done.report.steps == 2


def test_sweeps_go_through_all_subsets(instance_case: Case, regression: nn.Linear) -> None:
    method = Suli(**WHOLE, epochs=2, sweeps=3, subset_size=16)
    report = method.unlearn(regression, instance_case, rng()).report
    assert (report.steps, report.rows_touched) == (3 * 3 * 2, 3 * 2 * 40)
    assert report.stop_reason == "all 3 sweeps done"


# Presets and orderings


def test_presets() -> None:
    delete = SelfUnlearning.preset("delete")
    assert (delete.epsilon, delete.mask, delete.temperature) == (0, "label", 1)
    assert (delete.optimizer, delete.lr, delete.momentum, delete.epochs) == ("sgd", 1e-3, 0.9, 20)
    for method, name, row in (
        (SelfUnlearning, "paper", ("adam", 1e-4, 10, 256, 1e-6, 1, "label", 0.0)),
        (SelfUnlearning, "reference-class", ("adam", 1e-4, 10, 256, 0, 4, "classes", 0.0)),
        (SelfUnlearning, "reference-instance", ("adam", 6e-5, 30, 256, 0, 1, "argmax", 0.888)),
        (Suli, "reference-class", ("adam", 1e-4, 1, 500, 0, 1, "classes", 0.0)),
        (Suli, "reference-instance", ("adam", 8e-5, 1, 32, 0, 1, "argmax", 0.888)),
    ):  # fmt: skip
        m: Any = method.preset(name)
        assert row == (
            m.optimizer, m.lr, m.epochs, m.batch_size, m.epsilon, m.temperature, m.mask,
            m.stop_accuracy,
        )  # fmt: skip
    assert Suli.preset("paper").n_subsets == 2
    assert Suli.preset("reference-class").rollback
    with pytest.raises(UnknownName, match="did you mean 'paper'"):
        Suli.preset("papers")


@pytest.mark.parametrize(("method", "field"), [
    (SelfUnlearning, {"epsilon": 1.0}), (SelfUnlearning, {"temperature": 0.0}),
    (SelfUnlearning, {"mask": "all"}), (SelfUnlearning, {"stop_accuracy": -0.1}),
    (SelfUnlearning, {"norms": "off"}), (Suli, {"n_subsets": 0}), (Suli, {"subset_size": 0}),
    (Suli, {"sweeps": 0}), (Suli, {"teacher": "bad"}), (Suli, {"rollback": 1}),
])  # fmt: skip
def test_wrong_fields_are_refused(method: Any, field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(field))}: expected .*, found"):
        method(**field)


def test_forgotten_classes_cost_less_than_by_random_labels(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[32])
    assert case.others is not None
    kept = {}
    for method in (Suli(), SelfUnlearning(), RandomLabel(policy="forget_only")):
        new = Target(method.unlearn(model, case, rng()).model)
        assert new.accuracy(case.forget) <= 0.05
        kept[type(method)] = new.accuracy(case.others)
    assert min(kept[Suli], kept[SelfUnlearning]) > kept[RandomLabel] + 0.05
    assert kept[Suli] >= kept[SelfUnlearning] - 0.03
