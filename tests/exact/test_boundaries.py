"""Boundary Shrink and Boundary Expanding: adversarial labels, the shadow class, and their steps."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from forget_audit.contracts import Method
from forget_audit.errors import NotApplicable
from forget_audit.methods._crossing import likeliest, moved
from forget_audit.methods.boundary_expanding import BoundaryExpanding
from forget_audit.methods.boundary_shrink import REACH, BoundaryShrink, curvature, row_weights
from forget_audit.seeds import draw_seed, seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import rows_tensors
from forget_audit.types import Case
from tests.fixtures.requests import Train

PLAIN: dict[str, Any] = {
    "epochs": 1, "batch_size": 1000, "least_steps": 1, "optimizer": "sgd", "lr": 0.3,
    "momentum": 0.0, "weight_decay": 0.0,
}  # fmt: skip


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def regression(seed: int = 3) -> nn.Linear:
    with seeded_torch(seed):
        return nn.Linear(64, 10)


def answers(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(x)
    return found


# Adversarial inputs


@pytest.mark.parametrize("how", [
    {}, {"steps": 5, "step": 8 / 255}, {"bounds": (0.0, 1.0)},
    {"steps": 9, "step": 0.03, "bounds": (0.2, 0.7)},
])  # fmt: skip
def test_moved_rows_stay_near(how: dict[str, Any], instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[16], norm=True)
    x, y = rows_tensors(case.forget, model)
    found = moved(model, x, y, epsilon=0.1, **how)
    change = (found - x).abs()
    assert change.max() <= 0.1 + 1e-6
    assert change.max() > 0.09
    low, high = how.get("bounds", (-np.inf, np.inf))
    assert torch.all((found >= low) | (found >= x))
    assert torch.all((found <= high) | (found <= x))
    before, after = (functional.cross_entropy(answers(model, z), y) for z in (x, found))
    assert after > before


def test_one_step_follows_the_sign_in_closed_form(instance_case: Case) -> None:
    model = regression().double()
    x, y = torch.tensor(instance_case.forget.x).double(), torch.tensor(instance_case.forget.y)
    p = answers(model, x).softmax(1)
    slope = (p - functional.one_hot(y, 10)) @ model.weight.detach()
    expected = x + 0.1 * slope.sign()
    assert torch.equal(moved(model, x, y, epsilon=0.1), expected)
    assert torch.equal(moved(model, x, y, epsilon=0.1, steps=1, step=0.3), expected)
    assert not torch.equal(moved(model, x, y, epsilon=0.1, steps=3, step=0.05), expected)


def test_many_rows_are_moved_like_few(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[16], norm=True)
    x, y = rows_tensors(case.training, model)
    assert len(x) > 256
    torch.testing.assert_close(
        moved(model, x, y, epsilon=0.1)[-30:], moved(model, x[-30:], y[-30:], epsilon=0.1)
    )


# Boundary Shrink


@pytest.mark.parametrize("name", ["instance_case", "class_case", "subclass_case"])
def test_adversarial_labels_are_other_classes(
    name: str, request: pytest.FixtureRequest, train: Train
) -> None:
    model, case = train(request.getfixturevalue(name), "mlp", hidden=[16], norm=True)
    x, y = rows_tensors(case.forget, model)
    near, _ = BoundaryShrink(epsilon=1e-9).nearest(model, x, y, case)
    second = answers(model, x).scatter(1, y[:, None], -torch.inf).argmax(1)
    assert torch.equal(near, second)
    for method in (BoundaryShrink(), BoundaryShrink(attack="pgd")):
        assert not (method.nearest(model, x, y, case)[0] == y).any()
    literal, _ = BoundaryShrink(epsilon=1e-9, exclude_true=False).nearest(model, x, y, case)
    assert torch.equal(literal, answers(model, x).argmax(1))
    assert (literal == y).double().mean() > 0.9


def test_forgotten_classes_are_no_labels(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[16], norm=True)
    x, y = rows_tensors(case.forget, model)
    common = int(BoundaryShrink().nearest(model, x, y, case)[0].mode().values)
    both = case.replace(classes=(3, common))
    assert not (BoundaryShrink().nearest(model, x, y, both)[0] == common).any()
    every = case.replace(classes=tuple(range(10)))
    with pytest.raises(NotApplicable, match="boundary_shrink: expected another class"):
        BoundaryShrink().unlearn(model, every, rng())


def test_nearest_class_of_a_regular_linear_model(instance_case: Case) -> None:
    with seeded_torch(1):
        directions, _ = torch.linalg.qr(torch.randn(64, 10, dtype=torch.float64))
        x = torch.randn(200, 64, dtype=torch.float64)
    model = nn.Linear(64, 10, bias=False).double()
    model.weight.data = 3 * directions.T
    logits = answers(model, x)
    y = logits.argmax(1)
    w = model.weight.detach()
    apart = (w[y][:, None] - w[None]).norm(dim=2)
    distance = (logits.gather(1, y[:, None]) - logits) / apart.clamp(min=1e-12)
    distance[torch.arange(200), y] = torch.inf
    found, _ = BoundaryShrink(epsilon=1e-9).nearest(model, x, y, instance_case)
    assert torch.equal(found, distance.argmin(1))


def test_shrinking_step_in_closed_form(instance_case: Case) -> None:
    model = regression()
    x, y = rows_tensors(instance_case.forget, model)
    method = BoundaryShrink(**PLAIN, epsilon=0.3)
    labels, logits = method.nearest(model, x, y, instance_case)
    p = answers(model, x).softmax(1)
    residual = (p - functional.one_hot(labels, 10)) / len(x)
    done = method.unlearn(model, instance_case, rng())
    expected = model.weight.detach() - 0.3 * residual.T @ x
    torch.testing.assert_close(done.model.weight.data, expected, rtol=0, atol=2e-6)
    share = float((logits.argmax(1) != y).double().mean())
    assert done.report.notes == (f"{share:.0%} of the moved rows were taken for another class",)
    assert done.report.rows_touched == 2 * 40
    weighed = BoundaryShrink(**PLAIN, epsilon=0.3, reweigh=True)
    expected = model.weight.detach() - 0.3 * (residual * row_weights(logits, labels)[:, None]).T @ x
    found = weighed.unlearn(model, instance_case, rng()).model.weight.data
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_labels_come_from_the_given_model(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[32])
    x, y = rows_tensors(case.forget, model)
    labels, _ = BoundaryShrink().nearest(model, x, y, case)
    new = BoundaryShrink(epochs=40).unlearn(model, case, rng()).model
    assert torch.equal(answers(new, x).argmax(1), labels)


def test_weights_of_rows_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.4, 0.4, 0.2]]))
    found = row_weights(logits, torch.tensor([0, 1, 1])).tolist()
    expected = [3 / (1 + np.exp(-5 * (gap - 0.5))) for gap in (-0.5, 0.5, 0.0)]
    assert found == pytest.approx(expected, rel=1e-5)


def test_curvature_in_closed_form(instance_case: Case) -> None:
    model = regression().double()
    x, y = torch.tensor(instance_case.forget.x).double(), torch.tensor(instance_case.forget.y)
    w = model.weight.detach()

    def slopes(x: torch.Tensor) -> torch.Tensor:
        return (answers(model, x).softmax(1) - functional.one_hot(y, 10)) @ w / len(x)

    far = x + REACH * slopes(x).sign() / 8
    expected = (slopes(far) - slopes(x)).norm(dim=1)
    torch.testing.assert_close(curvature(model, x, y), expected, rtol=1e-9, atol=0)


def test_curvature_is_held(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[16])
    x, y = rows_tensors(case.forget, model)
    gaps, digests = [], []
    for weight in (0.0, 50.0):
        one = BoundaryShrink(**{**PLAIN, "lr": 1e-2}, curvature=weight)
        digests.append(weights_digest(one.unlearn(model, case, rng()).model))
        new = BoundaryShrink(epochs=3, curvature=weight).unlearn(model, case, rng()).model
        gaps.append(float((curvature(new, x, y) - curvature(model, x, y)).norm().detach()))
    assert digests[0] == digests[1], "at the start there is no change to undo"
    assert gaps[1] < 0.9 * gaps[0]


# Boundary Expanding


def widened(model: nn.Sequential, shadow: nn.Linear) -> nn.Sequential:
    """The model with a last layer of one more output."""
    wide = copy.deepcopy(model)
    last = wide[-1]
    assert isinstance(last, nn.Linear)
    new = nn.Linear(last.in_features, last.out_features + 1)
    new.weight.data = torch.cat([last.weight.data, shadow.weight.data])
    new.bias.data = torch.cat([last.bias.data, shadow.bias.data])
    wide[-1] = new
    return wide


@pytest.mark.parametrize("init_scale", [0.0, 1.0, 3.0])
def test_a_shadow_beside_the_model_is_a_wider_last_layer(
    init_scale: float, class_case: Case, train: Train
) -> None:
    model, case = train(class_case, "mlp", hidden=[16], norm=True)
    assert isinstance(model, nn.Sequential)
    last = model[-1]
    assert isinstance(last, nn.Linear)
    method = BoundaryExpanding(**{**PLAIN, "epochs": 3, "lr": 0.05}, init_scale=init_scale)
    wide = widened(model, method.shadow(last, rng_after_one())).eval()
    x = torch.tensor(case.forget.x)
    torch.testing.assert_close(answers(wide, x)[:, :10], answers(model, x))
    with seeded_torch(draw_seed(rng_after_one())):
        usual = nn.Linear(last.in_features, 1)
    assert torch.equal(method.shadow(last, rng_after_one()).weight, init_scale * usual.weight)
    optimizer = torch.optim.SGD(wide.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(wide(x), torch.full((len(x),), 10)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    new = method.unlearn(model, case, rng()).model
    assert answers(new, x).shape == (len(x), 10)
    torch.testing.assert_close(answers(new, x), answers(wide, x)[:, :10], rtol=0, atol=1e-4)


def rng_after_one() -> np.random.Generator:
    used = rng()
    draw_seed(used)
    return used


def test_no_epochs_leave_the_function_as_it_was(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "cnn", channels=[4, 8])
    new = BoundaryExpanding(epochs=0).unlearn(model, case, rng()).model
    assert np.array_equal(Target(new).logits(case.test), Target(model).logits(case.test))
    assert [*new.state_dict()] == [*model.state_dict()]


def test_expanding_needs_a_linear_head(instance_case: Case) -> None:
    with seeded_torch(0):
        model = nn.Sequential(nn.Unflatten(1, (64, 1, 1)), nn.Conv2d(64, 10, 1), nn.Flatten())
    with pytest.raises(NotApplicable, match="boundary_expanding adds an output to the head"):
        BoundaryExpanding().unlearn(model, instance_case, rng())


def test_a_head_without_bias_has_a_shadow_without(instance_case: Case) -> None:
    last = nn.Linear(64, 10, bias=False).double()
    shadow = BoundaryExpanding().shadow(last, rng())
    assert [name for name, _ in shadow.named_parameters()] == ["weight"]
    assert shadow.weight.dtype == torch.float64


# Both


def test_shrinking_forgets_more_than_expanding(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[32])
    shrunk, expanded = (
        Target(method.unlearn(model, case, rng()).model)
        for method in (BoundaryShrink(), BoundaryExpanding())
    )
    before = Target(model).accuracy(case.forget)
    assert shrunk.accuracy(case.forget) < expanded.accuracy(case.forget) < before
    assert shrunk.accuracy(case.forget) < 0.1
    assert shrunk.accuracy(case.retain) > 0.9


@pytest.mark.parametrize("cls", [BoundaryShrink, BoundaryExpanding])
@pytest.mark.parametrize(("norms", "moves"), [("train", True), ("eval", False), ("frozen", False)])
def test_batch_norm_modes(
    cls: Callable[..., Method], norms: str, moves: bool, class_case: Case, train: Train
) -> None:
    model, case = train(class_case, "mlp", hidden=[16], norm=True)
    new = cls(norms=norms, epochs=1).unlearn(model, case, rng()).model
    same = torch.equal(new.get_buffer("2.running_mean"), model.get_buffer("2.running_mean"))
    assert same != moves
    assert torch.equal(new.get_parameter("2.bias"), model.get_parameter("2.bias")) == (
        norms == "frozen"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BoundaryShrink(epsilon=0.0), "epsilon"),
        (lambda: BoundaryShrink(attack="cw"), "attack: expected one of fgsm, pgd"),  # type: ignore[arg-type]
        (lambda: BoundaryShrink(pgd_steps=0), "pgd_steps"),
        (lambda: BoundaryShrink(pgd_step=0.0), "pgd_step"),
        (lambda: BoundaryShrink(bounds=(1.0, 0.0)), "bounds: expected a finite number above 1"),
        (lambda: BoundaryShrink(exclude_true=1), "exclude_true"),  # type: ignore[arg-type]
        (lambda: BoundaryShrink(reweigh=1), "reweigh"),  # type: ignore[arg-type]
        (lambda: BoundaryShrink(curvature=-1.0), "curvature"),
        (lambda: BoundaryShrink(norms="off"), "norms"),  # type: ignore[arg-type]
        (lambda: BoundaryExpanding(init_scale=-1.0), "init_scale"),
        (lambda: BoundaryExpanding(norms="off"), "norms"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_wrong_fields_are_refused(make: Callable[[], Method], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_presets() -> None:
    for name in BoundaryShrink.info.presets:
        method = BoundaryShrink.preset(name)
        assert (method.epsilon, method.epochs, method.lr, method.momentum) == (0.1, 10, 1e-5, 0.9)
        assert (method.optimizer, method.batch_size, method.norms) == ("sgd", 64, "train")
        assert (method.bounds, method.exclude_true) == ((0.0, 1.0), False)
    pgd = BoundaryShrink.preset("reference-pgd")
    assert (pgd.attack, pgd.pgd_steps, pgd.pgd_step) == ("pgd", 5, 8 / 255)
    expanding = BoundaryExpanding.preset("reference")
    assert (expanding.lr, expanding.epochs, expanding.batch_size) == (1e-5, 10, 64)
    assert likeliest(torch.zeros(1, 3), torch.tensor([[True, False, False]])).item() == 1
