"""NegGrad+: what a step adds up to, and what it equals at its ends."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss, to_forget
from forget_audit.methods.finetune import Finetune
from forget_audit.methods.neggrad import NegGrad
from forget_audit.methods.neggrad_plus import NegGradPlus
from forget_audit.targets import Target, weights_digest
from forget_audit.training.log import TrainingLog
from forget_audit.training.loop import rows_tensors
from forget_audit.types import Case
from tests.fixtures.requests import Train

PLAIN: dict[str, Any] = {
    "epochs": 1, "batch_size": 1000, "least_steps": 1, "optimizer": "sgd", "lr": 0.3,
    "momentum": 0.0, "weight_decay": 0.0, "norms": "eval",
}  # fmt: skip
CASES = ("instance_case", "labels_case", "attribute_case")


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def double(request: pytest.FixtureRequest, name: str, train: Train) -> tuple[nn.Module, Case]:
    """A trained model in float64; its copies stay so, inputs are cast."""
    model, case = train(request.getfixturevalue(name), "mlp", hidden=[16], norm=True)
    return Double(model).eval(), case


class Double(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = copy.deepcopy(inner).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.inner(x.double())
        return answer


def gradients(model: nn.Module, case: Case) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The gradients of the retained and of the forget loss."""
    found = []
    for rows in (case.retain, case.forget):
        x, y = rows_tensors(rows, model)
        y = to_forget(case, y) if rows is case.forget else y
        loss = label_loss(model(x), y)
        found.append(list(torch.autograd.grad(loss, list(model.parameters()))))
    return found[0], found[1]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.95, 1.0])
def test_one_step_by_hand(
    alpha: float, name: str, request: pytest.FixtureRequest, train: Train
) -> None:
    model, case = double(request, name, train)
    kept, gone = gradients(model, case)
    method = NegGradPlus(**PLAIN, alpha=alpha, forget_batch_size=1000)
    done = method.unlearn(model, case, rng())
    for p, q, k, g in zip(model.parameters(), done.model.parameters(), kept, gone, strict=True):
        torch.testing.assert_close(q, p - 0.3 * (alpha * k - (1 - alpha) * g), rtol=0, atol=1e-12)
    assert done.report.rows_touched == len(case.retain) + len(case.forget)
    assert done.report.steps == 1


@pytest.mark.parametrize("name", CASES)
def test_all_weight_on_the_retained_rows_is_finetuning(
    name: str, request: pytest.FixtureRequest, train: Train
) -> None:
    model, case = train(request.getfixturevalue(name), "mlp", hidden=[16], norm=True)
    shared: dict[str, Any] = {
        "epochs": 3, "optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-3, "norms": "eval",
    }  # fmt: skip
    tuned = weights_digest(Finetune(**shared).unlearn(model, case, rng()).model)
    whole = NegGradPlus(**shared, alpha=1.0).unlearn(model, case, rng())
    assert weights_digest(whole.model) == tuned
    almost = NegGradPlus(**shared, alpha=0.999).unlearn(model, case, rng())
    assert weights_digest(almost.model) != tuned


@pytest.mark.parametrize("name", CASES)
def test_all_weight_on_the_forget_rows_is_ascent(
    name: str, request: pytest.FixtureRequest, train: Train
) -> None:
    model, case = double(request, name, train)
    shared: dict[str, Any] = {**PLAIN, "epochs": 4, "momentum": 0.5, "lr": 0.05}
    climbed = NegGrad(**shared, clip_norm=None, stop_at_chance=False).unlearn(model, case, rng())
    whole = NegGradPlus(**shared, alpha=0.0, forget_batch_size=1000).unlearn(model, case, rng())
    for p, q in zip(climbed.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-12)


def test_forget_rows_are_dealt_anew_when_they_run_out(
    instance_case: Case, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    dealt: list[list[int]] = []
    batches = NegGradPlus.batches

    def noting(self: NegGradPlus, n: int, rng: np.random.Generator, size: int | None = None) -> Any:
        for batch in batches(self, n, rng, size):
            if n == 40:
                dealt.append(batch.tolist())
            yield batch

    monkeypatch.setattr(NegGradPlus, "batches", noting)
    model, case = train(instance_case, "mlp", hidden=[16])
    method = NegGradPlus(epochs=3, batch_size=20, least_steps=1, forget_batch_size=20, alpha=0.75)
    done = method.unlearn(model, case, rng())
    assert len(dealt) == done.report.steps == 33
    passes = [dealt[i] + dealt[i + 1] for i in range(0, 32, 2)]
    assert all(sorted(both) == list(range(40)) for both in passes)
    assert len({tuple(both) for both in passes}) == len(passes)
    assert done.report.rows_touched == 3 * 220 + 33 * 20
    assert done.report.notes == ("each forget row was climbed 5.5 times an epoch by 0.25",)


def test_pull_towards_the_weights_before_training(
    logged: tuple[nn.Module, TrainingLog], instance_case: Case
) -> None:
    model, log = logged
    case = instance_case.replace(log=log)
    free, pulled = (
        NegGradPlus(**PLAIN, pull=pull).unlearn(model, case, rng()).model for pull in (0.0, 0.5)
    )
    for name, start in model.named_parameters():
        towards = 0.3 * 0.5 * (start.detach() - log.initial[name])
        expected = free.get_parameter(name) - towards
        torch.testing.assert_close(pulled.get_parameter(name), expected, rtol=0, atol=2e-6)
    with pytest.raises(NotApplicable, match=r"neggrad_plus with pull .* case\.log empty"):
        NegGradPlus(pull=0.1).unlearn(model, instance_case, rng())


@pytest.mark.parametrize(("norms", "moves"), [("train", True), ("eval", False), ("frozen", False)])
def test_batch_norm_modes(norms: Any, moves: bool, instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[16], norm=True)
    new = NegGradPlus(norms=norms, epochs=1).unlearn(model, case, rng()).model
    same = torch.equal(new.get_buffer("2.running_mean"), model.get_buffer("2.running_mean"))
    assert same != moves
    assert torch.equal(new.get_parameter("2.weight"), model.get_parameter("2.weight")) == (
        norms == "frozen"
    )


def test_a_class_is_forgotten_and_the_rest_kept(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[32])
    new = Target(NegGradPlus().unlearn(model, case, rng()).model)
    assert case.others is not None
    assert new.accuracy(case.forget) < 0.1
    assert new.accuracy(case.others) > 0.8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NegGradPlus(alpha=-0.1), "alpha: expected a finite number at least 0"),
        (lambda: NegGradPlus(alpha=1.1), "1 - alpha: expected a finite number at least 0"),
        (lambda: NegGradPlus(pull=-1.0), "pull"),
        (lambda: NegGradPlus(forget_batch_size=0), "forget_batch_size"),
        (lambda: NegGradPlus(norms="off"), "norms"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_wrong_fields_are_refused(make: Callable[[], NegGradPlus], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_presets() -> None:
    for name, alpha in (("small", 0.95), ("large", 0.9999)):
        method = NegGradPlus.preset(name)
        assert (method.alpha, method.epochs, method.lr, method.norms) == (alpha, 10, 0.01, "eval")
        assert (method.optimizer, method.momentum, method.weight_decay) == ("sgd", 0.9, 0.0)
