"""Layer-wise partial updates: who is selected when, and what selection leaves alone."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.labels import label_loss, to_forget
from forget_audit.methods._partial import Partial, Wheel
from forget_audit.methods.lpu_ascent import LpuAscent
from forget_audit.methods.lpu_flip import LpuFlip
from forget_audit.methods.neggrad import NegGrad
from forget_audit.methods.random_label import RandomLabel
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case
from tests.fixtures.requests import Train

PLAIN: dict[str, Any] = {"epochs": 3, "batch_size": 8, "lr": 0.05, "momentum": 0.0}
ALL: dict[str, Any] = {"density_first": 1.0, "density_last": 1.0}
NONE: dict[str, Any] = {"density_first": 0.0, "density_last": 0.0}
ONE_STEP: dict[str, Any] = {"epochs": 1, "batch_size": 1000, "least_steps": 1, "lr": 0.3}

both = pytest.mark.parametrize("cls", [LpuFlip, LpuAscent])


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_all_weights_free_is_plain_flipping(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[32], norm=True)
    naive = RandomLabel(
        policy="forget_only", per_epoch=False, forget_batch_size=8, weight_decay=0.0, **PLAIN
    )
    wanted = naive.unlearn(model, case, rng()).model
    for settings in (ALL, {**ALL, "prune_bias": True, "shift": "one"}):
        done = LpuFlip(**PLAIN, **settings).unlearn(model, case, rng())
        assert weights_digest(done.model) == weights_digest(wanted)
    partial = LpuFlip(**PLAIN).unlearn(model, case, rng())
    assert weights_digest(partial.model) != weights_digest(wanted)


def test_all_weights_free_is_plain_ascent(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[32], norm=True)
    naive = NegGrad(optimizer="sgd", clip_norm=None, stop_at_chance=False, **PLAIN)
    wanted = naive.unlearn(model, case, rng()).model
    done = LpuAscent(**PLAIN, **ALL, target=None, clip_norm=None).unlearn(model, case, rng())
    assert weights_digest(done.model) == weights_digest(wanted)
    partial = LpuAscent(**PLAIN, target=None, clip_norm=None).unlearn(model, case, rng())
    assert weights_digest(partial.model) != weights_digest(wanted)


@both
def test_nothing_selected_leaves_weights(cls: type[Partial], class_case: Case) -> None:
    assert class_case.trainer is not None
    model = class_case.trainer(class_case.training.x, class_case.training.y, 1)
    for prune_bias in (False, True):
        method = cls(**NONE, epochs=2, prune_bias=prune_bias)
        new = state(method.unlearn(model, class_case, rng()).model)  # type: ignore[attr-defined]
        for name, old in state(model).items():
            assert torch.equal(new[name], old) == (prune_bias or name.endswith("weight"))


@both
def test_unselected_weights_stay_with_momentum_and_decay(
    cls: type[Partial], instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case, "mlp", hidden=[32], norm=True)
    for optimizer in ("sgd", "adam"):
        method = cls(
            epochs=1, optimizer=optimizer, momentum=0.9, weight_decay=0.1,
            density_first=0.25, density_last=0.5, prune_bias=True, lr=0.01,
        )  # fmt: skip
        changed = method.unlearn(model, case, rng()).report.changed  # type: ignore[attr-defined]
        assert 0.1 < changed["1.weight"] <= 0.25
        assert 0.1 < changed["4.weight"] <= 0.5
        assert 0 < changed["4.bias"] <= 0.5
        assert changed["2.weight"] == 1
        assert changed["2.running_mean"] == 0


@both
def test_the_selection_moves_on_between_epochs(cls: Any, instance_case: Case, train: Train) -> None:
    model, case = train(instance_case)
    settings = {"density_first": 0.25, "density_last": 0.25, "lr": 0.05}
    once, often = (
        cls(epochs=epochs, **settings).unlearn(model, case, rng()).report.changed["3.weight"]
        for epochs in (1, 4)
    )
    assert 0.15 < once <= 0.25
    assert often > 0.5


def wheel(n: int, density: float, shift: Any = "block") -> Wheel:
    return Wheel(
        order={"w": rng().permutation(n)}, shapes={"w": torch.Size([n // 2, 2])},
        densities={"w": density}, shift=shift, device=torch.device("cpu"),
    )  # fmt: skip


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_every_weight_has_its_turn(m: int) -> None:
    turns = wheel(60, 1 / m)
    times = torch.stack([turns.free(epoch)["w"] for epoch in range(m)]).int().sum(0)
    assert times.shape == (30, 2)
    assert torch.all(times == 1)
    assert torch.equal(turns.free(m)["w"], turns.free(0)["w"])


@pytest.mark.parametrize("shift", ["block", "one"])
@pytest.mark.parametrize("density", [0.0, 0.17, 0.5, 0.9, 1.0])
def test_as_many_are_selected_in_each_epoch(density: float, shift: Any) -> None:
    turns = wheel(50, density, shift)
    picks = [turns.free(epoch)["w"] for epoch in range(130)]
    assert {int(pick.sum()) for pick in picks} == {round(50 * density)}
    if 0 < density < 1:
        kept = int((picks[0] & picks[1]).sum())
        size = round(50 * density)
        assert kept == (size - 1 if shift == "one" else max(0, 2 * size - 50))


def test_shares_follow_depth_linearly(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "vit", patch=4, width=16, depth=1)
    densities = LpuAscent(density_first=0.2).wheel(model, case.forget.x, rng()).densities
    assert densities["token"] == densities["positions"] == 0.2
    assert densities["head.weight"] == 1.0
    order = ["positions", "patches", "blocks.0.queries_keys_values", "blocks.0.out",
             "blocks.0.hidden", "blocks.0.back", "head"]  # fmt: skip
    found = [densities.get(name, densities.get(f"{name}.weight")) for name in order]
    assert found == pytest.approx(np.linspace(0.2, 1, 7))
    assert not any("norm" in name or name.endswith("bias") for name in densities)
    assert LpuFlip().wheel(model, case.forget.x, rng()).densities["head.weight"] == 0.3
    assert LpuFlip().wheel(model, case.forget.x, rng()).densities["token"] == 1.0


@both
def test_one_step_by_hand(cls: type[Partial], instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "linear")
    method = cls(**ONE_STEP, momentum=0.0, density_first=0.4)
    new = state(method.unlearn(model, case, rng()).model)  # type: ignore[attr-defined]
    x, y = case.forget.x.astype(np.float64), case.forget.y
    w, b = (t.double().numpy() for t in state(model).values())
    logits = x @ w.T + b
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    if cls is LpuFlip:
        like = RandomLabel(exclude_true=True)
        source = rng()
        source.integers(0, 2**63 - 1)
        y, sign = like.draw(case, source), -1
        assert not np.any(y == case.forget.y)
    else:
        sign = 1
    residual = (p - np.eye(10)[y]) / len(x)
    moved = w + sign * 0.3 * residual.T @ x
    chosen = new["1.weight"].numpy() != state(model)["1.weight"].numpy()
    np.testing.assert_allclose(new["1.weight"].numpy()[chosen], moved[chosen], atol=2e-6)
    np.testing.assert_allclose(new["1.bias"].numpy(), b + sign * 0.3 * residual.sum(0), atol=2e-6)
    assert 0.3 < chosen.mean() <= 0.4


def test_flipping_a_label_by_hand(attribute_case: Case, train: Train) -> None:
    model, case = train(attribute_case, "linear")
    method = LpuFlip(**ONE_STEP, momentum=0.0, **ALL)
    new = state(method.unlearn(model, case, rng()).model)
    w, b = (t.double().numpy() for t in state(model).values())
    x, y = case.forget.x.astype(np.float64), case.forget.y[:, 2]
    residual = (1 / (1 + np.exp(-(x @ w[2] + b[2]))) - (1 - y)) / len(x)
    np.testing.assert_allclose(new["1.weight"][2].numpy(), w[2] - 0.3 * residual @ x, atol=2e-6)
    others = [0, 1, 3]
    assert torch.equal(new["1.weight"][others], state(model)["1.weight"][others])


def test_a_label_is_climbed_to_chance_and_no_further(attribute_case: Case, train: Train) -> None:
    model, case = train(attribute_case, "mlp", hidden=[32], norm=True)
    done = LpuAscent(epochs=50).unlearn(model, case, rng())
    logits = torch.tensor(Target(done.model).logits(case.forget))
    loss = label_loss(logits, to_forget(case, torch.tensor(case.forget.y))).item()
    assert math.log(2) <= loss < 2 * math.log(2)
    assert done.report.stop_reason.startswith("forget loss at log(2) in epoch ")


def test_partial_ascent_ends_at_the_target_and_keeps_more(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    kept: dict[str, list[float]] = {"partial": [], "naive": []}
    for seed in range(4):
        for name, method in (("partial", LpuAscent()), ("naive", LpuAscent.preset("naive"))):
            done = method.unlearn(model, case, rng(seed))
            assert Target(done.model).accuracy(case.forget) == 0
            assert done.report.stop_reason.startswith("forget accuracy at 0 in epoch ")
            kept[name].append(Target(done.model).accuracy(case.retain))
    assert np.mean(kept["partial"]) > np.mean(kept["naive"])
    some = LpuAscent(target=0.5).unlearn(model, case, rng())
    assert 0 < Target(some.model).accuracy(case.forget) <= 0.5
    at_once = LpuAscent(target=1.0).unlearn(model, case, rng())
    assert (at_once.report.steps, at_once.report.rows_touched) == (0, 0)


def test_flipping_forgets_a_class(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    new = Target(LpuFlip().unlearn(model, case, rng()).model)
    assert new.accuracy(case.forget) <= 0.2
    assert new.accuracy(case.retain) > 0.9


@both
def test_full_batch_takes_one_step_an_epoch(cls: Any, class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    full = dataclasses.replace(cls.preset("full_batch"), epochs=2)
    report = full.unlearn(model, case, rng()).report
    assert (report.steps, report.rows_touched) == (2, 2 * len(case.forget))


@pytest.mark.parametrize(
    "wrong",
    [{"density_first": 1.1}, {"density_last": -0.1}, {"shift": "two"}, {"shift": 1},
     {"prune_bias": 1}, {"norms": "off"}, {"target": -1}, {"lr": 0}],
)  # fmt: skip
def test_wrong_fields_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
        LpuAscent(**wrong)
