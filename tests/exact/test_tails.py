"""CF-k and EU-k: which layers change, and what they equal when all do."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods._layers import last_layers, ordered_layers
from forget_audit.methods.cf_k import CfK
from forget_audit.methods.eu_k import EuK
from forget_audit.methods.finetune import Finetune
from forget_audit.methods.retrain import Retrain
from forget_audit.targets import Target, weights_digest
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import UNKNOWN, Case
from tests.fixtures.requests import Train

DEEP: dict[str, Any] = {"hidden": [24, 20, 16], "norm": True}
KINDS: dict[str, dict[str, Any]] = {
    "mlp": DEEP, "cnn": {"channels": [4, 8]}, "vit": {"patch": 4, "width": 16, "depth": 1},
}  # fmt: skip
either = pytest.mark.parametrize(
    "method", [CfK(epochs=2, weight_decay=0.1), EuK(epochs=2, weight_decay=0.1)], ids=["cf", "eu"]
)


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def shortly(case: Case) -> Case:
    """The case with a recipe of five epochs."""
    assert isinstance(case.trainer, RecipeTrainer)
    recipe = dataclasses.replace(case.trainer.recipe, epochs=5)
    return case.replace(trainer=dataclasses.replace(case.trainer, recipe=recipe))


def moved(old: nn.Module, new: nn.Module) -> set[str]:
    before = old.state_dict()
    return {name for name, t in new.state_dict().items() if not torch.equal(t, before[name])}


@either
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_earlier_layers_stay_bit_for_bit(
    method: CfK | EuK, k: int, kind: str, instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case, kind, **KINDS[kind])
    shallow = type(method)(epochs=2, weight_decay=0.1, k=k)
    done = shallow.unlearn(model, case, rng())
    tail = last_layers(model, case.retain.x, k)
    prefixes = tuple(f"{layer.name}." for layer in tail)
    assert sum(not layer.norm for layer in tail) == k
    assert {name for name in model.state_dict() if name.startswith(prefixes)} == moved(
        model, done.model
    )
    assert done.report.notes[0].endswith(": " + ", ".join(layer.name for layer in tail))


@either
def test_layers_can_be_named(method: CfK | EuK, instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", **DEEP)
    named = type(method)(epochs=1, layers=["4", "5"])  # type: ignore[arg-type]
    new = named.unlearn(model, case, rng()).model
    assert {name.split(".")[0] for name in moved(model, new)} == {"4", "5"}
    with pytest.raises(
        NotApplicable, match=r"layers: expected names .* found '3'; .* has 1, 2, 4,"
    ):
        type(method)(layers=("3",)).unlearn(model, case, rng())


@pytest.mark.parametrize("kind", KINDS)
def test_all_layers_are_plain_finetuning(kind: str, instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, kind, **KINDS[kind])
    shared: dict[str, Any] = {"epochs": 2, "weight_decay": 0.1, "norms": "train"}
    every = sum(not layer.norm for layer in ordered_layers(model, case.retain.x))
    tuned, whole, less = (
        weights_digest(method.unlearn(model, case, rng()).model)
        for method in (Finetune(**shared), CfK(**shared, k=every), CfK(**shared, k=every - 1))
    )
    assert tuned == whole != less


@pytest.mark.parametrize(("kind", "options"), [("mlp", DEEP), ("cnn", {"channels": [4, 8]})])
def test_all_layers_from_scratch_are_retraining(
    kind: str, options: dict[str, Any], instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case, kind, **options)
    case = shortly(case)
    budget: dict[str, Any] = {"epochs": 5, "batch_size": 1000, "least_steps": 6, "lr": 0.01}
    retrained = Retrain().unlearn(model, case, rng())
    anew = EuK(**budget, k=99).unlearn(model, case, rng())
    assert weights_digest(anew.model) == weights_digest(retrained.model)
    assert (anew.report.steps, anew.report.rows_touched) == (5 * 6, 5 * 220)
    assert anew.report.notes[1] == retrained.report.notes[0]
    fewer = EuK(**budget, k=1).unlearn(model, case, rng())
    assert weights_digest(fewer.model) != weights_digest(retrained.model)
    kept = EuK(**budget, k=99, reinit_norm=False).unlearn(model, case, rng())
    same = weights_digest(kept.model) == weights_digest(retrained.model)
    assert same == (kind == "cnn")


@pytest.mark.parametrize(("reinit_norm", "mean"), [(True, 0.0), (False, None)])
def test_statistics_are_reset_with_the_layers(
    reinit_norm: bool, mean: float | None, instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case, "mlp", **DEEP)
    method = EuK(epochs=1, lr=1e-12, k=3, norms="eval", reinit_norm=reinit_norm)
    new = method.unlearn(model, case, rng()).model
    old = model.get_buffer("5.running_mean")
    expected = old if mean is None else torch.zeros_like(old)
    assert torch.equal(new.get_buffer("5.running_mean"), expected)
    assert torch.equal(new.get_buffer("2.running_mean"), model.get_buffer("2.running_mean"))
    for name in ("4.weight", "7.weight", "10.weight"):
        assert not torch.allclose(new.get_parameter(name), model.get_parameter(name), atol=1e-3)


def test_layers_that_require_no_gradient_are_not_reset(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[24, 20])
    model = copy.deepcopy(model)
    model.get_submodule("3").requires_grad_(False)
    new = EuK(epochs=1).unlearn(model, case, rng()).model
    assert moved(model, new) == {"1.weight", "1.bias", "5.weight", "5.bias"}


def test_what_cannot_be_reset_is_refused(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "vit", **KINDS["vit"])
    with pytest.raises(NotApplicable, match=r"eu_k resets layers .* found none on the model"):
        EuK(k=99).unlearn(model, case, rng())


def attribute_row(model: nn.Module) -> torch.Tensor:
    return list(model.parameters())[-2].detach()[2]


def test_a_forgotten_label_is_never_learnt(attribute_case: Case, train: Train) -> None:
    model, case = train(attribute_case, "mlp", hidden=[24])
    assert (case.retain.y[:, 2] == UNKNOWN).all()
    assert torch.equal(
        attribute_row(CfK(k=1).unlearn(model, case, rng()).model), attribute_row(model)
    )
    fresh = EuK(k=1).unlearn(model, case, rng()).model
    assert not torch.allclose(attribute_row(fresh), attribute_row(model), atol=1e-3)
    case = shortly(case)
    budget = {"epochs": 5, "batch_size": 1000, "lr": 0.01}
    anew = EuK(**budget).unlearn(model, case, rng()).model  # type: ignore[arg-type]
    assert weights_digest(anew) == weights_digest(Retrain().unlearn(model, case, rng()).model)


def test_features_below_still_know_the_forget_rows(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", **DEEP)
    anew = Target(EuK(k=1).unlearn(model, case, rng()).model)
    assert anew.accuracy(case.forget) < 0.1
    layer = anew.feature_layers(case.forget)[-1]
    assert np.array_equal(
        anew.features(case.forget, layer), Target(model).features(case.forget, layer)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CfK(k=0), "k: expected a whole number of at least 1, found 0"),
        (lambda: CfK(layers=()), "layers: expected a list of names of modules"),
        (lambda: CfK(layers=(1,)), "layers"),  # type: ignore[arg-type]
        (lambda: CfK(layers="head"), "layers"),  # type: ignore[arg-type]
        (lambda: CfK(norms="off"), "norms"),  # type: ignore[arg-type]
        (lambda: EuK(norms="off"), "norms"),  # type: ignore[arg-type]
        (lambda: EuK(reinit_norm=1), "reinit_norm"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_wrong_fields_are_refused(make: Callable[[], CfK | EuK], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_presets() -> None:
    for cls in (CfK, EuK):
        reference = cls.preset("reference")
        assert (reference.epochs, reference.optimizer, reference.lr, reference.k) == (
            62, "sgd", 0.01, 3,
        )  # fmt: skip
    assert not EuK.preset("reference").reinit_norm
    assert CfK.preset("notebooks") == CfK(optimizer="sgd", lr=0.01, least_steps=1, norms="eval")
