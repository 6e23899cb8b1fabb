"""The training loop, and its batched twin that must give the same weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

from forget_audit.architectures import BUILDERS, Architecture
from forget_audit.seeds import derive, generator, seeded_torch
from forget_audit.targets import weights_digest
from forget_audit.training.loop import Recipe, deal, descend
from forget_audit.training.together import batchable
from forget_audit.training.trainers import RecipeTrainer


def rows() -> tuple[np.ndarray, np.ndarray]:
    bunch = load_digits()
    return (bunch.data / 16).astype(np.float32), bunch.target.astype(np.int64)


def trainer(name: str, **recipe: object) -> RecipeTrainer:
    return RecipeTrainer(
        architecture=Architecture(name=name, shape=(64,), n_classes=10),
        recipe=Recipe(**{"epochs": 4, **recipe}),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("name", ["mlp", "cnn", "linear"])
@pytest.mark.parametrize(
    "recipe",
    [
        {"optimizer": "adam"},
        {"optimizer": "adamw", "weight_decay": 0.01},
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3},
    ],
    ids=lambda recipe: recipe["optimizer"],
)
def test_many_at_once_equal_one_by_one(name: str, recipe: dict[str, object]) -> None:
    x, y = rows()
    make = trainer(name, **recipe)
    subsets = [np.arange(200), np.arange(50, 151), np.arange(300, 500), np.arange(101)]
    seeds = [derive(0, "many", k) for k in range(4)]
    together = make.many(x, y, subsets, seeds)
    for model, subset, seed in zip(together, subsets, seeds, strict=True):
        alone = make(x[subset], y[subset], seed)
        for (key, a), b in zip(
            alone.state_dict().items(), model.state_dict().values(), strict=True
        ):
            assert torch.allclose(a, b, atol=2e-5), key
    fresh = make.fresh(seeds[0]).parameters()
    assert all(
        not torch.allclose(a, b) for a, b in zip(fresh, together[0].parameters(), strict=True)
    )


def test_same_seed_same_weights_and_other_seed_other_weights() -> None:
    x, y = rows()
    make = trainer("mlp")
    a, b, c = make(x[:100], y[:100], 1), make(x[:100], y[:100], 1), make(x[:100], y[:100], 2)
    for key, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[key])
        assert not torch.equal(value, c.state_dict()[key])


def test_training_leaves_the_global_generators_as_they_were() -> None:
    x, y = rows()
    before, drawn = torch.random.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    trainer("mlp")(x[:50], y[:50], 3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert drawn == str(np.random.get_state())  # noqa: NPY002


def test_state_that_models_cannot_share_is_not_batched() -> None:
    assert batchable(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    assert batchable(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    assert not batchable(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, momentum=None)))
    assert not batchable(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)))
    assert batchable(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)))


def half_frozen(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    model = nn.Sequential(nn.Linear(shape[0], 8), nn.ReLU(), nn.Linear(8, n_classes))
    model[0].requires_grad_(False)
    return model


def test_layers_that_the_architecture_freezes_stay_frozen_in_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(BUILDERS, "half", half_frozen)
    x, y = rows()
    make = trainer("half")
    many = make.many(x, y, [np.arange(80), np.arange(80)], [7, 8])
    for seed, model in zip((7, 8), many, strict=True):
        start, end = make.fresh(seed).state_dict(), model.state_dict()
        assert torch.equal(start["0.weight"], end["0.weight"])
        assert not torch.equal(start["2.weight"], end["2.weight"])
        alone = make(x[:80], y[:80], seed).state_dict()
        assert torch.allclose(alone["2.weight"], end["2.weight"], atol=2e-5)


def with_dropout(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    layers = (nn.Linear(shape[0], 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(16, n_classes))


def test_models_that_are_not_batched_train_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILDERS, "odd", with_dropout)
    x, y = rows()
    make = trainer("odd")
    many = make.many(x, y, [np.arange(80)], [7])
    alone = make(x[:80], y[:80], 7)
    for key, value in alone.state_dict().items():
        assert torch.equal(value, many[0].state_dict()[key])
    assert not many[0].training


@given(n=st.integers(1, 300), steps=st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_dealing_is_a_partition_into_even_parts(n: int, steps: int) -> None:
    parts = list(deal(n, steps, generator(0, "deal")))
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    assert len(parts) == min(n, steps)
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("name", ["linear", "mlp", "resnet9"])
def test_trained_models_hold_no_gradients(name: str) -> None:
    """They would double the memory of every reference model."""
    x, y = rows()
    architecture = Architecture(
        name=name, shape=(64,), n_classes=10, options={"width": 2} if name == "resnet9" else {}
    )
    make = RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=1, steps_per_epoch=2))
    models = [make(x[:40], y[:40], 1), *make.many(x, y, [np.arange(40)], [2])]
    assert all(p.grad is None for model in models for p in model.parameters())


def test_each_model_comes_with_its_position() -> None:
    x, y = rows()
    make, subsets = trainer("linear"), [np.arange(30 + k % 2) for k in range(5)]
    found = dict(make.each(x, y, subsets, list(range(5))))
    assert sorted(found) == list(range(5))
    together = make.many(x, y, subsets, list(range(5)))
    assert [weights_digest(found[k]) for k in range(5)] == [*map(weights_digest, together)]


def test_a_step_clears_old_gradients_and_respects_the_clip() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)

    def slope(_: np.ndarray) -> torch.Tensor:
        return (10 * weight).sum()

    steps = descend(slope, [np.zeros(1, dtype=np.int64)] * 3, optimizer, clip_norm=0.5)
    assert steps == 3
    assert weight.item() == pytest.approx(-1.5, abs=1e-4)


def test_children_are_derived_by_name_and_not_by_order() -> None:
    assert derive(0, "a", 1) != derive(0, "a", 2) != derive(1, "a", 1)
    assert derive(0, "1") != derive(0, 1)
    with seeded_torch(5):
        first = torch.rand(3)
    with seeded_torch(5):
        assert torch.equal(first, torch.rand(3))
