"""Relabelling with random labels drawn once, and with those of an untrained network."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods._relabel import random_labels
from forget_audit.methods.amnesiac_relabel import AmnesiacRelabel
from forget_audit.methods.initial_label import InitialLabel
from forget_audit.methods.random_label import RandomLabel
from forget_audit.methods.retrain import Retrain
from forget_audit.seeds import draw_seed
from forget_audit.targets import Target, weights_digest
from forget_audit.training.log import initial_only
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case
from tests.fixtures.requests import Train

ONE_STEP: dict[str, Any] = {
    "epochs": 1, "batch_size": 1000, "least_steps": 1, "optimizer": "sgd", "lr": 0.3,
    "momentum": 0.0,
}  # fmt: skip


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def after_a_step(model: nn.Module, x: Any, y: Any) -> list[Any]:
    """Softmax regression after a plain step of rate .3, in float64."""
    w, b = (t.double().numpy() for t in state(model).values())
    x = x.astype(np.float64)
    logits = x @ w.T + b
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    residual = (p - np.eye(len(b))[y]) / len(x)
    return [w - 0.3 * residual.T @ x, b - 0.3 * residual.sum(0)]


def assert_weights(model: nn.Module, wanted: list[Any]) -> None:
    for found, expected in zip(state(model).values(), wanted, strict=True):
        np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


# Random labels drawn once


@pytest.mark.parametrize("request_name", ["instance_case", "class_case", "subclass_case"])
def test_a_step_on_wrong_and_right_labels(
    request_name: str, request: pytest.FixtureRequest, train: Train
) -> None:
    model, case = train(request.getfixturevalue(request_name), "linear")
    source = rng()
    draw_seed(source)
    wrong = random_labels(case, source, exclude_true=True)
    assert not np.any(wrong == case.forget.y)
    if case.scope == "class":
        assert 3 not in wrong
    done = AmnesiacRelabel(**ONE_STEP).unlearn(model, case, rng())
    x = np.concatenate([case.forget.x, case.retain.x])
    assert_weights(done.model, after_a_step(model, x, np.concatenate([wrong, case.retain.y])))
    assert done.report.rows_touched == len(x)


def test_labels_are_drawn_once(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[16], norm=True)
    shared: dict[str, Any] = {"epochs": 3, "optimizer": "adam", "lr": 1e-3}
    done = AmnesiacRelabel(**shared).unlearn(model, case, rng())
    for per_epoch in (False, True):
        method = RandomLabel(policy="mixed", per_epoch=per_epoch, weight_decay=0.0, **shared)
        other = method.unlearn(model, case, rng())
        same = weights_digest(other.model) == weights_digest(done.model)
        assert same == (not per_epoch)


def test_long_relabelling_forgets_single_rows_too_well(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case)
    retrained = Target(Retrain().unlearn(model, case, rng()).model)
    new = Target(AmnesiacRelabel(epochs=60).unlearn(model, case, rng()).model)
    assert new.accuracy(case.forget) < retrained.accuracy(case.forget) - 0.2
    assert new.accuracy(case.retain) > 0.9


def test_relabelling_forgets_a_class(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    new = Target(AmnesiacRelabel().unlearn(model, case, rng()).model)
    assert new.accuracy(case.forget) <= 0.05
    assert new.accuracy(case.retain) > 0.95


def test_presets() -> None:
    benchmark = AmnesiacRelabel.preset("benchmark")
    found = (benchmark.epochs, benchmark.optimizer, benchmark.lr, benchmark.batch_size)
    assert found == (3, "adam", 1e-4, 128)
    assert AmnesiacRelabel.preset("bad_teaching").batch_size == 256


# Labels of an untrained network


def untrained_labels(case: Case, seed: int = 5) -> Any:
    source = rng(seed)
    draw_seed(source)
    assert isinstance(case.trainer, RecipeTrainer)
    network = case.trainer.fresh(draw_seed(source)).eval()
    with torch.no_grad():
        return network(torch.tensor(case.forget.x))


def test_a_step_on_the_answers_of_a_fresh_network(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "linear")
    done = InitialLabel(**ONE_STEP).unlearn(model, case, rng())
    labels = untrained_labels(case).argmax(1).numpy()
    assert_weights(done.model, after_a_step(model, case.forget.x, labels))
    assert done.report.rows_touched == 2 * len(case.forget)
    logits = untrained_labels(case)
    logits[torch.arange(40), torch.tensor(case.forget.y)] = -math.inf
    done = InitialLabel(**ONE_STEP, exclude_true=True).unlearn(model, case, rng())
    others = logits.argmax(1).numpy()
    assert not np.any(others == case.forget.y)
    assert not np.array_equal(others, labels)
    assert_weights(done.model, after_a_step(model, case.forget.x, others))


def test_a_step_on_the_answers_of_the_initial_weights(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "linear")
    assert isinstance(case.trainer, RecipeTrainer)
    logged = case.replace(log=initial_only(case.trainer, 1))
    method = InitialLabel(**ONE_STEP, label_source="theta_init")
    with torch.no_grad():
        labels = case.trainer.fresh(1)(torch.tensor(case.forget.x)).argmax(1).numpy()
    done = method.unlearn(model, logged, rng())
    assert_weights(done.model, after_a_step(model, case.forget.x, labels))
    with pytest.raises(NotApplicable, match=r"theta_init needs a record.*case\.log empty"):
        method.unlearn(model, case, rng())
    other, _ = train(instance_case)
    with pytest.raises(NotApplicable, match="initial weights of another shape"):
        method.unlearn(other, logged, rng())


def test_statistics_are_set_before_the_answers(instance_case: Case, train: Train) -> None:
    _, case = train(instance_case, "mlp", hidden=[16], norm=True)
    assert isinstance(case.trainer, RecipeTrainer)
    network, x = case.trainer.fresh(2).eval(), torch.tensor(case.forget.x)
    labels = InitialLabel().answers(network, x, case)
    hidden = nn.Sequential(*[*network.children()][:2])(x).detach()
    norm = network.get_submodule("2")
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, hidden.mean(0))
    torch.testing.assert_close(norm.running_var, hidden.var(0))
    assert torch.equal(labels, network.eval()(x).argmax(1))
    assert not any(module.training for module in network.modules())


def test_answers_are_few(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case)
    for seed in range(4):
        counts = np.bincount(untrained_labels(case, seed).argmax(1).numpy(), minlength=10)
        shares = counts[counts > 0] / 40
        assert -(shares * np.log(shares)).sum() < 0.7 * math.log(10)
        note = InitialLabel(epochs=0).unlearn(model, case, rng(seed)).report.notes[0]
        assert note == f"{(counts > 0).sum()} classes named, {counts.max()} of 40 rows get one"


def test_the_model_suffers_more_than_from_other_relabelling(
    instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case)
    shared: dict[str, Any] = {"epochs": 10, "lr": 3e-3, "momentum": 0.0}
    kept = {
        method: np.mean(
            [Target(method.unlearn(model, case, rng(s)).model).accuracy(case.retain)
             for s in range(4)]
        )
        for method in (
            InitialLabel(**shared), AmnesiacRelabel(),
            RandomLabel(policy="forget_only", per_epoch=False, weight_decay=0.0, **shared),
        )
    }  # fmt: skip
    initial, *others = kept.values()
    assert initial < min(others) - 0.05


@pytest.mark.parametrize(
    "wrong", [{"label_source": "other"}, {"exclude_true": 1}, {"norms": "off"}, {"lr": 0}]
)
def test_wrong_fields_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
        InitialLabel(**wrong)
