"""Bad teacher: whose answers each row gets, steps in closed form, and untrained networks."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.errors import NotApplicable
from forget_audit.methods._fresh import fresh_network
from forget_audit.methods.bad_teacher import BadTeacher, blindspot
from forget_audit.methods.retrain import Retrain
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import Recipe
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Features, Floats, Labels, Rows
from tests.fixtures.requests import Train

WHOLE: dict[str, Any] = {
    "epochs": 1, "batch_size": 1000, "least_steps": 1, "optimizer": "sgd", "lr": 0.5,
    "momentum": 0.0,
}  # fmt: skip


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def regression(seed: int, outputs: int = 10) -> nn.Linear:
    with seeded_torch(seed):
        return nn.Linear(64, outputs)


class Fixed(RecipeTrainer):
    """A recipe whose untrained network is given."""

    untrained: nn.Module

    @staticmethod
    def of(untrained: nn.Module) -> "Fixed":
        architecture = Architecture(name="linear", shape=(64,), n_classes=10)
        trainer = Fixed(architecture=architecture, recipe=Recipe())
        object.__setattr__(trainer, "untrained", untrained)
        return trainer

    def fresh(self, seed: int) -> nn.Module:
        return self.untrained


def logits_of(model: nn.Linear, rows: Rows) -> Floats:
    w, b = (p.detach().double().numpy() for p in model.parameters())
    return np.asarray(rows.x.astype(np.float64) @ w.T + b)


def assert_step(new: nn.Module, old: nn.Linear, x: Features, by_logit: Floats, rate: float) -> None:
    """Compare with a plain step, given the gradient of each row's loss by its logits."""
    w, b = (p.detach().double().numpy() for p in old.parameters())
    by_logit = by_logit / len(x)
    expected = (w - rate * by_logit.T @ x.astype(np.float64), b - rate * by_logit.sum(0))
    for found, wanted in zip(new.parameters(), expected, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=2e-6)


# Loss and steps


def test_divergence_by_hand() -> None:
    teacher = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
    student = torch.tensor([[0.8, 0.1, 0.1]], dtype=torch.float64).log()
    expected = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.25 / 0.1)
    pair = teacher.repeat(3, 1), student.repeat(3, 1)
    assert blindspot(*pair, 1.0, several=False).item() == pytest.approx(expected, rel=1e-12)
    warm = blindspot(4 * pair[0], 4 * pair[1], 4.0, several=False)
    assert warm.item() == pytest.approx(expected, rel=1e-12)
    labels = torch.tensor([[0.5, 0.25]], dtype=torch.float64).logit()
    others = torch.tensor([[0.8, 0.5]], dtype=torch.float64).logit()
    binary = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    binary += 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert blindspot(labels, others, 1.0, several=True).item() == pytest.approx(binary, rel=1e-12)


@pytest.mark.parametrize("several", [False, True])
def test_a_teacher_of_itself_has_no_gradient(several: bool) -> None:
    logits = torch.randn(9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    student = logits.clone().requires_grad_()
    loss = blindspot(logits, student, 2.0, several=several)
    loss.backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert loss.item() == pytest.approx(0, abs=1e-14)
    assert student.grad.abs().max() < 1e-15


def test_teachers_that_agree_with_the_model_leave_it(instance_case: Case) -> None:
    model = regression(1)
    case = instance_case.replace(trainer=Fixed.of(model))
    new = BadTeacher(**WHOLE, retain_share=1.0).unlearn(model, case, rng()).model
    for found, given in zip(new.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found, given, rtol=0, atol=1e-7)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_step_between_both_teachers(temperature: float, instance_case: Case) -> None:
    model, bad = regression(1), regression(2)
    case = instance_case.replace(trainer=Fixed.of(bad))
    method = BadTeacher(**WHOLE, retain_share=1.0, temperature=temperature)
    done = method.unlearn(model, case, rng())
    x = np.concatenate([case.forget.x, case.retain.x])
    answers = softmax(logits_of(model, case.forget) / temperature, axis=1)
    taught = softmax(logits_of(bad, case.forget) / temperature, axis=1)
    nothing = np.zeros((len(case.retain), 10))
    by_logit = np.concatenate([(answers - taught) / temperature, nothing])
    assert_step(done.model, model, x, by_logit, 0.5)
    assert done.report.rows_touched == 260


def test_a_step_on_several_labels(labels_case: Case, attribute_case: Case) -> None:
    model, bad = regression(1, 4), regression(2, 4)
    method = BadTeacher(**WHOLE, retain_share=0.0)
    for case in (labels_case, attribute_case):
        asked = case.replace(trainer=Fixed.of(bad))
        answers, taught = (expit(logits_of(m, case.forget)) for m in (model, bad))
        if case.attribute is not None:
            stay = np.arange(4) != case.attribute
            taught[:, stay] = answers[:, stay]
        new = method.unlearn(model, asked, rng()).model
        assert_step(new, model, case.forget.x, answers - taught, 0.5)


def test_only_some_retained_rows_are_used(instance_case: Case) -> None:
    model, bad = regression(1), regression(2)
    for share, kept in ((0.0, 0), (0.3, 66), (1.0, 220)):
        x, taught = BadTeacher(retain_share=share).lessons(model, bad, instance_case, rng())
        assert x.shape == (40 + kept, 64)
        assert taught.shape == (40 + kept, 10)
        rows = [row.tobytes() for row in x[40:].numpy()]
        known = [row.tobytes() for row in instance_case.retain.x]
        assert len(set(rows)) == kept
        assert set(rows) <= set(known)


def test_forget_rows_alone_lead_to_the_bad_teacher(class_case: Case) -> None:
    model, bad = regression(1), regression(2)
    case = class_case.replace(trainer=Fixed.of(bad))
    method = BadTeacher(retain_share=0.0, epochs=150, lr=1e-2, least_steps=1, batch_size=64)
    new = Target(method.unlearn(model, case, rng()).model)
    before, after, taught = (
        softmax(t.logits(case.forget), axis=1) for t in (Target(model), new, Target(bad))
    )
    assert np.abs(before - taught).max() > 0.1
    assert np.abs(after - taught).max() < 0.01


def test_forget_rows_look_less_trained_on_than_others(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[32])

    def confidence(model: nn.Module, rows: Rows) -> float:
        p = softmax(Target(model).logits(rows), axis=1)
        return float(p[np.arange(len(rows)), rows.y].mean())

    taught = BadTeacher().unlearn(model, case, rng()).model
    retrained = Retrain().unlearn(model, case, rng()).model
    assert confidence(taught, case.forget) < confidence(taught, case.test) - 0.04
    assert confidence(taught, case.forget) < confidence(retrained, case.forget) - 0.1


# Untrained networks


class Scaled(nn.Module):
    """A linear layer with a parameter that nothing initialises."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 10)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.scale * self.inner(x)
        return answer


def plain(x: Features, y: Labels, seed: int) -> nn.Module:
    raise AssertionError("an untrained network needs no training")


def test_a_copy_is_drawn_anew_with_all_its_buffers() -> None:
    with seeded_torch(1):
        model = nn.Sequential(
            nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Sequential(nn.LayerNorm(16)),
            nn.MultiheadAttention(16, 4), nn.Linear(16, 10),
        )  # fmt: skip
        model[1](torch.rand(50, 16))
    state = torch.random.get_rng_state()
    before = weights_digest(model)
    first, again, second = (fresh_network("m", model, plain, seed) for seed in (1, 1, 2))
    assert weights_digest(first) == weights_digest(again) != weights_digest(second)
    assert weights_digest(model) == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module.training for module in first.modules())
    names = dict(first.named_parameters())
    for name, given in model.named_parameters():
        constant = torch.unique(given).numel() == 1
        assert constant or not torch.equal(names[name], given), name
    assert torch.equal(first.get_buffer("1.running_mean"), torch.zeros(16))
    assert torch.equal(first.get_buffer("1.running_var"), torch.ones(16))
    assert first.get_buffer("1.num_batches_tracked").item() == 0
    assert first.get_parameter("0.weight").std() > 0.01


def test_parts_that_cannot_be_drawn_anew_are_refused(instance_case: Case) -> None:
    model = Scaled()
    case = instance_case.replace(trainer=plain)
    with pytest.raises(NotApplicable, match=r"bad_teacher needs an untrained .* draw scale anew"):
        BadTeacher().unlearn(model, case, rng())
    held = nn.Sequential(nn.Linear(64, 10))
    held.register_buffer("table", torch.arange(3))
    with pytest.raises(NotApplicable, match="no way to draw table anew"):
        fresh_network("m", held, plain, 1)


def test_the_recipe_builds_the_bad_teacher(instance_case: Case) -> None:
    trainer = instance_case.trainer
    assert isinstance(trainer, RecipeTrainer)
    found = fresh_network("m", Scaled(), trainer, 9)
    assert weights_digest(found) == weights_digest(trainer.fresh(9))


def test_any_recipe_serves_a_model_that_can_be_drawn_anew(
    instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case, "mlp", hidden=[32], norm=True)
    done = BadTeacher().unlearn(model, case.replace(trainer=plain), rng())
    assert weights_digest(done.model) != weights_digest(model)
    assert done.report.notes == ("batch norm: train",)


def test_presets_and_fields() -> None:
    for name, batch_size in (("paper", 256), ("ssd-port", 128)):
        m = BadTeacher.preset(name)
        assert (m.epochs, m.lr, m.batch_size, m.optimizer) == (1, 1e-4, batch_size, "adam")
        assert (m.temperature, m.retain_share, m.least_steps) == (1, 0.3, 1)
    for field in ({"temperature": 0.0}, {"retain_share": 1.1}, {"retain_share": -0.1},
                  {"norms": "off"}):  # fmt: skip
        with pytest.raises(ValueError, match=rf"{next(iter(field))}: expected .*, found"):
            BadTeacher(**field)
