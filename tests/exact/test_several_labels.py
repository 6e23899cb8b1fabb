"""Retraining, fine-tuning, ascent and random labels with several labels a row.

In an attribute request the rows stay and one column of their labels is forgotten.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from forget_audit.contracts import Method
from forget_audit.labels import label_loss, to_forget
from forget_audit.methods.finetune import Finetune
from forget_audit.methods.neggrad import NegGrad
from forget_audit.methods.random_label import RandomLabel
from forget_audit.methods.retrain import Retrain
from forget_audit.seeds import draw_seed, seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import Recipe, rows_tensors
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import UNKNOWN, Case, Features, Labels, Rows
from tests.fixtures.requests import Train, trainer_of

COLUMN = 2
OTHERS = (0, 1, 3)
PLAIN: dict[str, Any] = {
    "epochs": 1, "batch_size": 1000, "least_steps": 1, "optimizer": "sgd", "lr": 0.3,
    "momentum": 0.0, "weight_decay": 0.0,
}  # fmt: skip
CLIMB: dict[str, Any] = {**PLAIN, "clip_norm": None, "stop_at_chance": False}
either = pytest.mark.parametrize("name", ["labels_case", "attribute_case"])


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


class Double(nn.Module):
    """Logistic regression of four labels in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(64, 4).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.line(x.double())
        return answer


def regression() -> Double:
    with seeded_torch(3):
        return Double()


def stepped(model: nn.Module, steps: list[tuple[float, Features, Labels]]) -> list[torch.Tensor]:
    """Weight and bias of logistic regression after plain steps `(rate, x, y)`, by the formula."""
    w, b = (p.detach().clone() for p in model.parameters())
    for rate, features, labels in steps:
        x, y = torch.tensor(features).double(), torch.tensor(labels)
        known = (y != UNKNOWN).double()
        residual = (torch.sigmoid(x @ w.T + b) - y) * known / known.sum(1, keepdim=True) / len(x)
        w, b = w - rate * residual.T @ x, b - rate * residual.sum(0)
    return [w, b]


def assert_weights(model: nn.Module, expected: list[torch.Tensor]) -> None:
    for found, wanted in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(found.data, wanted, rtol=0, atol=1e-12)


def column_alone(case: Case) -> Labels:
    """The labels whose loss is climbed."""
    y = case.forget.y.copy()
    if case.attribute is not None:
        y[:, OTHERS] = UNKNOWN
    return y


def loss_of(model: nn.Module, case: Case) -> float:
    x, y = rows_tensors(case.forget, model)
    with torch.no_grad():
        return float(label_loss(model.eval()(x), to_forget(case, y)))


def without_forget_rows(case: Case) -> Case:
    """The case with forget rows that break when read."""
    broken = case.forget.take(np.arange(len(case.forget)))
    found = case.replace(forget=broken)
    object.__delattr__(broken, "x")
    object.__delattr__(broken, "y")
    return found


# Retraining


@either
def test_retraining_is_repeatable_and_shares_nothing(
    name: str, request: pytest.FixtureRequest, train: Train
) -> None:
    model, case = train(request.getfixturevalue(name), "mlp", hidden=[16], norm=True)
    assert isinstance(case.trainer, RecipeTrainer)
    short = dataclasses.replace(case.trainer, recipe=Recipe(epochs=4, lr=0.01))
    case = case.replace(trainer=short)
    first, again, other = (Retrain().unlearn(model, case, rng(seed)).model for seed in (5, 5, 6))
    assert weights_digest(first) == weights_digest(again) != weights_digest(other)
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            assert not torch.equal(tensor, first.state_dict()[key]), key


@either
def test_the_recipe_sees_the_labels_that_stay(name: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(name)
    seen: list[tuple[Features, Labels, int]] = []

    def trainer(x: Features, y: Labels, seed: int) -> nn.Module:
        seen.append((x, y, seed))
        return regression()

    Retrain().unlearn(regression(), without_forget_rows(case.replace(trainer=trainer)), rng())
    ((x, y, seed),) = seen
    assert np.array_equal(x, case.retain.x)
    assert np.array_equal(y, case.retain.y)
    assert seed == draw_seed(rng())
    if case.attribute is not None:
        assert np.all(y[:, COLUMN] == UNKNOWN)
        assert np.array_equal(y[:, OTHERS], case.forget.y[:, OTHERS])


def test_output_of_a_forgotten_label_is_never_trained(attribute_case: Case, train: Train) -> None:
    model, case = train(attribute_case, "mlp", hidden=[16])
    assert isinstance(case.trainer, RecipeTrainer)
    new = Retrain().unlearn(model, case, rng()).model
    fresh = case.trainer.fresh(draw_seed(rng()))
    for name in ("3.weight", "3.bias"):
        found, start = new.get_parameter(name), fresh.get_parameter(name)
        assert torch.equal(found[COLUMN], start[COLUMN])
        assert not any(torch.equal(found[k], start[k]) for k in OTHERS)


def test_retraining_forgets_canaries(labels_case: Case) -> None:
    flipped = labels_case.forget
    canaries = Rows(x=flipped.x, y=1 - flipped.y, ids=flipped.ids)
    case = labels_case.replace(forget=canaries, trainer=trainer_of("mlp", 4, hidden=[128]))
    assert isinstance(case.trainer, RecipeTrainer)
    long = dataclasses.replace(case.trainer, recipe=Recipe(epochs=120, lr=0.01))
    case = case.replace(trainer=long)
    memoriser = long(case.training.x, case.training.y, 1)
    assert Target(memoriser).accuracy(canaries) > 0.9
    n = canaries.y.size
    retrained = Target(Retrain().unlearn(memoriser, case, rng()).model)
    assert retrained.accuracy(canaries) < 0.5 + 3 * math.sqrt(0.25 / n)
    assert retrained.accuracy(case.test) > 0.8


# Fine-tuning


@either
def test_finetuning_in_closed_form(name: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(name)
    model = regression()
    steps = [(0.3, case.retain.x, case.retain.y)] * 3
    done = Finetune(**{**PLAIN, "epochs": 3}).unlearn(model, without_forget_rows(case), rng())
    assert_weights(done.model, stepped(model, steps))
    still = Finetune(epochs=0).unlearn(model, without_forget_rows(case), rng())
    assert weights_digest(still.model) == weights_digest(model)
    same = torch.equal(done.model.get_parameter("line.weight")[COLUMN], model.line.weight[COLUMN])
    assert same == (case.attribute is not None), "nothing is learnt of a forgotten label"


# Ascent


@either
def test_ascent_in_closed_form(name: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(name)
    model = regression()
    done = NegGrad(**{**CLIMB, "epochs": 3}).unlearn(model, case, rng())
    steps = [(-0.3, case.forget.x, column_alone(case))] * 3
    assert_weights(done.model, stepped(model, steps))
    new, old = done.model.get_parameter("line.weight"), model.line.weight
    changed = [k for k in range(4) if not torch.equal(new[k], old[k])]
    assert changed == ([COLUMN] if case.attribute is not None else [0, 1, 2, 3])


@either
def test_a_small_step_of_ascent_raises_the_forget_loss(
    name: str, request: pytest.FixtureRequest, train: Train
) -> None:
    model, case = train(request.getfixturevalue(name), "mlp", hidden=[16], norm=True)
    new = NegGrad(**{**CLIMB, "lr": 1e-4}).unlearn(model, case, rng()).model
    assert loss_of(new, case) > loss_of(model, case)


@either
def test_ascent_ends_when_answers_are_guesses(
    name: str, request: pytest.FixtureRequest, train: Train
) -> None:
    model, case = train(request.getfixturevalue(name), "mlp", hidden=[16], norm=True)
    done = NegGrad(epochs=50, lr=1e-3).unlearn(model, case, rng())
    assert done.report.stop_reason == "forget loss reached log(2)"
    assert loss_of(done.model, case) >= math.log(2)
    assert NegGrad(epochs=50).unlearn(done.model, case, rng()).report.steps == 0


# Random labels


def test_labels_are_drawn_with_their_prevalence(labels_case: Case) -> None:
    y = np.zeros((4000, 4), dtype=np.int64)
    y[:800, 0], y[:2000, 1], y[:3600, 2] = 1, 1, 1
    y[:, 3] = np.arange(4000) % 2
    y[::7, 3] = UNKNOWN
    x = np.arange(4000 * 64, dtype=np.float32).reshape(4000, 64)
    rows = Rows(x=x, y=y, ids=np.array([f"many-{i}" for i in range(4000)]))
    case = labels_case.replace(forget=rows)
    drawn = RandomLabel().draw(case, rng())
    for column, share in enumerate((0.2, 0.5, 0.9)):
        assert binomtest(int(drawn[:, column].sum()), 4000, share).pvalue > 1e-3
        agreed = int((drawn[:, column] == y[:, column]).sum())
        assert binomtest(agreed, 4000, share**2 + (1 - share) ** 2).pvalue > 1e-3
    assert np.array_equal(drawn[:, 3] == UNKNOWN, y[:, 3] == UNKNOWN)
    assert np.array_equal(drawn, RandomLabel().draw(case, rng()))
    assert not np.array_equal(drawn, RandomLabel().draw(case, rng(6)))


def test_only_the_forgotten_label_is_drawn(attribute_case: Case) -> None:
    drawn = RandomLabel().draw(attribute_case, rng())
    assert np.all(drawn[:, OTHERS] == UNKNOWN)
    share = attribute_case.forget.y[:, COLUMN].mean()
    assert binomtest(int(drawn[:, COLUMN].sum()), len(drawn), share).pvalue > 1e-3


@either
@pytest.mark.parametrize("policy", ["forget_only", "sequential", "mixed"])
def test_relabelling_in_closed_form(policy: str, name: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(name)
    model = regression()
    method = RandomLabel(**PLAIN, policy=policy, forget_batch_size=1000)  # type: ignore[arg-type]
    replay = rng()
    draw_seed(replay)
    drawn = method.draw(case, replay)
    wrong, right = (0.3, case.forget.x, drawn), (0.3, case.retain.x, case.retain.y)
    every = np.concatenate([case.forget.x, case.retain.x])
    both = (0.3, every, np.concatenate([drawn, case.retain.y]))
    steps = {"forget_only": [wrong], "sequential": [wrong, right], "mixed": [both]}[policy]
    assert_weights(method.unlearn(model, case, rng()).model, stepped(model, steps))


def test_a_forgotten_label_becomes_a_guess(attribute_case: Case, train: Train) -> None:
    model, case = train(attribute_case, "mlp", hidden=[32], norm=True)
    target = Target(RandomLabel(epochs=30).unlearn(model, case, rng()).model)
    right = (target.logits(case.test) > 0) == case.test.y
    before = (Target(model).logits(case.test) > 0) == case.test.y
    assert before[:, COLUMN].mean() > 0.85
    assert right[:, COLUMN].mean() < before[:, COLUMN].mean() - 0.15
    assert right[:, OTHERS].mean() > 0.85


def test_a_subclass_request_excludes_the_shared_label_alone(subclass_case: Case) -> None:
    drawn = np.concatenate([RandomLabel().draw(subclass_case, rng(seed)) for seed in range(9)])
    assert set(drawn.tolist()) == {0, 2, 3, 4}


# Cards


@pytest.mark.parametrize("method", [Retrain(), Finetune(), NegGrad(), RandomLabel()], ids=repr)
def test_cards_tell_the_cost(method: Method) -> None:
    assert "nothing is stored" in method.info.cost


def test_presets_of_the_baselines() -> None:
    assert Finetune.preset("ssd") == Finetune(
        epochs=5, least_steps=1, optimizer="sgd", lr=0.02, momentum=0.9, weight_decay=5e-4
    )
    assert Finetune.preset("scrub") == Finetune(
        least_steps=1, optimizer="sgd", lr=0.01, norms="eval", epochs=10
    )
    assert Finetune.preset("salun").batch_size == 256
    climb = NegGrad.preset("salun")
    assert (climb.epochs, climb.lr, climb.batch_size, climb.optimizer) == (5, 1e-4, 256, "sgd")
    assert (climb.stop_at_chance, climb.clip_norm, climb.norms) == (False, None, "train")
    relabel: Callable[[str], RandomLabel] = RandomLabel.preset
    assert (relabel("salun").policy, relabel("salun-mixed").policy) == ("sequential", "mixed")
    for name in ("salun", "salun-mixed"):
        assert (relabel(name).exclude_true, relabel(name).exclude_classes) == (False, ())
        assert (relabel(name).epochs, relabel(name).forget_batch_size) == (10, 256)
