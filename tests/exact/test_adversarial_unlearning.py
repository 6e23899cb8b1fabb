"""Learning to Unlearn: the attack, importance and tie in closed form, and its two limits."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods import _answers
from forget_audit.methods._adversary import Attack
from forget_audit.methods._answers import answer_importance
from forget_audit.methods._relabel import random_labels
from forget_audit.methods.adversarial_unlearning import AdversarialUnlearning
from forget_audit.methods.neggrad import NegGrad
from forget_audit.seeds import draw_seed, seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case, Floats
from tests.fixtures.requests import Train

WHOLE: dict[str, Any] = {
    "epochs": 1, "batch_size": 1000, "adversarial_batch_size": 1000, "least_steps": 1,
    "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "stop_accuracy": None,
}  # fmt: skip


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def regression() -> nn.Linear:
    with seeded_torch(4):
        return nn.Linear(64, 10)


def weights(model: nn.Module) -> tuple[Floats, Floats]:
    w, b = (p.detach().double().numpy() for p in model.parameters())
    return w, b


def residual(model: nn.Module, x: Floats, y: Any) -> Floats:
    """The gradient of the summed cross-entropy by the logits."""
    w, b = weights(model)
    return np.asarray(softmax(x @ w.T + b, axis=1) - np.eye(len(b))[y])


def assert_weights(model: nn.Module, expected: tuple[Floats, Floats]) -> None:
    for found, wanted in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=2e-6)


def rows_of(case: Case) -> torch.Tensor:
    return torch.tensor(case.forget.x)


# The attack


def attack(**changes: float) -> Attack:
    settings: dict[str, Any] = {
        "radius": 2.0, "step_size": 0.1, "steps": 1, "low": -np.inf, "high": np.inf
    }  # fmt: skip
    return Attack(**{**settings, **changes})


def test_first_step_of_the_attack(instance_case: Case, regression: nn.Linear) -> None:
    x, labels = rows_of(instance_case), torch.arange(40) % 10
    found = attack().run(regression, x, labels, torch.zeros_like(x))
    inputs = x.double().numpy()
    uphill = residual(regression, inputs, labels.numpy()) @ weights(regression)[0]
    expected = inputs - 0.1 * uphill / np.linalg.norm(uphill, axis=1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(64,), (1, 8, 8)])
def test_examples_stay_within_radius_and_bounds(
    shape: tuple[int, ...], instance_case: Case, regression: nn.Linear
) -> None:
    model = nn.Sequential(nn.Flatten(), regression)
    x, labels = rows_of(instance_case).reshape(-1, *shape), torch.arange(40) % 10
    small = attack(radius=0.55, step_size=0.3, steps=9, low=0.0, high=1.0)
    start = small.start(x, rng())
    lengths = start.flatten(1).norm(dim=1)
    assert lengths.max() <= 0.55 + 1e-6
    assert lengths.min() > 0.3, "points of a ball of 64 dimensions lie near its surface"
    made = small.run(model, x, labels, start)
    moved = (made - x).flatten(1).norm(dim=1)
    assert moved.max() <= 0.55 + 1e-5
    assert moved.mean() > 0.4
    assert made.min() >= 0
    assert made.max() <= 1
    free = attack(radius=0.55, step_size=0.3, steps=9).run(model, x, labels, start)
    torch.testing.assert_close((free - x).flatten(1).norm(dim=1), torch.full((40,), 0.55))
    assert free.min() < 0


def test_examples_deceive_the_model(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[32])
    method = AdversarialUnlearning(n_adversarial=3, radius=4.0, attack_steps=60)
    before, gradients = weights_digest(model), [p.grad for p in model.parameters()]
    made, labels = method.examples(model, case, rng())
    assert weights_digest(model) == before
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert made.shape == (120, 64)
    assert (labels.numpy().reshape(3, 40) != case.forget.y).all()
    with torch.no_grad():
        assert (model(made).argmax(1) == labels).double().mean() > 0.95
    again, _ = method.examples(model, case, rng())
    assert torch.equal(made, again)
    fixed = AdversarialUnlearning(random_start=False, attack_steps=0, n_adversarial=1)
    assert torch.equal(fixed.examples(model, case, rng())[0], rows_of(case))


def test_examples_are_of_classes_that_stay(
    class_case: Case, subclass_case: Case, regression: nn.Linear
) -> None:
    method = AdversarialUnlearning(n_adversarial=40, attack_steps=0)
    two = class_case.replace(classes=(3, 5))
    _, labels = method.examples(regression, two, rng())
    assert set(labels.tolist()) == {0, 1, 2, 4, 6, 7, 8, 9}
    _, groups = method.examples(regression, subclass_case, rng())
    assert set(groups.tolist()) == {0, 2, 3, 4}, "the third group is not the third class"
    with pytest.raises(NotApplicable, match="expected a class to draw"):
        method.examples(regression, class_case.replace(classes=tuple(range(10))), rng())


# Importance and tie


def test_importance_in_closed_form(instance_case: Case, regression: nn.Linear) -> None:
    x = rows_of(instance_case)
    w, b = weights(regression)
    inputs = x.double().numpy()
    logits = inputs @ w.T + b
    by_weight = np.abs(2 * logits[:, :, None] * inputs[:, None, :]).mean(0)
    by_bias = np.abs(2 * logits).mean(0)
    found = answer_importance(regression.train(), x)
    assert regression.training
    for name, raw in (("weight", by_weight), ("bias", by_bias)):
        expected = (raw - raw.min()) / (raw.max() - raw.min())
        np.testing.assert_allclose(found[name].numpy(), expected, atol=1e-5)


def test_importance_in_parts_and_without_spread(
    instance_case: Case, regression: nn.Linear, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = rows_of(instance_case)
    whole = answer_importance(regression, x)
    monkeypatch.setattr(_answers, "ROOM", 3 * 650)
    for name, values in answer_importance(regression, x).items():
        torch.testing.assert_close(values, whole[name], rtol=1e-4, atol=1e-6)
    one = nn.Sequential(nn.Linear(64, 1), nn.Linear(1, 10))
    assert answer_importance(one, x)["0.bias"].tolist() == [1.0]
    nothing = nn.Linear(64, 10)
    nn.init.zeros_(nothing.weight)
    nn.init.zeros_(nothing.bias)
    assert answer_importance(nothing, x)["weight"].max() == 0


@pytest.mark.parametrize("mode", ["misclassify", "relabel"])
def test_a_step_with_examples(mode: Any, instance_case: Case, regression: nn.Linear) -> None:
    forget, (w, b) = instance_case.forget, weights(regression)
    method = AdversarialUnlearning(**WHOLE, mode=mode, n_adversarial=2, lam=3.0)
    replay = rng()
    draw_seed(replay)
    wrong = forget.y
    if mode == "relabel":
        wrong = random_labels(instance_case, replay, exclude_true=True)
    made, labels = (t.numpy() for t in method.examples(regression, instance_case, replay))
    own = residual(regression, forget.x.astype(np.float64), wrong)
    own = -own if mode == "misclassify" else own
    by_logit = np.concatenate([own, residual(regression, made.astype(np.float64), labels)]) / 120
    x = np.concatenate([forget.x, made]).astype(np.float64)
    done = method.unlearn(regression, instance_case, rng())
    assert_weights(done.model, (w - 0.1 * by_logit.T @ x, b - 0.1 * by_logit.sum(0)))
    assert (done.report.steps, done.report.rows_touched) == (1, 120 + 80 * 20 + 40)


def test_the_tie_pulls_back(instance_case: Case, regression: nn.Linear) -> None:
    x, y = instance_case.forget.x.astype(np.float64), instance_case.forget.y
    w, b = weights(regression)
    matters = answer_importance(regression, rows_of(instance_case))
    tie_w, tie_b = 1 - matters["weight"].double().numpy(), 1 - matters["bias"].double().numpy()
    method = AdversarialUnlearning(**{**WHOLE, "epochs": 2}, n_adversarial=0, lam=3.0)
    one = AdversarialUnlearning(**WHOLE, n_adversarial=0, lam=3.0)
    first = one.unlearn(regression, instance_case, rng()).model
    w1, b1 = weights(first)
    up = -residual(first, x, y) / 40
    by_w, by_b = up.T @ x + 3.0 * tie_w * (w1 - w), up.sum(0) + 3.0 * tie_b * (b1 - b)
    new = method.unlearn(regression, instance_case, rng()).model
    assert_weights(new, (w1 - 0.1 * by_w, b1 - 0.1 * by_b))


def test_only_the_most_important_weight_moves_under_a_strong_tie(
    instance_case: Case, regression: nn.Linear
) -> None:
    matters = answer_importance(regression, rows_of(instance_case))["weight"]
    tied, free = matters < 0.5, matters == 1
    moved = {}
    for lam in (1e2, 1e4):
        method = AdversarialUnlearning(
            **{**WHOLE, "epochs": 150, "lr": 1 / lam}, n_adversarial=0, lam=lam
        )
        new = method.unlearn(regression, instance_case, rng()).model
        change = (new.weight - regression.weight).detach().abs()  # type: ignore[operator]
        moved[lam] = (change[tied].max().item(), change[free].item())
    assert moved[1e4][0] < 2e-2 * moved[1e2][0], "tied weights move by about the gradient / lam"
    for lam, (held, loose) in moved.items():
        assert loose > 20 * held, lam


def test_without_examples_and_tie_it_is_ascent(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[32], norm=True)
    shared: dict[str, Any] = {"epochs": 3, "optimizer": "sgd", "lr": 0.05, "weight_decay": 1e-3}
    method = AdversarialUnlearning(**shared, n_adversarial=0, lam=0.0, stop_accuracy=None)
    ascent = NegGrad(**shared, clip_norm=None, stop_at_chance=False)
    found, expected = (m.unlearn(model, case, rng()) for m in (method, ascent))
    assert found.report.steps == expected.report.steps == 18
    for name, tensor in expected.model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


# Course and orderings


def test_forget_rows_are_dealt_anew_beside_the_examples(instance_case: Case) -> None:
    method = AdversarialUnlearning(
        epochs=2, batch_size=16, adversarial_batch_size=50, least_steps=1, n_adversarial=5
    )
    steps, batches = method._steps(40, 200, rng())
    found = [*batches]
    assert len(found) == steps == 8
    own = np.concatenate([batch[batch < 40] for batch in found])
    made = np.concatenate([batch[batch >= 40] for batch in found])
    assert sorted(own[:40].tolist()) == sorted(own[40:80].tolist()) == list(range(40))
    assert own[:40].tolist() != own[40:80].tolist(), "each pass has an order of its own"
    assert sorted(made.tolist()) == sorted([*range(40, 240)] * 2)


def test_it_ends_once_the_forget_rows_are_lost(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[32])
    done = AdversarialUnlearning().unlearn(model, case, rng())
    assert done.report.stop_reason == "forget accuracy reached 0"
    assert Target(done.model).accuracy(case.forget) == 0
    half = AdversarialUnlearning(stop_accuracy=0.5).unlearn(model, case, rng())
    assert 0 < Target(half.model).accuracy(case.forget) <= 0.5
    assert 0 < half.report.steps < done.report.steps
    on = AdversarialUnlearning(stop_accuracy=None, epochs=2).unlearn(model, case, rng())
    assert (on.report.steps, on.report.stop_reason) == (12, "all 2 epochs done")


def test_examples_and_tie_save_what_ascent_ruins(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[32])

    def kept(**settings: Any) -> float:
        method = AdversarialUnlearning(epochs=15, stop_accuracy=None, **settings)
        return Target(method.unlearn(model, case, rng()).model).accuracy(case.retain)

    ascent, rehearsed = kept(n_adversarial=0, lam=0.0), kept(lam=0.0)
    assert kept(lam=1.0) > rehearsed > ascent + 0.2


def test_presets_and_fields() -> None:
    for name, examples, radius, lam in (
        ("cifar10", 20, 4, 1), ("cifar10-adv", 20, 4, 0), ("cifar100", 200, 4, 1),
        ("imagenet", 200, 4, 1), ("utkface", 300, 2, 1),
    ):  # fmt: skip
        m = AdversarialUnlearning.preset(name)
        assert (m.n_adversarial, m.radius, m.lam) == (examples, radius, lam)
        assert (m.optimizer, m.lr, m.momentum, m.weight_decay) == ("sgd", 1e-3, 0.9, 1e-4)
        assert (m.batch_size, m.adversarial_batch_size, m.epochs) == (32, 256, 1000)
        assert (m.step_size, m.attack_steps, m.random_start, m.mode) == (0.1, 100, True,
                                                                         "misclassify")  # fmt: skip
        assert (m.lowest, m.highest) == (0, 1)
    wrong: list[dict[str, Any]] = [
        {"mode": "wrong"}, {"n_adversarial": -1}, {"adversarial_batch_size": 0}, {"radius": 0.0},
        {"step_size": 0.0}, {"attack_steps": -1}, {"random_start": 1}, {"lowest": np.nan},
        {"highest": "1"}, {"lam": -1.0}, {"stop_accuracy": -0.1}, {"norms": "off"},
    ]  # fmt: skip
    for field in wrong:
        with pytest.raises(ValueError, match=rf"{next(iter(field))}: expected .*, found"):
            AdversarialUnlearning(**field)
