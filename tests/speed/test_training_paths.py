"""Every way of training gives the models of the one training loop, and no model sees another."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from forget_audit.architectures import BUILDERS, Architecture
from forget_audit.errors import ModelError
from forget_audit.labels import label_loss
from forget_audit.seeds import seeded_torch
from forget_audit.streaming import Streamed
from forget_audit.targets import weights_digest
from forget_audit.training import memory, remembered_ways, ways
from forget_audit.training.loop import Recipe
from forget_audit.training.perceptrons import Perceptrons, is_perceptron, slopes
from forget_audit.training.places import equal_groups, usable_device
from forget_audit.training.remembered_ways import FILE, way_for
from forget_audit.training.stacks import Stack
from forget_audit.training.together import learner_of
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.training.ways import Question, Way, measure
from forget_audit.types import UNKNOWN

Force = Callable[[Way], None]
ADAM: dict[str, Any] = {"optimizer": "adam", "lr": 1e-3}
ADAMW: dict[str, Any] = {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.01}
SGD: dict[str, Any] = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
LOOP, WRITTEN = Way(), Way(how="written out", models=32)
FUNC = Way(how="torch.func", models=4)
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [16, 9]},
    "linear": {},
    "normed": {"hidden": [13, 7], "norm": True},
    "cnn": {"channels": [3, 5]},
    "vit": {"width": 8, "depth": 1, "heads": 2},
    "allcnn": {"width": 4, "norm": True},
    "resnet9": {"width": 2},
}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Force:
    return lambda way: monkeypatch.setattr("forget_audit.training.trainers.way_for", lambda _: way)


def rows() -> tuple[np.ndarray, np.ndarray]:
    bunch = load_digits()
    return (bunch.data / 16).astype(np.float32), bunch.target.astype(np.int64)


def trainer(name: str, options: dict[str, Any] | None = None, **recipe: Any) -> RecipeTrainer:
    given = SMALL.get(name, {}) if options is None else options
    builder = "mlp" if name == "normed" else name
    return RecipeTrainer(
        architecture=Architecture(name=builder, shape=(64,), n_classes=10, options=given),
        recipe=Recipe(**{"epochs": 2, "steps_per_epoch": 3, **recipe}),
    )


def subsets(count: int) -> list[np.ndarray]:
    return [np.arange(10 * k, 10 * k + 62) for k in range(count)]


def agree(found: nn.Module, expected: nn.Module, atol: float) -> None:
    for (name, a), b in zip(
        expected.state_dict().items(), found.state_dict().values(), strict=True
    ):
        assert torch.allclose(a, b, atol=atol), (name, float((a - b).abs().max()))


WAYS = [
    *(("mlp", WRITTEN, recipe) for recipe in (ADAM, ADAMW, SGD)),
    ("linear", WRITTEN, SGD),
    *((name, FUNC, SGD) for name in ("mlp", "normed", "cnn", "vit", "resnet9")),
    *(
        (name, FUNC, ADAM) for name in ("cnn", "allcnn")
    ),  # without biases, whose slope before a norm is 0
]


@pytest.mark.parametrize(
    ("name", "way", "recipe"), WAYS, ids=[f"{n}-{w.how}-{r['optimizer']}" for n, w, r in WAYS]
)
def test_batches_give_the_models_of_the_loop(
    name: str, way: Way, recipe: dict[str, Any], force: Force
) -> None:
    """Weights and running statistics; the five models do not fill two batches of four."""
    x, y = rows()
    make, chosen, seeds = trainer(name, **recipe), subsets(5), list(range(5))
    force(way)
    many = make.many(x, y, chosen, seeds)
    for model, subset, seed in zip(many, chosen, seeds, strict=True):
        agree(model, make(x[subset], y[subset], seed), 2e-5 if recipe is SGD else 2e-4)
        assert not model.training
        assert all(p.grad is None for p in model.parameters())
    untrained = make.fresh(0).state_dict()
    assert all(not torch.equal(t, untrained[k]) for k, t in many[0].state_dict().items())


@pytest.mark.parametrize(
    ("name", "way"),
    [("mlp", WRITTEN), ("mlp", LOOP), *((n, FUNC) for n in ("cnn", "vit", "normed", "resnet9"))],
    ids=lambda value: getattr(value, "how", value),
)
def test_a_model_is_the_same_to_the_bit_whoever_is_trained_beside_it(
    name: str, way: Way, force: Force
) -> None:
    """Else a broken run, which trains those that are missing, would end with other models."""
    x, y = rows()
    make, chosen, seeds = trainer(name, **SGD), subsets(9), list(range(9))
    force(way)
    whole = [weights_digest(model) for model in make.many(x, y, chosen, seeds)]
    assert len(set(whole)) == 9
    for missing in ([8], [7, 2, 4, 0, 5]):
        left = make.many(x, y, [chosen[k] for k in missing], [seeds[k] for k in missing])
        assert [weights_digest(model) for model in left] == [whole[k] for k in missing]


def test_threads_side_by_side_give_the_models_of_one(
    monkeypatch: pytest.MonkeyPatch, force: Force
) -> None:
    x, y = rows()
    for name, way in (("mlp", WRITTEN), ("cnn", replace(LOOP, side_by_side=True)), ("cnn", FUNC)):
        force(way)
        make, chosen, seeds = trainer(name, **SGD), subsets(6), list(range(6))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        one = [weights_digest(model) for model in make.many(x, y, chosen, seeds)]
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        threads, state = torch.get_num_threads(), torch.random.get_rng_state()
        three = [weights_digest(model) for model in make.many(x, y, chosen, seeds)]
        assert one == three
        assert torch.get_num_threads() == threads
        assert torch.equal(torch.random.get_rng_state(), state)


def test_chunks_can_be_trained_elsewhere() -> None:
    x, y = rows()
    make, chosen, seeds = trainer("mlp"), [np.arange(30 + k % 2) for k in range(7)], list(range(7))
    chunks = make.chunks([len(subset) for subset in chosen], x, 2)
    assert sorted(k for chunk in chunks for k in chunk) == seeds
    assert max(map(len, chunks)) == 2
    found = dict(make.each(x, y, chosen, seeds))
    for chunk in chunks:
        models = make.fit_chunk(x, y, [chosen[k] for k in chunk], [seeds[k] for k in chunk])
        for k, model in zip(chunk, models, strict=True):
            assert weights_digest(model) == weights_digest(found[k])
    assert make.chunks([], x) == []
    assert list(equal_groups([5] * 5, 2)) == [[0, 1], [2, 3], [4]]


def one_relu_twice(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    relu = nn.ReLU()
    return nn.Sequential(nn.Linear(64, 9), relu, nn.Linear(9, 9), relu, nn.Linear(9, n_classes))


def one_layer_twice(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    layer = nn.Linear(64, 64)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(64, n_classes))


def odd_places(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    inner = (nn.Linear(64, 8, bias=False), nn.ReLU(), nn.ReLU(), nn.Linear(8, 7))
    return nn.Sequential(nn.ReLU(), nn.Flatten(), *inner, nn.Linear(7, n_classes), nn.ReLU())


@pytest.mark.parametrize("build", [one_relu_twice, one_layer_twice, odd_places])
def test_chains_of_an_odd_build_are_trained_as_in_the_loop(
    build: Callable[..., nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ReLU that stood in a chain twice was once left out of it."""
    monkeypatch.setitem(BUILDERS, "odd", build)
    x, y = rows()
    make, chosen = trainer("odd", {}, **SGD), subsets(3)
    for k, model in enumerate(make.many(x, y, chosen, [0, 1, 2])):
        agree(model, make(x[chosen[k]], y[chosen[k]], k), 2e-5)
    assert is_perceptron(make.fresh(0)) == (build is not one_layer_twice)


@pytest.mark.parametrize("labels", ["classes", "several", "binary"])
def test_written_out_gradients_are_those_of_autograd(labels: str) -> None:
    with seeded_torch(3):
        models = [one_relu_twice((64,), 4) for _ in range(3)]
        x, y = torch.randn(3, 11, 64), torch.randint(0, 4, (3, 11))
        if labels == "several":
            y = torch.randint(0, 2, (3, 11, 4))
            y[0, 2], y[1, :, 3] = UNKNOWN, UNKNOWN
    stack, model = Stack(models), models[0]
    assert isinstance(model, nn.Sequential)
    answer = Perceptrons(model, stack).answer(x, y)
    answer.backward()
    for k, alone in enumerate(models):
        label_loss(alone(x[k]), y[k]).backward()  # type: ignore[no-untyped-call]
        for name, parameter in alone.named_parameters():
            found, expected = stack.gradients[name], parameter.grad
            assert expected is not None
            assert torch.allclose(found[k], expected, atol=1e-6), name


def test_the_slope_of_certain_answers_is_finite() -> None:
    logits = torch.tensor([[[1e4, -1e4, 0.0], [-1e30, 1e30, 0.0]]])
    found = slopes(logits, torch.tensor([[0, 0]]))
    assert torch.allclose(found, torch.tensor([[[0.0, 0, 0], [-0.5, 0.5, 0]]]))


def asked(name: str, options: dict[str, Any] | None = None, **recipe: Any) -> Question:
    make = trainer(name, options, **{"epochs": 100, "steps_per_epoch": 4, **recipe})
    x = torch.tensor(rows()[0][:16])
    return Question(
        build=make.architecture.build, rows=x, recipe=make.recipe, device=CPU, precision="fp32"
    )


def test_a_way_is_measured_once_and_remembered(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Question] = []

    def counted(question: Question) -> Way:
        measured.append(question)
        return measure(question)

    monkeypatch.setattr(remembered_ways, "measure", counted)
    first = way_for(asked("mlp"))
    assert first.how == "written out"
    assert first.bytes_each > 0
    assert way_for(asked("mlp")) == first
    assert len(measured) == 1
    way_for(asked("mlp", {"hidden": [17]}))
    way_for(asked("mlp", optimizer="sgd"))
    assert len(measured) == 3
    assert [path.name for path in home.iterdir()] == [FILE]


def test_short_trainings_are_not_measured(home: Path) -> None:
    assert way_for(asked("mlp", epochs=2)) == replace(
        WRITTEN, bytes_each=way_for(asked("mlp")).bytes_each
    )
    (home / FILE).unlink()
    assert way_for(asked("cnn", epochs=2)) == LOOP
    assert not (home / FILE).exists()


@pytest.mark.parametrize(
    "damage",
    ["{", "[]", "\x00", '{"KEY": 3}', '{"KEY": {"how": "loop"}}', "[" * 100_000, "ENTRY"],
    ids=["cut", "list", "zero", "number", "fields", "deep", "values"],
)
def test_a_damaged_file_is_measured_anew(home: Path, damage: str) -> None:
    found = way_for(asked("linear"))
    text = (home / FILE).read_text()
    key = text.split('"')[1]
    wrong = text.replace('"models": ', '"models": -') if damage == "ENTRY" else damage
    (home / FILE).write_text(wrong.replace("KEY", key))
    again = way_for(asked("linear"))
    assert (again.how, again.bytes_each) == (found.how, found.bytes_each)
    assert again.models > 0
    assert way_for(asked("linear")) == again
    assert key in (home / FILE).read_text()


def test_a_folder_that_cannot_be_written_to_stops_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(home / "file" / "below"))
    assert way_for(asked("linear")).how == "written out"


class Odd(nn.Module):
    """Answers with noise, or looks at its answer, which cannot be done for several models."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer, self.kind = nn.Linear(64, 10), kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.layer(x)
        if self.kind == "noise":
            return answer + torch.randn_like(answer)
        return answer if answer.sum().item() < 1e9 else -answer


@pytest.mark.parametrize("kind", ["noise", "looks"])
def test_models_that_cannot_be_batched_take_the_loop(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BUILDERS, "own", lambda *_: Odd(kind))
    monkeypatch.setattr(ways, "MARGIN", float("inf"))
    assert measure(asked("own", {})).how == "loop"


def test_a_batch_that_learns_otherwise_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "MARGIN", float("inf"))
    assert measure(asked("cnn")).how == "torch.func"

    def halved(*given: Any, **named: Any) -> Any:
        learner = learner_of(*given, **named)
        return lambda x, y: learner(x * 0.5, y)

    monkeypatch.setattr("forget_audit.training.ways.learner_of", halved)
    assert measure(asked("cnn")).how == "loop"


def test_a_batch_in_which_places_matter_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "MARGIN", float("inf"))

    def uneven(model: nn.Module, stack: Stack, *given: Any, **named: Any) -> Any:
        learner = learner_of(model, stack, *given, **named)
        stack.weights["0.weight" if "0.weight" in stack.weights else "2.weight"][1] += 1e-6
        return learner

    assert measure(asked("cnn")).how == "torch.func"
    monkeypatch.setattr("forget_audit.training.ways.learner_of", uneven)
    assert measure(asked("cnn")).how == "loop"


def test_batches_that_are_not_faster_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "MARGIN", 0.0)
    assert measure(asked("cnn")).how == "loop"


def test_models_with_dropout_take_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "MARGIN", float("inf"))
    monkeypatch.setattr(ways, "LONG", 0.0)
    assert measure(asked("allcnn", {"width": 2, "dropout": True})) == replace(
        LOOP, bytes_each=measure(asked("allcnn", {"width": 2, "dropout": True})).bytes_each
    )
    monkeypatch.setattr(ways, "MARGIN", 0.0)
    assert measure(asked("allcnn", {"width": 2})).side_by_side


def test_the_batch_of_models_fits_into_memory(
    monkeypatch: pytest.MonkeyPatch, force: Force
) -> None:
    model = trainer("mlp", {"hidden": [16]}).fresh(0).train()
    x = torch.tensor(rows()[0][:20])
    weights = 4 * sum(p.numel() for p in model.parameters())
    needed = memory.training_bytes(model, x, Recipe())
    assert 4 * weights + 2 * 4 * 20 * (64 + 16) <= needed <= 8 * weights + 8 * 4 * 20 * (64 + 16)
    more = memory.training_bytes(model, torch.cat([x, x]), Recipe())
    assert more - needed >= 2 * 4 * 20 * (64 + 16)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 10 * needed)
    assert memory.fitting_models(needed, CPU) == 5
    assert memory.fitting_models(needed, CPU, side_by_side=2) == 2
    assert memory.fitting_models(100 * needed, CPU) == 1
    force(replace(WRITTEN, bytes_each=needed))
    make = trainer("mlp", {"hidden": [16]})
    assert [len(c) for c in make.chunks([20] * 12, rows()[0])] == [5, 5, 2]


def test_to_weigh_a_model_does_not_keep_it() -> None:
    model = trainer("mlp", {"hidden": [16]}).fresh(0).train()
    weights = [weakref.ref(parameter) for parameter in model.parameters()]
    memory.training_bytes(model, torch.tensor(rows()[0][:20]), Recipe())
    del model
    gc.collect()
    assert [weight() for weight in weights] == [None] * len(weights)


def test_free_memory_is_read_from_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 0 < memory.free_bytes(CPU) < 2**50
    (tmp_path / "max").write_text("5000")
    (tmp_path / "used").write_text("3000")
    limits = ((str(tmp_path / "none"), ""), (str(tmp_path / "max"), str(tmp_path / "used")))
    monkeypatch.setattr(memory, "_LIMITS", limits)
    assert memory.free_bytes(CPU) == 2000
    (tmp_path / "max").write_text("max")
    assert memory.free_bytes(CPU) > 2000


def test_streamed_rows_take_the_loop() -> None:
    x, y = rows()
    make, chosen = trainer("mlp"), subsets(2)
    streamed: Any = Streamed(x[:100])
    assert make.way([62, 62], streamed) == LOOP
    for k, model in enumerate(make.many(streamed, y[:100], chosen, [0, 1])):
        agree(model, make(x[chosen[k]], y[chosen[k]], k), 1e-6)


@pytest.mark.parametrize("way", [LOOP, FUNC], ids=lambda way: way.how)
def test_products_in_bfloat16_leave_weights_and_results_close(way: Way, force: Force) -> None:
    x, y = rows()
    force(way)
    make = trainer("cnn", **SGD)
    narrow = replace(make, precision="bf16")
    [exact], [rough] = (t.many(x, y, subsets(1), [0]) for t in (make, narrow))
    assert all(p.dtype == torch.float32 for p in rough.parameters())
    assert weights_digest(exact) != weights_digest(rough)
    agree(rough, exact, 0.02)


def test_perceptrons_in_bfloat16_are_not_written_out() -> None:
    question = replace(asked("mlp"), precision="bf16")
    assert measure(question).how != "written out"


def test_a_device_that_is_not_there_is_said_so() -> None:
    x, y = rows()
    with pytest.raises(ModelError, match="expected such as cpu"):
        replace(trainer("mlp"), device="toaster")(x[:9], y[:9], 0)
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="expected a GPU that torch can use, found none"):
            replace(trainer("mlp"), device="cuda")(x[:9], y[:9], 0)


@pytest.mark.parametrize(("name", "there"), [("cuda:1", 1), ("cuda", 0), ("abacus", 8)])
def test_devices_that_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, there: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(ModelError, match="expected"):
        usable_device(name)


def test_devices_that_are_there_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(usable_device(n)) for n in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda:1"]
