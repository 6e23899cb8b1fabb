"""What every architecture must let trainers, targets, attacks and methods do."""

import copy
import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from forget_audit import registry, whitebox
from forget_audit.architectures import BUILDERS, Architecture
from forget_audit.contracts import Method
from forget_audit.errors import NotApplicable
from forget_audit.methods._layers import head, last_layers, weight_layers
from forget_audit.seeds import derive
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import Recipe
from forget_audit.training.together import batchable
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.training.ways import Way
from forget_audit.types import Case, Features, Labels, Rows

SMALL: dict[str, dict[str, Any]] = {
    "allcnn": {"width": 4, "norm": True},
    "resnet9": {"width": 4},
    "mobilenet_v2": {"width": 0.25},
    "vit_small": {"width": 12, "heads": 2, "depth": 2},
    "vit_large": {"width": 16, "heads": 4, "depth": 1},
    "text": {"words": 17, "width": 8},
}
TOGETHER = ("cnn", "vit", "lenet", "vit_small", "vit_large", "text")
DRAW = ("alexnet", "mobilenet_v2")  # by dropout
OUTPUTS_FROM_0 = ("vit_small", "vit_large")  # the first step moves nothing before the output

every_architecture = pytest.mark.parametrize("name", BUILDERS)


def trainer(name: str, n_classes: int = 3, **recipe: Any) -> RecipeTrainer:
    return RecipeTrainer(
        architecture=Architecture(
            name=name, shape=(64,), n_classes=n_classes, options=SMALL.get(name, {})
        ),
        recipe=Recipe(**{"epochs": 1, "steps_per_epoch": 1, "lr": 1e-3, **recipe}),
    )


@cache
def digits() -> tuple[Features, Labels, Features]:
    """Rows of three digits, and the same as texts of whole numbers."""
    bunch = load_digits()
    kept = np.isin(bunch.target, (0, 1, 2))
    x, y = bunch.data[kept][:160], bunch.target[kept][:160]
    return (x / 16).astype(np.float32), y.astype(np.int64), x.astype(np.float32)


def rows_for(name: str) -> Rows:
    pixels, y, words = digits()
    x = words if name == "text" else pixels
    return Rows(x=x, y=y, ids=np.array([f"row-{i}" for i in range(len(y))]))


@cache
def trained(name: str) -> nn.Module:
    """A step on four rows, or two."""
    rows = rows_for(name)
    steps = 2 if name in OUTPUTS_FROM_0 else 1
    return trainer(name, steps_per_epoch=steps)(rows.x[:4], rows.y[:4], 3)


@every_architecture
def test_trains_every_weight(name: str) -> None:
    fresh, model = trainer(name).fresh(3), trained(name)
    before = dict(fresh.named_parameters())
    assert not [n for n, p in model.named_parameters() if torch.equal(p, before[n])]
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("name", ["lenet", "mobilenet_v2", "resnet9", "text", "vit_small"])
def test_the_same_seed_gives_the_same_model(name: str) -> None:
    assert weights_digest(trained.__wrapped__(name)) == weights_digest(trained(name))


@every_architecture
def test_ends_with_a_linear_layer_whose_outputs_are_the_answers(name: str) -> None:
    model, rows = trained(name), rows_for(name).take(np.arange(5))
    target = Target(model)
    place, last = head(model, rows.x)
    assert last is [module for module in model.modules() if type(module) is nn.Linear][-1]
    assert last.out_features == 3
    assert weight_layers(model, rows.x)[-1].name == place
    if name != "linear":
        assert target.feature_layers(rows)[-1] == place
        weight, bias = (p.detach().double().numpy() for p in (last.weight, last.bias))
        answers = target.features(rows) @ weight.T + bias
        assert np.allclose(answers, target.logits(rows), atol=1e-5)
    fresh = copy.deepcopy(model)
    assert whitebox.reset_head(fresh, 1)
    changed = {n for n, p in fresh.named_parameters() if not torch.equal(p, model.get_parameter(n))}
    assert changed == {f"{place}.weight", f"{place}.bias"}
    tail = last_layers(model, rows.x, 2)
    assert {place} < {layer.name for layer in tail} or name == "linear"


@pytest.mark.parametrize("name", [*TOGETHER, "allcnn", "resnet9", "mobilenet_v2"])
def test_can_be_probed(name: str) -> None:
    if name == "linear":
        pytest.skip("softmax regression has no learnt features")
    rows = rows_for(name)
    inside, outside = rows.take(rows.y == 0), rows.take(rows.y != 0)
    target = Target(trained(name))
    for layer in (target.feature_layers(rows)[-1], target.feature_layers(rows)[0]):
        found = whitebox.probe(target, inside.take(np.arange(6)), outside.take(np.arange(10)),
                               layer, 1)  # fmt: skip
        assert np.isfinite(found)


@every_architecture
def test_what_draws_no_random_numbers_can_be_trained_together(name: str) -> None:
    assert batchable(trained(name)) == (name not in DRAW)


@pytest.mark.parametrize("name", TOGETHER)
def test_many_at_once_equal_one_by_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    together = Way(how="torch.func", models=2)
    monkeypatch.setattr("forget_audit.training.trainers.way_for", lambda _: together)
    rows, make = rows_for(name), trainer(name, optimizer="sgd", lr=0.5, steps_per_epoch=2)
    subsets, seeds = [np.arange(8), np.arange(8, 16)], [derive(0, k) for k in range(2)]
    many = make.many(rows.x, rows.y, subsets, seeds)
    for model, subset, seed in zip(many, subsets, seeds, strict=True):
        alone = make(rows.x[subset], rows.y[subset], seed)
        for (key, a), b in zip(
            alone.state_dict().items(), model.state_dict().values(), strict=True
        ):
            assert torch.allclose(a, b, atol=1e-5), key


def case_of(name: str, scope: str) -> Case:
    rows = rows_for(name)
    case = Case(
        name="digits",
        n_classes=3,
        retain=rows.take(np.arange(16)),
        forget=rows.take(np.arange(16, 20)),
        test=rows.take(np.arange(20, 60)),
        auxiliary=rows.take(np.arange(60, 70)),
        trainer=trainer(name),
    )
    if scope == "instance":
        return case
    every, test = case.training, case.test
    return case.replace(
        retain=every.take(every.y != 1),
        forget=every.take(every.y == 1),
        test=test.take(test.y == 1),
        others=test.take(test.y != 1),
        scope="class",
        classes=(1,),
    )


OPTIONS: dict[str, dict[str, Any]] = {
    "finetune": {"epochs": 1},
    "neggrad": {"epochs": 1, "stop_at_chance": False},
    "scrub": {"epochs": 1},
    "ssd": {"alpha": 1.5},
    "linear_filtration": {},
}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *itertools.product(["lenet", "mobilenet_v2", "vit_small", "text"], OPTIONS),
        ("resnet18", "ssd"),
    ],
)
def test_methods_run(name: str, method: str) -> None:
    kind: Any = registry.get_method(method)
    options = OPTIONS[method]
    model, case = trained(name), case_of(name, "class")
    before = weights_digest(model)
    unlearned = kind(**options).unlearn(model, case, np.random.default_rng(1))
    assert weights_digest(model) == before != weights_digest(unlearned.model)
    assert Target(unlearned.model).logits(case.test).shape == (len(case.test), 3)


@pytest.mark.parametrize("method", ["influence_second", "fisher"])
def test_methods_with_second_derivatives_and_single_rows_run_on_transformers(method: str) -> None:
    kind: Any = registry.get_method(method)
    unlearned = kind().unlearn(
        trained("vit_small"), case_of("vit_small", "instance"), np.random.default_rng(1)
    )
    assert unlearned.report.stop_reason


@pytest.mark.parametrize("method", ["boundary_shrink", "unsir", "jit", "weight_filtering"])
def test_methods_that_move_features_refuse_texts(method: str) -> None:
    kind: Any = registry.get_method(method)
    with pytest.raises(NotApplicable, match="do not apply to texts"):
        kind().unlearn(trained("text"), case_of("text", "class"), np.random.default_rng(1))


# One output for two classes

ON_OUTPUTS = (
    "certified_removal", "fisher", "linear_filtration", "weight_filtering", "weight_pruning",
)  # fmt: skip


def binary_case() -> Case:
    """Zeros and ones; all ones are to be forgotten, by a network with one output."""
    rows = rows_for("mlp")
    rows = rows.take(rows.y < 2)
    every, test = rows.take(np.arange(40)), rows.take(np.arange(40, 100))
    architecture = Architecture(
        name="mlp", shape=(64,), n_classes=2, options={"hidden": [8]}, head="binary"
    )
    return Case(
        name="two digits",
        n_classes=2,
        retain=every.take(every.y == 0),
        forget=every.take(every.y == 1),
        test=test.take(test.y == 1),
        others=test.take(test.y == 0),
        auxiliary=rows.take(np.arange(0)),
        scope="class",
        classes=(1,),
        trainer=RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=5, lr=0.01)),
    )


@pytest.mark.parametrize("method", ON_OUTPUTS)
def test_methods_that_edit_rows_of_the_output_layer_refuse_one_output(method: str) -> None:
    kind: type[Method] = registry.get_method(method)
    case = binary_case()
    assert case.trainer is not None
    model = case.trainer(case.training.x, case.training.y, 1)
    made: Any = kind()

    def unlearn() -> None:
        if method == "certified_removal":
            made.trainer(case.trainer)(case.training.x, case.training.y, 1)
        made.unlearn(model, case, np.random.default_rng(1))

    with pytest.raises(NotApplicable, match="output"):
        unlearn()


@pytest.mark.parametrize("method", ["boundary_expanding", "cf_k", "lirf", "scrub", "unsir"])
def test_other_methods_serve_one_output(method: str) -> None:
    kind: Any = registry.get_method(method)
    case = binary_case()
    assert case.trainer is not None
    model = case.trainer(case.training.x, case.training.y, 1)
    assert Target(model).accuracy(case.training) > 0.9
    unlearned = kind(**({"epochs": 1} if method != "unsir" else {})).unlearn(
        model, case, np.random.default_rng(1)
    )
    assert Target(unlearned.model).logits(case.test).shape == (len(case.test), 2)
