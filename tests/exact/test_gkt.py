"""Gated knowledge transfer: the gate, the maps, and a student that starts from nothing."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods._generator import generator, map_distance, watching_maps
from forget_audit.methods._teaching import distillation
from forget_audit.methods.gkt import Gkt, passing
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case, Rows
from tests.fixtures.requests import Train


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


# The gate


def test_gate() -> None:
    logits = torch.from_numpy(rng().standard_normal((200, 5)))
    p = logits.softmax(1)
    assert passing(logits, (2,), 1.0).all()
    assert not passing(logits, (2,), 0.0).any()
    assert torch.equal(passing(logits, (2,), 0.1), p[:, 2] <= 0.1)
    both = passing(logits, (2, 4), 0.1)
    assert torch.equal(both, (p[:, 2] <= 0.1) & (p[:, 4] <= 0.1))
    assert 0 < both.sum() < passing(logits, (2,), 0.1).sum()


def test_what_the_student_sees_has_passed_the_gate(
    class_case: Case, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, case = train(class_case)
    shown: list[torch.Tensor] = []

    def watched(teacher: torch.Tensor, student: torch.Tensor, temperature: float) -> torch.Tensor:
        shown.append(teacher.detach().softmax(1)[:, 4])
        return distillation(teacher, student, temperature)

    monkeypatch.setattr("forget_audit.methods.gkt.distillation", watched)
    report = Gkt(batches=5, gate=0.05).unlearn(model, case.replace(classes=(4,)), rng()).report
    assert len(shown) == 5 * 11
    assert max(p.max().item() for p in shown) <= 0.05
    assert report.rows_touched == sum(len(p) for p in shown) < 5 * 11 * 128
    assert report.steps == 50


def test_a_closed_gate_is_named(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    with pytest.raises(NotApplicable, match="gkt needs inputs that pass the gate, found none in 3"):
        Gkt(batches=3, gate=0.0, bounds=None).unlearn(model, case, rng())


# The student


@pytest.mark.parametrize("kind", [("mlp", {"hidden": [32]}), ("cnn", {"channels": [4]})], ids=str)
def test_student_comes_to_agree_with_the_teacher(
    kind: tuple[str, dict[str, Any]], class_case: Case, train: Train
) -> None:
    model, case = train(class_case, kind[0], **kind[1])
    x = rng().random((200, 64)).astype(np.float32)
    noise = Rows(x=x, y=np.zeros(200, dtype=np.int64), ids=np.arange(200).astype(np.str_))
    p = torch.tensor(Target(model).logits(noise)).log_softmax(1)
    apart = []
    for batches in (1, 15):
        new = Gkt(batches=batches).unlearn(model, case, rng()).model
        q = torch.tensor(Target(new).logits(noise)).log_softmax(1)
        apart.append((p.exp() * (p - q)).sum(1)[p.exp()[:, 3] < 0.01].mean().item())
    assert apart[1] < 0.5 * apart[0]


def test_student_starts_from_nothing(class_case: Case, train: Train) -> None:
    """The teacher's weights matter through its answers alone: a twin that answers alike will do."""
    model, case = train(class_case)
    other = _rescaled(model)
    one, two = (Gkt(batches=3).unlearn(m, case, rng()).model for m in (model, other))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0)


def _rescaled(model: nn.Module) -> nn.Module:
    """The same function with hidden units twice as large, read half as strongly."""
    other = copy.deepcopy(model)
    assert isinstance(other, nn.Sequential)
    first, second = other[1], other[3]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    with torch.no_grad():
        first.weight.mul_(2)
        first.bias.mul_(2)
        second.weight.div_(2)
    return other


def test_frozen_layers_stay_the_teachers(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    model = copy.deepcopy(model)
    model.get_submodule("1").requires_grad_(False)
    new = Gkt(batches=2).unlearn(model, case, rng()).model
    assert torch.equal(new.state_dict()["1.weight"], model.state_dict()["1.weight"])
    assert not torch.equal(new.state_dict()["3.weight"], model.state_dict()["3.weight"])


def test_no_row_makes_a_difference(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    rows = case.retain
    x = rng().random(rows.x.shape).astype(np.float32)
    other = case.replace(retain=Rows(x=x, y=0 * rows.y, ids=rows.ids))
    one, two = (Gkt(batches=2).unlearn(model, c, rng()).model for c in (case, other))
    assert weights_digest(one) == weights_digest(two) != weights_digest(model)


def test_the_class_is_not_learnt_again(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    new = Target(Gkt().unlearn(model, case, rng()).model)
    assert new.accuracy(case.forget) < 0.1
    assert new.accuracy(case.retain) > 0.4


# Maps and generator


def test_attention_maps_by_hand() -> None:
    with seeded_torch(1):
        model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3))
    x = torch.from_numpy(rng().random((4, 1, 5, 5)).astype(np.float32))
    with watching_maps(model) as maps, torch.no_grad():
        model(x)
        found = maps()
    assert not any(module._forward_hooks for module in model.modules())
    with torch.no_grad():
        inside = model[0](x).numpy()
    squares = (inside**2).mean(axis=1).reshape(4, 25)
    expected = squares / np.linalg.norm(squares, axis=1, keepdims=True)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-6)
    assert [tuple(m.shape) for m in found] == [(4, 25), (4, 9)]
    other = [m + 0.5 for m in found]
    assert map_distance(found, other).item() == pytest.approx(0.5, abs=1e-6)
    assert map_distance([], []).item() == 0


@pytest.mark.parametrize(
    ("shape", "bounds"), [((64,), (0.0, 1.0)), ((3, 8, 12), (-1.0, 1.0)), ((3, 5, 5), None)]
)
def test_generator(shape: tuple[int, ...], bounds: tuple[float, float] | None) -> None:
    with seeded_torch(1):
        maker = generator(shape, 16, 8, bounds)
    x = maker(torch.from_numpy(rng().standard_normal((50, 16), dtype=np.float32)))
    assert x.shape == (50, *shape)
    assert any(isinstance(m, nn.Conv2d) for m in maker.modules()) == (shape == (3, 8, 12))
    if bounds is not None:
        assert bounds[0] <= x.min().item() < x.max().item() <= bounds[1]
    else:
        assert x.mean().item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 1}, "batch_size: expected a whole number of at least 2"),
        ({"gate": -0.1}, "gate: expected"),
        ({"lr": 0.0}, "lr: expected"),
        ({"bounds": (1, 0)}, "bounds: expected"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gkt(**settings)


def test_a_request_without_classes_is_refused(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    with pytest.raises(NotApplicable, match=r"gkt needs the forgotten classes.*case\.classes"):
        Gkt().unlearn(model, case.replace(classes=()), rng())
