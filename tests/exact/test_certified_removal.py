"""The certificate of certified removal holds, and its arithmetic is the paper's."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.errors import NotApplicable
from forget_audit.methods._certified import (
    CertifiedHead,
    allowed,
    certified_head,
    features,
    gradient,
    signs,
)
from forget_audit.methods.certified_removal import CertifiedRemoval
from forget_audit.seeds import derive, seeded_torch
from forget_audit.targets import Target
from forget_audit.training.loop import Recipe, rows_tensors
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Features, Labels, Rows

GENEROUS = CertifiedRemoval(epsilon=1e6)


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def made(method: CertifiedRemoval, case: Case, rows: Rows | None = None) -> nn.Module:
    assert case.trainer is not None
    rows = case.training if rows is None else rows
    return method.trainer(case.trainer)(rows.x, rows.y, 1)


def noise_of(layer: CertifiedHead, sigma: float) -> torch.Tensor:
    """The noise of seed 1, which training has thrown away."""
    with seeded_torch(derive(1, "noise")):
        return sigma * torch.randn(layer.weight.shape, dtype=torch.float64)


def left(method: CertifiedRemoval, model: nn.Module, rows: Rows, outputs: int) -> list[float]:
    """Return the norm of the gradient of the perturbed loss of each output on some rows."""
    layer = certified_head(model)
    x, y = rows_tensors(rows, model)
    z, s, noise = features(model, layer, x), signs(y, outputs), noise_of(layer, method.sigma)
    weight = layer.weight.detach()
    found = []
    for k in range(outputs):
        known = s[:, k] != 0
        slope = gradient(weight[k], z[known], s[known, k], method.lam, method.loss)
        found.append(float((slope + noise[k]).norm()))
    return found


@pytest.mark.parametrize("name", ["instance_case", "class_case", "labels_case"])
@pytest.mark.parametrize("group", [1, 1000])
def test_gradient_left_is_below_the_bound(
    name: str, group: int, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(name)
    method = CertifiedRemoval(epsilon=1e6, group=group)
    model = made(method, case)
    layer = certified_head(model)
    assert max(left(method, model, case.training, case.n_classes)) < 1e-9
    assert left(method, model, case.training, case.n_classes) == pytest.approx(
        layer.spent.tolist(), abs=1e-11
    )
    before = left(method, model, case.retain, case.n_classes)
    unlearned = method.unlearn(model, case, rng())
    after = left(method, unlearned.model, case.retain, case.n_classes)
    spent = certified_head(unlearned.model).spent.tolist()
    assert all(rest <= bound for rest, bound in zip(after, spent, strict=True))
    assert max(after) < max(before) / 3
    assert max(after) > 1e-6, "a logistic loss is not quadratic"
    assert unlearned.report.stop_reason == "removed within the budget"


def test_removals_add_up_in_the_model(instance_case: Case) -> None:
    forget, retain = instance_case.forget, instance_case.retain
    model, gone = made(GENEROUS, instance_case), 0
    spent = [float(certified_head(model).spent.norm())]
    for part in (slice(0, 15), slice(15, 40)):
        now, later = np.arange(40)[part], np.arange(40)[part.stop :]
        kept = Rows.concat(retain, forget.take(later))
        case = instance_case.replace(forget=forget.take(now), retain=kept)
        model = GENEROUS.unlearn(model, case, rng()).model
        gone += len(now)
        layer = certified_head(model)
        spent.append(float(layer.spent.norm()))
        assert int(layer.removed) == gone
        rests = left(GENEROUS, model, kept, 10)
        assert all(r <= b for r, b in zip(rests, layer.spent.tolist(), strict=True))
    assert spent[0] < spent[1] < spent[2]


def test_least_squares_is_retraining(instance_case: Case) -> None:
    method = CertifiedRemoval(loss="squared")
    model = made(method, instance_case)
    unlearned = method.unlearn(model, instance_case, rng())
    retrained = made(method, instance_case, instance_case.retain)
    weight = certified_head(unlearned.model).weight
    assert torch.allclose(weight, certified_head(retrained).weight, atol=1e-10)
    assert not torch.allclose(weight, certified_head(model).weight, atol=1e-3)
    assert float(certified_head(unlearned.model).spent.norm()) < 1e-9


def test_budget_is_the_paper_s() -> None:
    c = 3.0
    delta = 1.5 * math.exp(-(c**2) / 2)
    assert allowed(0.7, delta, 10.0) == pytest.approx(10.0 * 0.7 / c)


def test_budget_that_is_exceeded_trains_anew(instance_case: Case) -> None:
    method = CertifiedRemoval(epsilon=1e-3)
    model = made(method, instance_case)
    heads = []
    for seed in (1, 2):
        unlearned = method.unlearn(model, instance_case, rng(seed))
        assert unlearned.report.stop_reason == "trained anew with fresh noise"
        heads.append(certified_head(unlearned.model))
        assert float(heads[-1].spent.norm()) < 1e-9
        assert int(heads[-1].removed) == 0
    assert not torch.allclose(heads[0].weight, heads[1].weight)
    retrained = made(method, instance_case, instance_case.retain)
    difference = heads[0].weight - certified_head(retrained).weight
    assert difference.detach().abs().max() > 1e-3, "the noise is fresh"


def test_small_request_of_many_rows_stays_within_the_budget() -> None:
    numbers = rng()
    x = numbers.standard_normal((4000, 10)).astype(np.float32)
    y = (x[:, 0] + 0.3 * numbers.standard_normal(4000) > 0).astype(np.int64)
    trainer = RecipeTrainer(
        architecture=Architecture(name="linear", shape=(10,), n_classes=2), recipe=Recipe()
    )
    case = Case.from_arrays(
        x[:3000], y[:3000], forget=[3, 5], test=(x[3000:], y[3000:]), trainer=trainer
    )
    method = CertifiedRemoval(sigma=1.0)
    unlearned = method.unlearn(made(method, case), case, rng())
    assert unlearned.report.stop_reason == "removed within the budget"
    assert "epsilon 1 and delta 0.0001" in unlearned.report.notes[0]
    assert Target(unlearned.model).accuracy(case.test) > 0.85


def test_an_attribute_leaves_its_output_alone(attribute_case: Case) -> None:
    model = made(GENEROUS, attribute_case)
    new = certified_head(GENEROUS.unlearn(model, attribute_case, rng()).model).weight
    retrained = certified_head(made(GENEROUS, attribute_case, attribute_case.retain)).weight
    assert torch.equal(new, retrained)
    assert not new[2].any()
    others = [0, 1, 3]
    assert torch.equal(new[others], certified_head(model).weight[others])


def test_features_are_fixed_and_have_norm_one(instance_case: Case) -> None:
    assert instance_case.trainer is not None
    trainer = GENEROUS.trainer(instance_case.trainer)
    first, second = (trainer(instance_case.retain.x, instance_case.retain.y, k) for k in (1, 2))
    x = torch.tensor(instance_case.test.x)
    rows = [features(model, certified_head(model), x) for model in (first, second)]
    assert torch.equal(rows[0], rows[1])
    assert torch.allclose(rows[0].norm(dim=1), torch.ones(len(x), dtype=torch.float64))
    changed = GENEROUS.unlearn(first, instance_case, rng()).report.changed
    moved = {name for name, share in changed.items() if share}
    assert moved == {"3.weight", "3.spent", "3.removed"}


def test_other_originals_are_refused(instance_case: Case) -> None:
    case, trainer = instance_case, instance_case.trainer
    assert isinstance(trainer, RecipeTrainer)
    model = trainer.fresh(1)
    with pytest.raises(NotApplicable, match=r"certified_removal needs .*\.trainer\(base\)"):
        CertifiedRemoval().unlearn(model, case, rng())
    with pytest.raises(NotApplicable, match=r"certified_removal: expected .* trained with lam"):
        CertifiedRemoval(lam=0.5).unlearn(made(GENEROUS, case), case, rng())

    def other(x: Features, y: Labels, seed: int) -> nn.Module:
        raise AssertionError

    with pytest.raises(NotApplicable, match="certified_removal needs a RecipeTrainer"):
        CertifiedRemoval().trainer(other)(case.retain.x, case.retain.y, 1)
