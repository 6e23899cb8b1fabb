"""Closed forms, bitwise laws and orderings that pin the unlearning methods down."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import chisquare
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn
from torch.nn import functional

from forget_audit.architectures import Architecture
from forget_audit.contracts import Method
from forget_audit.errors import ModelError, NotApplicable, UnknownName
from forget_audit.methods import _importance, _steps
from forget_audit.methods._importance import batch_importance, sample_importance
from forget_audit.methods._teaching import answers as answers_of
from forget_audit.methods._teaching import distillation
from forget_audit.methods.finetune import Finetune
from forget_audit.methods.neggrad import NegGrad
from forget_audit.methods.random_label import RandomLabel
from forget_audit.methods.retrain import Retrain
from forget_audit.methods.scrub import Scrub
from forget_audit.methods.ssd import Ssd, adaptive_alpha, dampen
from forget_audit.seeds import draw_seed, seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import Recipe, rows_tensors
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Features, Floats, Labels, Rows

STEPPING = (
    Finetune(epochs=2, weight_decay=0.1),
    Finetune(epochs=2, optimizer="sgd", lr=0.05, weight_decay=0.1),
    NegGrad(epochs=2, stop_at_chance=False, weight_decay=0.1),
    RandomLabel(epochs=2, weight_decay=0.1),
    RandomLabel(epochs=2, weight_decay=0.1, policy="mixed"),
    Scrub(epochs=2, msteps=2, weight_decay=0.1),
)
EVERY = (Retrain(), *STEPPING, Ssd(), Ssd(importance="batch", batch_size=16))
stepping = pytest.mark.parametrize("method", STEPPING, ids=repr)


def normed(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """A perceptron with batch norm and dropout."""
    return nn.Sequential(
        nn.Linear(shape[0], 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(24, n_classes),
    )  # fmt: skip


def build(builder: Callable[[tuple[int, ...], int], nn.Module], case: Case) -> nn.Module:
    with seeded_torch(3):
        return builder(case.retain.x.shape[1:], case.n_classes)


def softmax_regression(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return nn.Linear(shape[0], n_classes)


@pytest.fixture(scope="module")
def tumours() -> Case:
    """Breast-cancer rows, standardised; 60 retained, 20 to forget."""
    data = load_breast_cancer()
    x = (data.data - data.data.mean(0)) / data.data.std(0)
    chosen = np.random.default_rng(0).permutation(len(x))
    rows = Rows(x=x[chosen], y=data.target[chosen], ids=chosen.astype(np.str_))
    recipe = Recipe(epochs=3, steps_per_epoch=4)
    return Case(
        name="tumours",
        n_classes=2,
        retain=rows.take(np.arange(60)),
        forget=rows.take(np.arange(60, 80)),
        test=rows.take(np.arange(80, 140)),
        auxiliary=rows.take(np.arange(140, 160)),
        trainer=RecipeTrainer(
            architecture=Architecture(name=f"{__name__}:normed", shape=(30,), n_classes=2),
            recipe=recipe,
        ),
    )


@pytest.fixture(scope="module")
def digits() -> Case:
    """Digits: 300 retained rows, 60 to forget whose labels are all wrong (canaries)."""
    data = load_digits()
    chosen = np.random.default_rng(1).permutation(len(data.target))[:760]
    x, y = data.data[chosen] / 16, data.target[chosen].copy()
    y[300:360] = (y[300:360] + np.random.default_rng(2).integers(1, 10, 60)) % 10
    rows = Rows(x=x, y=y, ids=chosen.astype(np.str_))
    return Case(
        name="digits",
        n_classes=10,
        retain=rows.take(np.arange(300)),
        forget=rows.take(np.arange(300, 360)),
        test=rows.take(np.arange(360, 660)),
        auxiliary=rows.take(np.arange(660, 760)),
        trainer=RecipeTrainer(
            architecture=Architecture(name="mlp", shape=(64,), n_classes=10),
            recipe=Recipe(epochs=150),
        ),
    )


@pytest.fixture(scope="module")
def memoriser(digits: Case) -> nn.Module:
    assert digits.trainer is not None
    return digits.trainer(digits.training.x, digits.training.y, 1)


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def loss_of(model: nn.Module, rows: Rows) -> float:
    x, y = rows_tensors(rows, model)
    with torch.no_grad():
        return functional.cross_entropy(model.eval()(x), y).item()


def gradient(w: Floats, b: Floats, x: Floats, y: Labels) -> tuple[Floats, Floats]:
    """The gradient of the mean cross-entropy of softmax regression."""
    logits = x @ w.T + b
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    residual = (p - np.eye(len(b))[y]) / len(x)
    return residual.T @ x, residual.sum(0)


def after(
    model: nn.Module, steps: list[tuple[float, npt.NDArray[Any], Labels]]
) -> tuple[Floats, Floats]:
    """Softmax regression after plain steps `(rate, x, y)`, in float64."""
    w, b = (p.detach().double().numpy() for p in model.parameters())
    for rate, x, y in steps:
        dw, db = gradient(w, b, x.astype(np.float64), y)
        w, b = w - rate * dw, b - rate * db
    return w, b


def assert_weights(model: nn.Module, expected: tuple[Floats, Floats]) -> None:
    for found, wanted in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=2e-6)


PLAIN: dict[str, Any] = {
    "epochs": 1, "batch_size": 1000, "least_steps": 1, "optimizer": "sgd", "lr": 0.3,
    "momentum": 0.0, "weight_decay": 0.0,
}  # fmt: skip


# Every method, on batch norm and dropout


@pytest.mark.parametrize("method", EVERY, ids=repr)
def test_batch_norm_and_dropout_leave_no_trace(method: Method, tumours: Case) -> None:
    model = build(normed, tumours).train()
    before, torch_state = weights_digest(model), torch.random.get_rng_state()
    first = method.unlearn(model, tumours, rng()).model
    second = method.unlearn(model, tumours, rng()).model
    assert weights_digest(first) == weights_digest(second) != before
    assert weights_digest(model) == before
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.random.get_rng_state(), torch_state)


@stepping
def test_frozen_layers_stay_bit_for_bit(method: Method, tumours: Case) -> None:
    model = build(normed, tumours)
    first, last = model.get_submodule("0"), model.get_submodule("4")
    first.requires_grad_(False)
    new = method.unlearn(model, tumours, rng()).model
    assert weights_digest(new.get_submodule("0")) == weights_digest(first)
    assert weights_digest(new.get_submodule("4")) != weights_digest(last)
    assert not any(p.requires_grad for p in new.get_submodule("0").parameters())


@pytest.mark.parametrize(
    ("norms", "statistics", "affine"),
    [("train", True, True), ("eval", False, True), ("frozen", False, False)],
)
@pytest.mark.parametrize("build_method", [
    lambda norms: Finetune(norms=norms, epochs=2, weight_decay=0.1),
    lambda norms: NegGrad(norms=norms, epochs=2, weight_decay=0.1),
    lambda norms: RandomLabel(
        forget_norms=norms, retain_norms=norms, epochs=2, weight_decay=0.1
    ),
    lambda norms: Scrub(forget_norms=norms, retain_norms=norms, epochs=2, weight_decay=0.1),
])  # fmt: skip
def test_batch_norm_modes(
    build_method: Callable[[str], Method], norms: str, statistics: bool, affine: bool, tumours: Case
) -> None:
    model = build(normed, tumours)
    done = build_method(norms).unlearn(model, tumours, rng())
    old, new = state(model), state(done.model)
    assert not torch.equal(old["0.weight"], new["0.weight"])
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(old[name], new[name]) != statistics
    for name in ("1.weight", "1.bias"):
        assert torch.equal(old[name], new[name]) != affine
    assert done.report.notes == (f"batch norm: {norms}",)


def test_default_forget_passes_keep_statistics(tumours: Case) -> None:
    model = build(normed, tumours)
    for method in (NegGrad(), RandomLabel(policy="forget_only")):
        new = method.unlearn(model, tumours, rng()).model
        assert torch.equal(state(new)["1.running_mean"], state(model)["1.running_mean"])


def test_nothing_to_train_is_refused(tumours: Case) -> None:
    model = build(normed, tumours).requires_grad_(False)
    with pytest.raises(ModelError, match="expected parameters that require a gradient"):
        Finetune().unlearn(model, tumours, rng())


def test_divergence_is_refused(tumours: Case) -> None:
    method = Finetune(optimizer="sgd", lr=1e30)
    with pytest.raises(ModelError, match=r"expected finite weights.*lower lr"):
        method.unlearn(build(normed, tumours), tumours, rng())


def test_passes_deal_equal_batches() -> None:
    sizes = [len(b) for b in Finetune(batch_size=64, least_steps=6).batches(601, rng())]
    assert sizes == [61] + [60] * 9
    assert [len(b) for b in Finetune(least_steps=6).batches(20, rng())] == [4, 4, 3, 3, 3, 3]
    assert [len(b) for b in Finetune(least_steps=6).batches(7, rng())] == [3, 2, 2]
    assert [len(b) for b in Finetune(least_steps=6).batches(1, rng())] == [1]
    assert [len(b) for b in Finetune(batch_size=1).batches(3, rng())] == [1, 1, 1]
    first, second = (np.concatenate(list(Finetune().batches(50, rng(s)))) for s in (1, 2))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(50))
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Finetune(epochs=-1), r"epochs: expected a whole number of at least 0, found -1"),
        (lambda: Finetune(epochs=True), "epochs: expected a whole number"),
        (lambda: Finetune(batch_size=0), "batch_size: expected .* at least 1, found 0"),
        (lambda: Finetune(least_steps=0), "least_steps"),
        (lambda: Finetune(lr=0.0), r"lr: expected a finite number above 0, found 0\.0; leave it"),
        (lambda: Finetune(lr=math.nan), "lr"),
        (lambda: Finetune(lr=math.inf), "lr"),
        (lambda: Finetune(momentum=1.0), "momentum: expected .* at least 0 and below 1"),
        (lambda: Finetune(weight_decay=-1.0), "weight_decay"),
        (lambda: Finetune(optimizer="rms"), "optimizer: expected one of adam, adamw, sgd, found"),  # type: ignore[arg-type]
        (lambda: Finetune(norms="off"), "norms: expected one of train, eval, frozen"),  # type: ignore[arg-type]
        (lambda: NegGrad(clip_norm=0.0), "clip_norm"),
        (lambda: NegGrad(bound=-1.0), "bound"),
        (lambda: NegGrad(stop_at_chance=1), "stop_at_chance: expected true or false"),  # type: ignore[arg-type]
        (lambda: RandomLabel(policy="all"), "policy: expected one of forget_only"),  # type: ignore[arg-type]
        (lambda: RandomLabel(exclude_classes=(-1,)), "exclude_classes"),
        (lambda: RandomLabel(exclude_classes=3), "exclude_classes: expected a list"),  # type: ignore[arg-type]
        (lambda: RandomLabel(per_epoch="no"), "per_epoch"),  # type: ignore[arg-type]
        (lambda: RandomLabel(forget_norms="off"), "forget_norms"),  # type: ignore[arg-type]
        (lambda: RandomLabel(forget_batch_size=0), "forget_batch_size"),
        (lambda: Scrub(temperature=0.0), "temperature"),
        (lambda: Scrub(alpha=-0.1), "alpha"),
        (lambda: Scrub(msteps=-1), "msteps"),
        (lambda: Scrub(lr_decay_epochs=(1.5,)), "lr_decay_epochs"),  # type: ignore[arg-type]
        (lambda: Scrub(retain_norms="off"), "retain_norms"),  # type: ignore[arg-type]
        (lambda: Scrub(forget_batch_size=0), "forget_batch_size"),
        (lambda: Ssd(alpha=0.0), "alpha"),
        (lambda: Ssd(lam=-1.0), "lam"),
        (lambda: Ssd(importance="row"), "importance: expected one of sample, batch"),  # type: ignore[arg-type]
        (lambda: Ssd(batch_size=0), "batch_size"),
    ],
)  # fmt: skip
def test_wrong_fields_are_refused(make: Callable[[], Method], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# Retrain


def test_retrain_shares_nothing_with_the_given_model(tumours: Case) -> None:
    assert tumours.trainer is not None
    model = tumours.trainer(tumours.training.x, tumours.training.y, 1)
    new = Retrain().unlearn(model, tumours, rng()).model
    for name, tensor in state(model).items():
        if tensor.is_floating_point():
            assert not torch.equal(tensor, state(new)[name]), name
    other = Retrain().unlearn(model, tumours, rng(6)).model
    assert weights_digest(other) != weights_digest(new)


def test_retrain_shows_the_recipe_the_retained_rows_only(tumours: Case) -> None:
    seen: list[tuple[Features, Labels, int]] = []
    model = build(normed, tumours)

    def trainer(x: Features, y: Labels, seed: int) -> nn.Module:
        seen.append((x, y, seed))
        return build(normed, tumours)

    report = Retrain().unlearn(model, tumours.replace(trainer=trainer), rng()).report
    ((x, y, seed),) = seen
    assert np.array_equal(x, tumours.retain.x)
    assert np.array_equal(y, tumours.retain.y)
    assert seed == draw_seed(rng())
    assert (report.steps, report.rows_touched) == (0, 0)
    assert any("does not say" in note for note in report.notes)
    known = Retrain().unlearn(model, tumours, rng()).report
    assert (known.steps, known.rows_touched) == (3 * 4, 3 * 60)


def test_retrain_refuses_a_warm_start(tumours: Case) -> None:
    model = build(normed, tumours)
    warm = tumours.replace(trainer=lambda *_: model)
    with pytest.raises(ModelError, match="build a new model, found the given one"):
        Retrain().unlearn(model, warm, rng())


def test_retrain_forgets_canaries(digits: Case, memoriser: nn.Module) -> None:
    retrained = Target(Retrain().unlearn(memoriser, digits, rng()).model)
    assert Target(memoriser).accuracy(digits.forget) > 0.95
    assert retrained.accuracy(digits.forget) < 0.1 + 3 * math.sqrt(0.1 * 0.9 / 60)
    assert retrained.accuracy(digits.test) > 0.85


# Finetune


def test_finetune_step_in_closed_form(tumours: Case) -> None:
    model = build(softmax_regression, tumours)
    new = Finetune(**PLAIN).unlearn(model, tumours, rng()).model
    assert_weights(new, after(model, [(0.3, tumours.retain.x, tumours.retain.y)]))


def test_momentum_and_weight_decay_in_closed_form(tumours: Case) -> None:
    model = build(softmax_regression, tumours)
    x, y = tumours.retain.x.astype(np.float64), tumours.retain.y
    w, b = (p.detach().double().numpy() for p in model.parameters())
    v, u = np.zeros_like(w), np.zeros_like(b)
    for _ in range(3):
        dw, db = gradient(w, b, x, y)
        v, u = 0.5 * v + dw + 0.1 * w, 0.5 * u + db + 0.1 * b
        w, b = w - 0.3 * v, b - 0.3 * u
    method = Finetune(**{**PLAIN, "epochs": 3, "momentum": 0.5, "weight_decay": 0.1})
    assert_weights(method.unlearn(model, tumours, rng()).model, (w, b))


def test_finetune_counts_steps_and_rows(tumours: Case) -> None:
    report = Finetune(epochs=3, batch_size=8).unlearn(build(normed, tumours), tumours, rng()).report
    assert (report.steps, report.rows_touched) == (3 * 8, 3 * 60)


def test_finetune_forgets_less_than_retraining(digits: Case, memoriser: nn.Module) -> None:
    losses = {
        "before": loss_of(memoriser, digits.forget),
        "finetune": loss_of(Finetune().unlearn(memoriser, digits, rng()).model, digits.forget),
        "retrain": loss_of(Retrain().unlearn(memoriser, digits, rng()).model, digits.forget),
    }
    assert losses["before"] < losses["finetune"] < losses["retrain"]


# NegGrad


def test_ascent_step_in_closed_form(tumours: Case) -> None:
    model = build(softmax_regression, tumours)
    method = NegGrad(**PLAIN, clip_norm=None, stop_at_chance=False)
    new = method.unlearn(model, tumours, rng()).model
    assert_weights(new, after(model, [(-0.3, tumours.forget.x, tumours.forget.y)]))


@pytest.mark.parametrize("builder", [softmax_regression, normed])
def test_small_ascent_step_raises_the_forget_loss(
    builder: Callable[[tuple[int, ...], int], nn.Module], tumours: Case
) -> None:
    model = build(builder, tumours)
    model = Finetune(epochs=5).unlearn(model, tumours, rng()).model
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    method = NegGrad(**{**PLAIN, "lr": 1e-3}, stop_at_chance=False)
    new = method.unlearn(model, tumours, rng()).model
    assert loss_of(new, tumours.forget) > loss_of(model, tumours.forget)


def test_ascent_is_clipped(tumours: Case) -> None:
    model = build(softmax_regression, tumours)
    for clip_norm in (1e-2, 1e-3):
        method = NegGrad(**PLAIN, clip_norm=clip_norm, stop_at_chance=False)
        new = method.unlearn(model, tumours, rng()).model
        moved = [(a - b).flatten() for a, b in zip(new.parameters(), model.parameters())]  # noqa: B905
        assert torch.cat(moved).norm().item() == pytest.approx(0.3 * clip_norm, rel=1e-3)


def test_ascent_ends_at_chance_and_no_earlier(digits: Case, memoriser: nn.Module) -> None:
    method = NegGrad(epochs=50, lr=1e-3)
    done = method.unlearn(memoriser, digits, rng())
    assert done.report.stop_reason == "forget loss reached log(10)"
    assert loss_of(done.model, digits.forget) >= math.log(10)
    per_epoch = 6
    epochs = (done.report.steps - 1) // per_epoch
    earlier = NegGrad(epochs=epochs, lr=1e-3).unlearn(memoriser, digits, rng())
    assert loss_of(earlier.model, digits.forget) < math.log(10)
    assert earlier.report.stop_reason == f"all {epochs} epochs done"
    again = method.unlearn(done.model, digits, rng())
    assert again.report.steps == 0
    assert weights_digest(again.model) == weights_digest(done.model)
    beyond = NegGrad(epochs=50, lr=1e-3, stop_at_chance=False).unlearn(memoriser, digits, rng())
    assert beyond.report.steps == 50 * per_epoch


def test_ascent_leaves_rows_beyond_the_bound(tumours: Case) -> None:
    model = build(softmax_regression, tumours)
    method = NegGrad(**PLAIN, bound=1e-6, stop_at_chance=False)
    assert weights_digest(method.unlearn(model, tumours, rng()).model) == weights_digest(model)


# RandomLabel


def canaries(n: int, n_classes: int) -> Case:
    x = np.arange(3 * n, dtype=np.float32)[:, None]
    rows = Rows(x=x, y=np.arange(3 * n) % n_classes, ids=np.arange(3 * n).astype(np.str_))
    return Case(
        name="canaries",
        n_classes=n_classes,
        forget=rows.take(np.arange(n)),
        retain=rows.take(np.arange(n, 2 * n)),
        test=rows.take(np.arange(2 * n, 3 * n)),
        auxiliary=rows.take(np.arange(0)),
    )


def test_labels_are_uniform_over_the_others() -> None:
    case = canaries(9000, 10)
    drawn = RandomLabel().draw(case, rng())
    offsets = (drawn - case.forget.y) % 10
    counts = np.bincount(offsets, minlength=10)
    assert counts[0] == 0
    assert chisquare(counts[1:]).pvalue > 1e-3
    assert np.array_equal(drawn, RandomLabel().draw(case, rng()))
    assert not np.array_equal(drawn, RandomLabel().draw(case, rng(6)))


def test_labels_may_equal_the_true_ones_if_asked() -> None:
    case = canaries(9000, 10)
    drawn = RandomLabel(exclude_true=False).draw(case, rng())
    assert chisquare(np.bincount((drawn - case.forget.y) % 10, minlength=10)).pvalue > 1e-3


def test_excluded_classes_are_never_drawn() -> None:
    case = canaries(900, 5)
    drawn = RandomLabel(exclude_classes=(1, 4, 77), exclude_true=False).draw(case, rng())
    assert set(drawn.tolist()) == {0, 2, 3}
    by_class = case.replace(scope="class", classes=(2, 3))
    assert set(RandomLabel().draw(by_class, rng()).tolist()) == {0, 1, 4}
    everything = RandomLabel(exclude_classes=(), exclude_true=False)
    assert set(everything.draw(by_class, rng()).tolist()) == {0, 1, 2, 3, 4}
    with pytest.raises(NotApplicable, match="expected a class to draw for each forget row"):
        RandomLabel(exclude_classes=(1, 2, 3, 4)).draw(case, rng())


@pytest.mark.parametrize("policy", ["forget_only", "sequential", "mixed"])
def test_relabelling_steps_in_closed_form(policy: str, tumours: Case) -> None:
    model = build(softmax_regression, tumours)
    method = RandomLabel(**PLAIN, policy=policy, forget_batch_size=1000)  # type: ignore[arg-type]
    replay = rng()
    draw_seed(replay)
    forget, retain = tumours.forget, tumours.retain
    wrong = (0.3, forget.x, method.draw(tumours, replay))
    right = (0.3, retain.x, retain.y)
    both = (0.3, np.concatenate([forget.x, retain.x]), np.concatenate([wrong[2], retain.y]))
    steps = {"forget_only": [wrong], "sequential": [wrong, right], "mixed": [both]}[policy]
    done = method.unlearn(model, tumours, rng())
    assert_weights(done.model, after(model, steps))
    assert done.report.rows_touched == sum(len(x) for _, x, _ in steps)


@pytest.mark.parametrize(("per_epoch", "draws"), [(True, 4), (False, 1)])
def test_labels_are_redrawn_per_epoch_or_once(
    per_epoch: bool, draws: int, tumours: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Labels] = []
    draw = RandomLabel.draw

    def noting(self: RandomLabel, case: Case, rng: np.random.Generator) -> Labels:
        drawn.append(draw(self, case, rng))
        return drawn[-1]

    monkeypatch.setattr(RandomLabel, "draw", noting)
    method = RandomLabel(epochs=4, per_epoch=per_epoch)
    method.unlearn(build(normed, tumours), tumours, rng())
    assert len(drawn) == draws


def test_forget_only_reads_no_retained_row(tumours: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = tumours.retain.take(np.arange(60))
    case = tumours.replace(retain=hidden)
    object.__delattr__(hidden, "x")
    object.__delattr__(hidden, "y")
    model = build(normed, tumours)
    done = RandomLabel(policy="forget_only", epochs=3).unlearn(model, case, rng())
    assert done.report.rows_touched == 3 * 20
    with pytest.raises(AttributeError):
        RandomLabel().unlearn(model, case, rng())


# SCRUB


def test_distillation_by_hand() -> None:
    teacher = torch.tensor([[math.log(0.5), math.log(0.25), math.log(0.25)]])
    student = torch.tensor([[math.log(0.25), math.log(0.5), math.log(0.25)]])
    assert distillation(teacher, student, 1.0).item() == pytest.approx(0.25 * math.log(2))
    skew = torch.tensor([[math.log(0.8), math.log(0.1), math.log(0.1)]])
    expected = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.25 / 0.1)
    assert distillation(teacher, skew, 1.0).item() == pytest.approx(expected, rel=1e-5)
    backwards = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.1 / 0.25)
    assert distillation(skew, teacher, 1.0).item() == pytest.approx(backwards, rel=1e-5)


def test_distillation_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(2, 6, 4, generator=generator)
    warm = distillation(2 * teacher, 2 * student, 2.0)
    assert warm.item() == pytest.approx(4 * distillation(teacher, student, 1.0).item(), rel=1e-5)
    twice = distillation(teacher.repeat(2, 1), student.repeat(2, 1), 1.0)
    assert twice.item() == pytest.approx(distillation(teacher, student, 1.0).item(), rel=1e-5)
    each = [distillation(t[None], s[None], 1.0).item() for t, s in zip(teacher, student)]  # noqa: B905
    assert twice.item() == pytest.approx(np.mean(each), rel=1e-5)


def test_divergence_starts_at_zero_with_no_gradient(tumours: Case) -> None:
    model = build(normed, tumours).eval()
    x, _ = rows_tensors(tumours.forget, model)
    divergence = distillation(model(x).detach(), model(x), 2.0)
    divergence.backward()  # type: ignore[no-untyped-call]
    assert divergence.item() == pytest.approx(0, abs=1e-6)
    assert all(p.grad is not None and p.grad.abs().max() < 1e-6 for p in model.parameters())


MAX_PASS: dict[str, Any] = {
    "epochs": 1, "msteps": 1, "alpha": 0.0, "gamma": 0.0, "optimizer": "sgd", "lr": 1e-2,
    "weight_decay": 0.0,
}  # fmt: skip


def quiet(case: Case) -> nn.Module:
    model = build(normed, case)
    model.get_submodule("3").p = 0.0  # type: ignore[assignment]
    return model.eval()


def divergence_on_forget(model: nn.Module, new: nn.Module, case: Case) -> float:
    x, _ = rows_tensors(case.forget, model)
    with torch.no_grad():
        return distillation(model.eval()(x), new.eval()(x), 2.0).item()


def test_first_max_pass_is_idle_until_disturbed(tumours: Case) -> None:
    model = quiet(tumours)
    keep: dict[str, Any] = {"retain_norms": "eval", "forget_norms": "eval"}
    idle = Scrub(**MAX_PASS, **keep).unlearn(model, tumours, rng()).model
    assert divergence_on_forget(model, idle, tumours) < 1e-6
    disturbed = Scrub(**{**MAX_PASS, "lr": 1e-12}, **keep, kickstart=0.01)
    pushed = Scrub(**MAX_PASS, **keep, kickstart=0.01)
    start, end = (
        divergence_on_forget(model, method.unlearn(model, tumours, rng()).model, tumours)
        for method in (disturbed, pushed)
    )
    assert 1e-6 < start < end


def test_batch_statistics_break_the_tie(tumours: Case) -> None:
    model = quiet(tumours)
    method = Scrub(**MAX_PASS, retain_norms="eval", forget_norms="train")
    assert not torch.equal(
        state(method.unlearn(model, tumours, rng()).model)["0.weight"], state(model)["0.weight"]
    )


def test_no_max_pass_and_no_distillation_is_finetuning(tumours: Case) -> None:
    model = build(normed, tumours)
    shared: dict[str, Any] = {"epochs": 4, "optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-3}
    scrubbed = Scrub(**shared, alpha=0.0, gamma=1.0, msteps=0, lr_decay_epochs=())
    tuned = Finetune(**shared).unlearn(model, tumours, rng())
    assert weights_digest(scrubbed.unlearn(model, tumours, rng()).model) == weights_digest(
        tuned.model
    )
    held = Scrub(**shared, alpha=5.0, gamma=1.0, msteps=0, lr_decay_epochs=())
    assert weights_digest(held.unlearn(model, tumours, rng()).model) != weights_digest(tuned.model)


def test_max_pass_precedes_min_pass(tumours: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[tuple[str, float]] = []
    run = _steps.Course.run

    def noting(
        self: _steps.Course, loss: Any, batches: Any, optimizer: torch.optim.Optimizer, **how: Any
    ) -> None:
        passes.append((how["norms"], optimizer.param_groups[0]["lr"]))
        run(self, loss, batches, optimizer, **how)

    monkeypatch.setattr(_steps.Course, "run", noting)
    method = Scrub(epochs=4, msteps=2, lr=1e-3, lr_decay_epochs=(2, 3), lr_decay=0.5)
    report = method.unlearn(build(normed, tumours), tumours, rng()).report
    assert passes == [
        ("eval", 1e-3), ("train", 1e-3), ("eval", 1e-3), ("train", 1e-3),
        ("train", 5e-4), ("train", 2.5e-4),
    ]  # fmt: skip
    assert report.rows_touched == 2 * 20 + 4 * 60


def test_teacher_answers_without_dropout(tumours: Case) -> None:
    model = build(normed, tumours).train()
    answers = answers_of(model, tumours.forget)
    assert all(module.training for module in model.modules())
    x, _ = rows_tensors(tumours.forget, model)
    assert torch.equal(answers, model.eval()(x))


def test_scrub_presets() -> None:
    table: dict[str, tuple[object, ...]] = {
        "small-unlearning": ("adam", 0.5, 1, 2, 3, 10, (5, 8, 9), 0.1, 64, 32),
        "small-confusion": ("adam", 0.01, 99, 2, 2, 10, (5, 6, 9), 0.1, 64, 32),
        "large-unlearning": ("sgd", 0.001, 0.99, 4, 2, 3, (3, 5, 9), 5e-4, 128, 32),
        "large-confusion": ("sgd", 0.01, 1, 2, 2, 10, (7, 10, 10), 5e-4, 64, 32),
        "mia": ("sgd", 0.5, 1, 4, 3, 5, (3, 5, 9), 5e-4, 32, 16),
        "vgg": ("sgd", 0.01, 0.99, 4, 2, 10, (3, 6, 9), 5e-4, 64, 32),
    }
    assert set(table) == set(Scrub.info.presets)
    for name, row in table.items():
        s = Scrub.preset(name)
        assert row == (
            s.optimizer, s.alpha, s.gamma, s.temperature, s.msteps, s.epochs, s.lr_decay_epochs,
            s.weight_decay, s.batch_size, s.forget_batch_size,
        )  # fmt: skip
        assert (s.lr, s.momentum, s.lr_decay, s.least_steps) == (5e-4, 0.9, 0.1, 1)
        assert (s.forget_norms, s.retain_norms) == ("train", "train")
    with pytest.raises(UnknownName, match="did you mean 'small-unlearning'"):
        Scrub.preset("small-unlearnin")


# SSD


def importances(case: Case) -> tuple[nn.Module, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    model = build(normed, case).eval()
    return model, sample_importance(model, case.training), sample_importance(model, case.forget)


def test_importance_row_by_row(tumours: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, found = importances(tumours)
    x, y = rows_tensors(tumours.forget, model)
    slow = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in model.named_parameters()}
    for row in range(len(x)):
        model.zero_grad()
        functional.cross_entropy(model(x[row : row + 1]), y[row : row + 1]).backward()  # type: ignore[no-untyped-call]
        for name, p in model.named_parameters():
            assert p.grad is not None
            slow[name] += p.grad.double() ** 2 / len(x)
    monkeypatch.setattr(_importance, "ROOM", 3 * sum(p.numel() for p in model.parameters()))
    chunked = sample_importance(model, tumours.forget)
    single = batch_importance(model, tumours.forget, 1, rng())
    for other in (slow, chunked, single):
        for name, values in found.items():
            torch.testing.assert_close(other[name], values, rtol=1e-4, atol=1e-12)


def test_importance_in_closed_form(tumours: Case) -> None:
    model = build(softmax_regression, tumours)
    w, b = (p.detach().double().numpy() for p in model.parameters())
    x, y = tumours.forget.x.astype(np.float64), tumours.forget.y
    rows = [gradient(w, b, x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
    by_row = sample_importance(model, tumours.forget)
    np.testing.assert_allclose(
        by_row["weight"].numpy(), np.mean([g**2 for g, _ in rows], 0), rtol=1e-4
    )
    np.testing.assert_allclose(
        by_row["bias"].numpy(), np.mean([g**2 for _, g in rows], 0), rtol=1e-4
    )
    whole = batch_importance(model, tumours.forget, 1000, rng())
    np.testing.assert_allclose(
        whole["weight"].numpy(), gradient(w, b, x, y)[0] ** 2, rtol=1e-3, atol=1e-10
    )


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0, 4.0])
def test_forgetting_everything_scales_every_weight(lam: float, tumours: Case) -> None:
    model, of_all, _ = importances(tumours)
    before = state(model)
    selected = dampen(model, of_all, of_all, 0.9, lam)
    assert selected == sum(int((i > 0).sum()) for i in of_all.values())
    for name, importance in of_all.items():
        scale = torch.where(importance > 0, min(lam, 1.0), 1.0).float()
        torch.testing.assert_close(state(model)[name], before[name] * scale)


@pytest.mark.parametrize("alpha", [0.5, 1.5, 3.0])
def test_dampening_by_definition(alpha: float, tumours: Case) -> None:
    model, of_all, of_forget = importances(tumours)
    before = state(model)
    done = Ssd(alpha=alpha, lam=0.7).unlearn(model, tumours, rng())
    moved = 0
    for name, new in done.model.named_parameters():
        ratio = of_forget[name] / of_all[name].clamp(min=1e-300)
        factor = torch.where(ratio > alpha, (0.7 / ratio).clamp(max=1), 1.0).float()
        torch.testing.assert_close(new.detach(), before[name] * factor, rtol=1e-4, atol=1e-7)
        assert torch.all(new.detach() * before[name] >= 0), "a weight changed its sign"
        assert torch.all(new.detach().abs() <= before[name].abs()), "a weight grew"
        moved += int((ratio > alpha).sum())
    assert done.report.notes[0].startswith(f"alpha {alpha:g} selected {moved} of ")
    assert (done.report.steps, done.report.rows_touched) == (0, 80 + 20)
    for name in ("1.running_mean", "1.running_var"):
        assert torch.equal(state(done.model)[name], before[name])
    assert torch.equal(state(done.model)["1.weight"], before["1.weight"]) == (alpha > 1)


def test_no_weight_is_selected_from_the_largest_ratio_on(tumours: Case) -> None:
    model = build(normed, tumours)
    largest = 80 / 20
    done = Ssd(alpha=largest * 1.0001).unlearn(model, tumours, rng())
    assert weights_digest(done.model) == weights_digest(model)
    assert "no weight can be selected from alpha 4 on" in done.report.notes[1]
    assert len(Ssd(alpha=2.0).unlearn(model, tumours, rng()).report.notes) == 1


def test_default_alpha_selects_the_adaptive_share(digits: Case, memoriser: nn.Module) -> None:
    of_all = sample_importance(memoriser, digits.training)
    of_forget = sample_importance(memoriser, digits.forget)
    alpha = adaptive_alpha(of_all, of_forget, 60 / 360)
    ratios = torch.cat([(of_forget[n] / of_all[n])[of_all[n] > 0] for n in of_all])
    share = float((ratios > alpha).double().mean())
    assert share == pytest.approx(math.log(1 + 100 * 60 / 360) / 100, rel=0.02)
    note = Ssd().unlearn(memoriser, digits, rng()).report.notes[0]
    assert note.startswith(f"alpha {alpha:.6g} selected {int((ratios > alpha).sum())} of ")


def test_adaptive_alpha_ignores_dead_weights() -> None:
    live = {"w": torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)}
    more = {"w": torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)}
    dead = torch.zeros(1000, dtype=torch.float64)
    expected = adaptive_alpha(live, more, 0.5)
    assert adaptive_alpha({**live, "dead": dead}, {**more, "dead": dead}, 0.5) == expected
    assert adaptive_alpha({"dead": dead}, {"dead": dead}, 0.5) == math.inf


def test_dampening_twice_is_more_than_once(tumours: Case) -> None:
    model = build(normed, tumours)
    once = Ssd(alpha=1.0, lam=0.5).unlearn(model, tumours, rng()).model
    twice = Ssd(alpha=1.0, lam=0.5).unlearn(once, tumours, rng()).model
    assert weights_digest(twice) != weights_digest(once)


def test_only_batch_importance_depends_on_the_batch_size(tumours: Case) -> None:
    model = build(normed, tumours)
    digests = {
        (kind, size): weights_digest(
            Ssd(importance=kind, batch_size=size).unlearn(model, tumours, rng()).model
        )
        for kind in ("sample", "batch")
        for size in (8, 40)
    }
    assert digests["sample", 8] == digests["sample", 40]
    assert digests["batch", 8] != digests["batch", 40]


def test_ssd_presets() -> None:
    assert Ssd.preset("resnet18") == Ssd(alpha=10.0, lam=1.0)
    assert Ssd.preset("vit") == Ssd(alpha=5.0, lam=1.0)
    assert Ssd.preset("vit-random") == Ssd(alpha=3.5, lam=1.0)
    assert Ssd.preset("faces") == Ssd(alpha=50.0, lam=0.1)
    assert Ssd.preset("full-class") == Ssd(alpha=1.0, lam=1.0)
    with pytest.raises(UnknownName, match="did you mean 'vit'"):
        Ssd.preset("vitt")


# Orderings on digits


def test_defaults_forget_a_class_and_keep_the_others(digits: Case) -> None:
    rows, test = digits.retain, digits.test
    case = digits.replace(
        retain=rows.take(rows.y != 3),
        forget=rows.take(rows.y == 3),
        test=test.take(test.y == 3),
        others=test.take(test.y != 3),
        scope="class",
        classes=(3,),
    )
    assert case.trainer is not None
    model = case.trainer(case.training.x, case.training.y, 1)
    for method, most in (
        (Retrain(), 0.0), (RandomLabel(), 0.05), (Scrub(), 0.05), (Ssd(), 0.3),
        (NegGrad(), 0.9), (Finetune(), 0.9),
    ):  # fmt: skip
        new = Target(method.unlearn(model, case, rng()).model)
        assert new.accuracy(case.forget) <= most
        assert case.others is not None
        assert new.accuracy(case.others) > 0.8
