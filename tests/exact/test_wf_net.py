"""WF-Net: gates in the outputs, gates in the weights, and what they leave alone."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods._steps import Course
from forget_audit.methods.wf_net import Gates, WfNet, fold, gated, gated_layers
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case
from tests.fixtures.requests import Train

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [32], "norm": True},
    "cnn": {"channels": [4, 8]},
    "vit": {"patch": 4, "width": 16, "depth": 1},
}


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def some_gates(model: nn.Module, case: Case) -> Gates:
    return {
        name: torch.from_numpy(rng(size).standard_normal((10, size))).float()
        for name, size in gated_layers(model, case.retain.x).items()
    }


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [(3,), (3, 7)], ids=str)
def test_gates_in_the_weights_equal_gates_in_the_outputs(
    name: str, classes: tuple[int, ...], class_case: Case, train: Train
) -> None:
    model, case = train(class_case, name, **MODELS[name])
    model = copy.deepcopy(model)
    gates = some_gates(model, case)
    x = torch.tensor(case.test.x)
    product = {
        k: g[list(classes)].sigmoid().prod(0).logit().repeat(10, 1) for k, g in gates.items()
    }
    with gated(model, product) as choose, torch.no_grad():
        choose(torch.full((len(x),), 3))
        expected = model(x)
    assert not any(module._forward_hooks for module in model.modules())
    closed = fold(model, gates, classes)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected, atol=1e-4, rtol=1e-4)
    shares = torch.cat([g[list(classes)].sigmoid().prod(0) for g in gates.values()])
    assert closed == pytest.approx((shares < 0.5).float().mean().item())


def test_each_row_gets_the_gates_of_its_class(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    gates = some_gates(model, case)
    x, classes = torch.tensor(case.retain.x[:30]), torch.arange(30) % 10
    with gated(model, gates) as choose, torch.no_grad():
        choose(classes)
        together = model(x)
        for k in range(10):
            choose(torch.full((30,), k))
            torch.testing.assert_close(model(x)[classes == k], together[classes == k])
        changed = {**gates, "1": gates["1"].clone()}
        changed["1"][4] += 1
    with gated(model, changed) as choose, torch.no_grad():
        choose(classes)
        other = model(x)
    assert torch.equal((other != together).any(1), classes == 4)


def test_output_layer_and_frozen_layers_have_no_gates(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "cnn", channels=[4, 8])
    model = copy.deepcopy(model)
    names = [n for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert gated_layers(model, case.retain.x) == {names[0]: 4, names[1]: 8}
    model.get_submodule(names[0]).requires_grad_(False)
    assert gated_layers(model, case.retain.x) == {names[1]: 8}
    before = {n: t.clone() for n, t in model.state_dict().items()}
    after = WfNet(epochs=1).unlearn(model, case, rng()).model.state_dict()
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    assert moved == {f"{names[1]}.weight", f"{names[1]}.bias"}


def test_weights_and_statistics_are_still_while_gates_are_learnt(
    class_case: Case, train: Train
) -> None:
    model, case = train(class_case, "mlp", hidden=[32], norm=True)
    course = Course(model, rng(), ["eval"])
    gates = WfNet(epochs=2).learn(course, case, rng())
    assert weights_digest(course.model) == weights_digest(model)
    assert course.steps == 12
    assert course.rows_touched == 2 * 260
    assert {name: g.shape for name, g in gates.items()} == {"1": (10, 32)}
    assert all(not torch.equal(g, torch.full_like(g, 3.0)) for g in gates.values())


def test_first_step_of_the_gates(class_case: Case, train: Train) -> None:
    """Plain gradient descent on the loss by hand, on one batch."""
    model, case = train(class_case)
    method = WfNet(
        epochs=1, batch_size=1000, least_steps=1, optimizer="sgd", momentum=0.0, lr=0.5,
        keep=0.7, forget=0.2, open=0.3, opening=1.0,
    )  # fmt: skip
    found = method.learn(Course(model, rng(0), ["eval"]), case, rng())["1"]
    replay = rng()
    order = replay.permutation(260)
    other = torch.from_numpy(replay.integers(1, 10, 260))
    x = torch.tensor(np.concatenate([case.forget.x, case.retain.x])[order])
    y = torch.tensor(np.concatenate([case.forget.y, case.retain.y])[order])
    gate = torch.ones(10, 32, requires_grad=True)
    assert isinstance(model, nn.Sequential)

    def error(classes: torch.Tensor) -> torch.Tensor:
        hidden = model[1](model[0](x)) * gate.sigmoid()[classes]
        return nn.functional.cross_entropy(model[3](hidden.relu()), y)

    loss = 0.7 * error((y + other) % 10) + 0.2 / error(y) + 0.3 * (1 - gate.sigmoid().mean())
    gradient = torch.autograd.grad(loss, gate)[0]
    torch.testing.assert_close(found, 1 - 0.5 * gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("forgotten", [3, 6])
def test_gates_of_any_class_forget_that_class(
    forgotten: int, class_case: Case, train: Train
) -> None:
    model, case = train(class_case)
    rows = case.training
    gone = rows.y == forgotten
    asked = case.replace(retain=rows.take(~gone), forget=rows.take(gone), classes=(forgotten,))
    new = Target(WfNet().unlearn(model, asked, rng()).model)
    assert new.accuracy(asked.forget) < 0.5
    assert new.accuracy(asked.retain) > 0.9


def test_a_model_without_inner_layers_is_refused(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "linear")
    with pytest.raises(NotApplicable, match="wf_net needs a linear or convolutional layer before"):
        WfNet().unlearn(model, case, rng())


def test_a_request_without_classes_is_refused(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    with pytest.raises(NotApplicable, match=r"wf_net needs the forgotten classes.*case\.classes"):
        WfNet().unlearn(model, case.replace(classes=()), rng())
