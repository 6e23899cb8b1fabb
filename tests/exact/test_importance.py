"""Importances by hand equal a loop over rows, whatever the layers; dampening of labels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from forget_audit.labels import label_loss, to_forget
from forget_audit.methods import _importance
from forget_audit.methods._importance import power_sums, sample_importance, top
from forget_audit.methods.ssd import Ssd, dampen
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import rows_tensors
from forget_audit.types import Case
from tests.fixtures.requests import Train, trainer_of


class Twice(nn.Module):
    """One layer runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(torch.tanh(self.layer(torch.tanh(self.layer(x)))))
        return answer


class Beside(nn.Module):
    """A layer's weight is also used without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.layer(x) + functional.linear(x, self.layer.weight.square())
        answer: torch.Tensor = self.head(hidden)
        return answer


class Sequences(nn.Module):
    """Tokens come first and rows second, as recurrent layers like it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = torch.tanh(self.layer(x.view(-1, 4, 4).transpose(0, 1)))
        answer: torch.Tensor = self.head(tokens.mean(0))
        return answer


def convolutions() -> nn.Module:
    """Groups, strides, dilation, a norm of every kind, and changes in place."""
    return nn.Sequential(
        nn.Unflatten(1, (4, 2, 2)), nn.Upsample(scale_factor=4), nn.Conv2d(4, 8, 3, padding=1),
        nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.GroupNorm(2, 8),
        nn.Conv2d(8, 8, 3, stride=2, groups=4, bias=False), nn.LayerNorm([8, 3, 3]),
        nn.Conv2d(8, 6, 2, dilation=2, padding=(1, 0)), nn.ReLU(inplace=True), nn.Flatten(),
        nn.LazyLinear(5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3),
    )  # fmt: skip


def unusual() -> nn.Module:
    """Layers without a formula."""
    return nn.Sequential(
        nn.Unflatten(1, (4, 4)), nn.Conv1d(4, 5, 3), nn.PReLU(), nn.Flatten(), nn.Linear(10, 3)
    )


MODELS: dict[str, Callable[[], nn.Module]] = {
    "convolutions": convolutions,
    "unusual": unusual,
    "twice": Twice,
    "beside": Beside,
    "sequences": Sequences,
    "transformer": lambda: trainer_of("vit", 3, patch=2, width=8, depth=1).architecture.build(),
}


def built(name: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    with seeded_torch(2):
        width = 64 if name == "transformer" else 16
        model, x = MODELS[name]().double(), torch.randn(7, width, dtype=torch.float64)
        model(x)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
                assert module.weight is not None
                nn.init.normal_(module.weight)
    return model.eval(), x, torch.arange(7) % 3


def loop(model: nn.Module, x: torch.Tensor, y: torch.Tensor, power: int) -> list[torch.Tensor]:
    weights = [p for p in model.parameters() if p.requires_grad]
    sums = [torch.zeros_like(w) for w in weights]
    for row in range(len(x)):
        loss = label_loss(model(x[row : row + 1]), y[row : row + 1])
        for total, g in zip(sums, torch.autograd.grad(loss, weights), strict=True):
            total += g.abs() ** power
    return sums


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_sums_equal_a_loop_over_rows(name: str, power: Any, monkeypatch: Any) -> None:
    model, x, y = built(name)
    expected = loop(model, x, y, power)
    for rows in (64, 3):
        monkeypatch.setattr(_importance, "ROWS", rows)
        found = power_sums(model, x, y, power=power)
        assert [*found] == [n for n, _ in model.named_parameters()]
        for ours, truth in zip(found.values(), expected, strict=True):
            torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-15)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_residual_network_equals_a_loop() -> None:
    with seeded_torch(0):
        model = resnet18(num_classes=4).double().eval()
        x = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    y = torch.arange(3)
    found = power_sums(model, x, y)
    for ours, truth in zip(found.values(), loop(model, x, y, 2), strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-10 * float(truth.max()))


@pytest.mark.parametrize("scale", [1e-18, 1e6])
def test_small_gradients_are_not_lost_in_single_precision(scale: float) -> None:
    model, x, y = built("convolutions")
    model, x = model.float(), x.float()

    def scaled(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return scale * label_loss(logits, y)

    plain, small = power_sums(model, x, y), power_sums(model, x, y, scaled)
    for name, values in plain.items():
        torch.testing.assert_close(small[name] / scale**2, values, rtol=1e-3, atol=1e-12)


def test_frozen_layers_have_no_importance() -> None:
    model, x, y = built("convolutions")
    model[2].requires_grad_(False)  # type: ignore[index]
    model[3].weight.requires_grad_(False)  # type: ignore[index]
    found = power_sums(model, x, y)
    assert [*found] == [n for n, p in model.named_parameters() if p.requires_grad]
    for ours, truth in zip(found.values(), loop(model, x, y, 2), strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-15)


def test_the_top_is_counted_exactly() -> None:
    scores = {"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([[2.0], [2.0]])}
    for count in range(5):
        assert sum(int(mask.sum()) for mask in top(scores, count).values()) == count


# Dampening on several labels


def test_importance_of_several_labels_row_by_row(labels_case: Case, train: Train) -> None:
    model, case = train(labels_case)
    x, y = rows_tensors(case.forget, model)
    y = y.clone()
    y[::2, 1] = -1
    found = power_sums(model.eval(), x, y)
    for ours, truth in zip(found.values(), loop(model, x, y, 2), strict=True):
        torch.testing.assert_close(ours, truth.double(), rtol=1e-3, atol=1e-9)


def test_dampening_an_attribute_by_definition(attribute_case: Case, train: Train) -> None:
    model, case = train(attribute_case)
    model.eval()
    everything = sample_importance(model, case.forget)
    alone = sample_importance(
        model, case.forget, lambda logits, y: label_loss(logits, to_forget(case, y))
    )
    head = alone["3.weight"]
    assert torch.all(head[[0, 1, 3]] == 0), "other labels' rows have no part in the label"
    torch.testing.assert_close(everything["3.weight"][2] * 16, head[2], rtol=1e-3, atol=1e-9)
    done = Ssd(alpha=1.5, lam=0.7).unlearn(model, case, np.random.default_rng(5))
    for name, new in done.model.named_parameters():
        old = model.get_parameter(name)
        ratio = alone[name] / everything[name].clamp(min=1e-300)
        factor = torch.where(ratio > 1.5, (0.7 / ratio).clamp(max=1), 1.0).float()
        torch.testing.assert_close(new.detach(), old.detach() * factor, rtol=1e-3, atol=1e-6)
        assert torch.all(new * old >= 0)
        assert torch.all(new.abs() <= old.abs())


def test_dampening_hits_the_attribute_most(attribute_case: Case, train: Train) -> None:
    model, case = train(attribute_case)
    new = Ssd().unlearn(model, case, np.random.default_rng(5)).model
    y = case.forget.y

    def losses(model: nn.Module) -> np.ndarray[Any, Any]:
        logits = torch.tensor(Target(model).logits(case.forget))
        each = functional.binary_cross_entropy_with_logits(
            logits, torch.tensor(y).double(), reduction="none"
        )
        return each.mean(0).numpy()

    rise = losses(new) - losses(model)
    assert int(np.argmax(rise)) == 2
    assert rise[2] > 0.1


def test_an_infinite_ratio_is_the_identity_and_nothing_grows(
    labels_case: Case, train: Train
) -> None:
    model, case = train(labels_case)
    idle = Ssd(alpha=1e300).unlearn(model, case, np.random.default_rng(5)).model
    assert weights_digest(idle) == weights_digest(model)
    of_all = sample_importance(model.eval(), case.forget)
    with seeded_torch(0):
        copy = trainer_of("mlp", 4, hidden=[32]).architecture.build()
    copy.load_state_dict(model.state_dict())
    dampen(copy, of_all, of_all, 0.9, 0.25)
    for name, new in copy.named_parameters():
        scale = torch.where(of_all[name] > 0, 0.25, 1.0).float()
        torch.testing.assert_close(new, model.get_parameter(name) * scale)
