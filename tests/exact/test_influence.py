"""Closed forms of influence unlearning, of its curvature, and of the inverses."""

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.contracts import Method
from forget_audit.errors import ModelError, NotApplicable
from forget_audit.labels import label_loss, to_forget
from forget_audit.methods import _hessian
from forget_audit.methods._hessian import Surface, conjugate_gradients, lissa, matrix, woodfisher
from forget_audit.methods.influence_first import InfluenceFirst
from forget_audit.methods.influence_second import InfluenceSecond
from forget_audit.seeds import seeded_torch
from forget_audit.training.loop import rows_tensors
from forget_audit.types import Case, Rows
from tests.fixtures.requests import Train

SECOND = InfluenceSecond(alpha=1.0, curvature="hessian", damping=0.0, penalty=0.5, inverse="exact")


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def small(n_classes: int = 3) -> nn.Module:
    """A perceptron of 31 weights in float64."""
    with seeded_torch(3):
        layers = nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, n_classes)
        return nn.Sequential(*layers, nn.Identity()).double()


def drawn(n: int = 30, n_classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = rng(0)
    return (
        torch.from_numpy(numbers.standard_normal((n, 4))),
        torch.from_numpy(numbers.integers(0, n_classes, n)),
    )


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


def forget_loss(model: nn.Module, case: Case) -> float:
    x, y = rows_tensors(case.forget, model)
    with torch.no_grad():
        return float(label_loss(model(x), to_forget(case, y)))


def squared(predicted: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (predicted - y).square().sum(1) / 2


def line(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = rng(n)
    x = torch.from_numpy(numbers.standard_normal((n, 5)))
    truth = torch.from_numpy(numbers.standard_normal((5, 1)))
    return x, x @ truth + torch.from_numpy(numbers.standard_normal((n, 1)))


def ridge(x: torch.Tensor, y: torch.Tensor, penalty: float) -> torch.Tensor:
    matrix = x.T @ x + penalty * torch.eye(5, dtype=x.dtype)
    solution: torch.Tensor = torch.linalg.solve(matrix, x.T @ y).flatten()
    return solution


def moved_ridge(n: int, gone: int, over: slice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a ridge solution, the one after a step of second order, and the one retrained."""
    x, y = line(n)
    model = nn.Linear(5, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(ridge(x, y, 0.5)[None])
    surface = Surface(model, squared)
    change = -surface.gradient(surface.start, x[:gone], y[:gone])
    step, _, _ = SECOND.solve(surface, change, x[over], y[over], rng())
    return surface.start, surface.start - step, ridge(x[gone:], y[gone:], 0.5)


def test_curvature_products_are_those_of_autograd() -> None:
    model, (x, y) = small(), drawn()
    surface = Surface(model)
    at = surface.start
    whole = torch.func.jacrev(torch.func.jacrev(surface.total))(at, x, y)
    assert torch.allclose(matrix(surface.hessian_product(at, x, y), at), whole, atol=1e-10)
    slopes = surface.jacobians(at, x)
    p = surface.logits(at, x).softmax(1)
    bend = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    gauss = torch.einsum("nkp,nkl,nlq->pq", slopes, bend, slopes)
    assert torch.allclose(surface.gauss_newton(at, x, y), gauss, atol=1e-10)
    assert torch.allclose(matrix(surface.gauss_newton_product(at, x, y), at), gauss, atol=1e-10)
    assert not torch.allclose(gauss, whole, atol=1e-3)


def test_gradients_of_rows_add_up_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, y) = small(), drawn()
    surface = Surface(model)
    at, v = surface.start, torch.ones_like(surface.start)
    whole = surface.gradient(at, x, y), surface.gauss_newton_product(at, x, y)(v)
    label_loss(model(x), y).backward()  # type: ignore[no-untyped-call]
    by_hand = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert torch.allclose(whole[0] / len(x), by_hand)
    assert torch.allclose(surface.row_gradients(at, x, y).sum(0), whole[0])
    monkeypatch.setattr(_hessian, "CHUNK", 7)
    monkeypatch.setattr(_hessian, "BLOCK", 4)
    assert torch.allclose(surface.gradient(at, x, y), whole[0])
    assert torch.allclose(surface.gauss_newton_product(at, x, y)(v), whole[1])
    assert torch.allclose(surface.row_gradients(at, x, y).sum(0), whole[0])
    assert torch.allclose(surface.gauss_newton(at, x, y) @ v, whole[1])


def test_inverses_agree_with_the_explicit_one() -> None:
    model, (x, y) = small(), drawn()
    surface = Surface(model)
    at = surface.start
    right = surface.gradient(at, x[:4], y[:4])
    settings = {"damping": 0.05, "curvature": "gauss_newton", "steps": 400, "tolerance": 1e-12}
    expected = torch.linalg.solve(
        surface.gauss_newton(at, x, y) + 30 * 0.05 * torch.eye(len(at), dtype=at.dtype), right
    )
    for inverse in ("exact", "cg", "lissa"):
        method = InfluenceSecond(inverse=inverse, **settings)  # type: ignore[arg-type]
        solved, _, _ = method.solve(surface, right, x, y, rng())
        assert torch.allclose(solved, expected, rtol=0, atol=1e-4 * float(expected.norm())), inverse
    rows = surface.row_gradients(at, x, y)
    fisher = rows.T @ rows + 30 * 0.05 * torch.eye(len(at), dtype=at.dtype)
    method = InfluenceSecond(inverse="woodfisher", damping=0.05)
    solved, _, _ = method.solve(surface, right, x, y, rng())
    assert torch.allclose(solved, torch.linalg.solve(fisher, right), atol=1e-10)


def test_one_row_of_woodfisher_is_sherman_morrison() -> None:
    g, v = torch.tensor([[1.0, 2.0]]), torch.tensor([3.0, -1.0])
    inverse = torch.linalg.inv(0.5 * torch.eye(2) + g.T @ g)
    assert torch.allclose(woodfisher(g, v, 0.5), inverse @ v)


def test_solvers_refuse_what_they_cannot_solve() -> None:
    right = torch.ones(3, dtype=torch.float64)
    with pytest.raises(ModelError, match="positive curvature"):
        conjugate_gradients(lambda v: -v, right, 5, 0.0)
    with pytest.raises(ModelError, match="diverged with scale 1"):
        lissa(lambda: lambda v: 4 * v, right, 1.0, 200)


def test_newton_step_on_the_remaining_rows_retrains_ridge_regression() -> None:
    start, moved, retrained = moved_ridge(60, 6, slice(6, None))
    assert torch.allclose(moved, retrained, atol=1e-10)
    assert not torch.allclose(start, retrained, atol=1e-3)


def test_curvature_of_all_rows_errs_in_second_order() -> None:
    ratios = []
    for n in (60, 240, 960):
        start, moved, retrained = moved_ridge(n, 6, slice(None))
        ratios.append(float((moved - retrained).norm() / (start - retrained).norm()))
    assert 0 < ratios[2] < ratios[1] / 2 < ratios[0] / 4


def minimum(model: nn.Module, case: Case, rows: Rows, penalty: float) -> nn.Module:
    """Put softmax regression at the minimum of its penalised loss over some rows, by Newton."""
    surface = Surface(model)
    at, (x, y) = torch.zeros_like(surface.start), rows_tensors(rows, model)
    eye = torch.eye(len(at), dtype=at.dtype)
    slope = surface.gradient(at, x, y)
    while slope.norm() > 1e-8:
        at = at - torch.linalg.solve(surface.gauss_newton(at, x, y) + penalty * eye, slope)
        slope = surface.gradient(at, x, y) + penalty * at
    surface.put(at, model)
    return model


def convex(case: Case) -> tuple[nn.Module, nn.Module]:
    """Return the minimum with all rows and that with the retained ones."""
    models = [nn.Linear(64, case.n_classes).double() for _ in range(2)]
    for model, rows in zip(models, (case.training, case.retain), strict=True):
        minimum(model, case, rows, 5.0)
    return models[0], models[1]


@pytest.mark.parametrize("name", ["labels_case", "attribute_case"])
def test_convex_deletion_comes_close_to_retraining(
    name: str, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(name)
    whole, retrained = convex(case)
    distance = (weights(whole) - weights(retrained)).norm()
    apart = {}
    for over in ("training", "retain"):
        for residual in ("none", "newton"):
            method = InfluenceSecond(
                inverse="cg", damping=0.0, penalty=5.0, steps=200,
                tolerance=1e-10, over=over, residual=residual,
            )  # fmt: skip
            model = method.unlearn(whole, case, rng()).model
            apart[over, residual] = float((weights(model) - weights(retrained)).norm() / distance)
    assert apart["training", "none"] < 0.5
    assert apart["retain", "none"] < 0.3
    for over in ("training", "retain"):  # at the minimum training has left nothing over
        assert apart[over, "newton"] == pytest.approx(apart[over, "none"], abs=1e-6)


def test_residual_makes_up_for_training_that_ended_early(labels_case: Case) -> None:
    whole, retrained = convex(labels_case)
    with torch.no_grad():
        for p in whole.parameters():
            p.add_(torch.from_numpy(rng().standard_normal(p.shape)), alpha=0.05)
    apart = {}
    for residual in ("none", "newton"):
        method = InfluenceSecond(
            damping=0.0, penalty=5.0, steps=200, over="retain", residual=residual,
        )  # fmt: skip
        model = method.unlearn(whole, labels_case, rng()).model
        apart[residual] = float((weights(model) - weights(retrained)).norm())
    assert apart["newton"] < apart["none"] / 3


def test_first_order_step_is_the_closed_form(instance_case: Case) -> None:
    model = nn.Linear(64, 10).double()
    x, y = rows_tensors(instance_case.forget, model)
    x = x.double()
    with torch.no_grad():
        error = model(x).softmax(1) - nn.functional.one_hot(y, 10)
        expected = model.weight + 0.3 * error.T @ x
    moved = InfluenceFirst(tau=0.3).unlearn(model, instance_case, rng()).model
    assert torch.allclose(dict(moved.named_parameters())["weight"], expected, atol=1e-12)


def test_first_order_step_is_linear_in_its_length(train: Train, class_case: Case) -> None:
    model = train(class_case)[0]
    start = weights(model)
    steps = [
        weights(InfluenceFirst(tau=tau).unlearn(model, class_case, rng()).model) - start
        for tau in (0.01, 0.02)
    ]
    assert torch.allclose(2 * steps[0], steps[1], atol=1e-6)
    small_step = InfluenceFirst(tau=1e-4).unlearn(model, class_case, rng()).model
    assert forget_loss(small_step, class_case) > forget_loss(model, class_case)


@pytest.mark.parametrize("method", [InfluenceFirst, InfluenceSecond])
def test_equal_replacements_change_nothing(
    method: type[InfluenceFirst | InfluenceSecond], train: Train, instance_case: Case
) -> None:
    model = train(instance_case)[0]
    assert not instance_case.training.x[:, 0].any()
    equal = method(replacement="features", columns=(0,))
    assert torch.equal(weights(equal.unlearn(model, instance_case, rng()).model), weights(model))
    other = method(replacement="features", columns=(20, 21))
    assert not torch.equal(
        weights(other.unlearn(model, instance_case, rng()).model), weights(model)
    )


@pytest.mark.parametrize("method", [InfluenceFirst, InfluenceSecond])
@pytest.mark.parametrize("name", ["class_case", "labels_case", "attribute_case"])
def test_label_corrections_raise_the_loss_of_the_old_labels(
    method: type[InfluenceFirst | InfluenceSecond],
    name: str,
    train: Train,
    request: pytest.FixtureRequest,
) -> None:
    case = request.getfixturevalue(name)
    model = train(case)[0]
    corrected = method(replacement="labels").unlearn(model, case, rng()).model
    assert forget_loss(corrected, case) > forget_loss(model, case)


@pytest.mark.parametrize("method", [InfluenceFirst(layers=1), InfluenceSecond(layers=1)])
def test_other_layers_and_statistics_stay(
    method: Method, train: Train, instance_case: Case
) -> None:
    model, case = train(instance_case, "mlp", hidden=[32], norm=True)
    new = method.unlearn(model, case, rng()).model.state_dict()
    moved = {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, new[name])
    }
    assert moved == {"4.weight", "4.bias"}


def test_every_inverse_forgets_a_network(train: Train, class_case: Case) -> None:
    model = train(class_case)[0]
    for method in (
        InfluenceSecond(inverse="lissa"),
        InfluenceSecond(inverse="exact", layers=1),
        InfluenceSecond(inverse="cg", curvature="hessian", damping=1.0),
        InfluenceSecond.preset("iu"),
        InfluenceSecond(residual="newton"),
    ):
        unlearned = method.unlearn(model, class_case, rng())
        assert forget_loss(unlearned.model, class_case) > forget_loss(model, class_case), method


def test_settings_that_cannot_be_are_refused(train: Train, instance_case: Case) -> None:
    for settings in (
        {"replacement": "features"},
        {"columns": (1,)},
        {"inverse": "woodfisher", "damping": 0.0},
        {"residual": "balanced", "replacement": "labels"},
    ):
        with pytest.raises(ValueError, match="expected"):
            InfluenceSecond(**settings)
    with pytest.raises(NotApplicable, match="positions below 64"):
        InfluenceFirst(replacement="features", columns=(64,)).unlearn(
            train(instance_case)[0], instance_case, rng()
        )
    with pytest.raises(NotApplicable, match="at most 5000 weights"):
        InfluenceSecond(inverse="exact").unlearn(
            train(instance_case, "mlp", hidden=[80])[0], instance_case, rng()
        )
